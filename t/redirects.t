#!/usr/bin/perl

# Internal redirects: the request is translated once, and each location keeps its own rules.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy rewrite mirror ssi))->plan(70);

mkdir $t->testdir() . '/dir';
$t->write_file('dir/page.html', 'a page');
$t->write_file('dir/index.ssi', '');
$t->write_file('included.shtml', 'before <!--#include virtual="/ssi_api" --> after');
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        phantom_token_introspection_endpoint /introspect;

        location /api { proxy_pass http://127.0.0.1:8082; }

        location /try_files { try_files /nothing @api; }
        location /try_uri { try_files /nothing /api/tried; }
        location /rewritten { rewrite ^ /api/rewritten last; }
        location @api { proxy_pass http://127.0.0.1:8082; }

        location /dir/ { index nothing.html index.ssi; }
        location ~ \.ssi$ { proxy_pass http://127.0.0.1:8082; }
        location = /dir/page.html { }

        location /fallback {
            error_page 502 = @api;
            proxy_pass http://127.0.0.1:8099;
        }
        location /intercepted {
            proxy_intercept_errors on;
            error_page 404 = /api/intercepted;
            proxy_pass http://127.0.0.1:8082/not_found;
        }
        location /accel { proxy_pass http://127.0.0.1:8082/accel; }
        location /protected { internal; proxy_pass http://127.0.0.1:8082; }

        location /twice { try_files /nothing @once; }
        location @once {
            error_page 502 = @api;
            proxy_pass http://127.0.0.1:8099;
        }

        location /other {
            error_page 502 = /bound;
            proxy_pass http://127.0.0.1:8099;
        }
        location /bound {
            phantom_token_introspection_endpoint /introspect_other;
            proxy_pass http://127.0.0.1:8082;
        }
        location /to_header {
            error_page 502 = @header;
            proxy_pass http://127.0.0.1:8099;
        }
        location @header {
            phantom_token_header X-Access-Token;
            proxy_pass http://127.0.0.1:8082;
        }
        location /from_cookie {
            phantom_token on token=$cookie_session;
            error_page 502 = @api;
            proxy_pass http://127.0.0.1:8099;
        }

        location /login {
            error_page 401 @login;
            proxy_pass http://127.0.0.1:8082;
        }
        location @login {
            phantom_token off;
            return 403 "please log in\n";
        }
        location /login_proxied {
            error_page 401 = @login_proxied;
            proxy_pass http://127.0.0.1:8082;
        }
        location @login_proxied {
            phantom_token off;
            proxy_pass http://127.0.0.1:8082;
        }
        location /unavailable {
            error_page 502 503 504 = @unavailable;
            phantom_token_introspection_endpoint /introspect_down;
            proxy_pass http://127.0.0.1:8082;
        }
        location @unavailable {
            phantom_token off;
            return 503 "later $phantom_token_error\n";
        }
        location /loop {
            error_page 401 /loop_page;
            proxy_pass http://127.0.0.1:8082;
        }

        location /to_off {
            error_page 502 = @off;
            proxy_pass http://127.0.0.1:8099;
        }
        location @off { phantom_token off; proxy_pass http://127.0.0.1:8082; }

        location /mirrored {
            mirror /mirror;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /mirror { internal; phantom_token off; proxy_pass http://127.0.0.1:8082/mirror; }
        location /included { ssi on; default_type text/html; }
        location = /ssi_api { phantom_token off; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_other { internal; proxy_pass http://127.0.0.1:8083; }
        location = /introspect_down { internal; proxy_pass http://127.0.0.1:8099; }
    }

    server {
        listen 127.0.0.1:8084;

        location / { phantom_token off; try_files /nothing @named; }
        location /translated {
            phantom_token_introspection_endpoint /introspect;
            error_page 502 = @named;
            proxy_pass http://127.0.0.1:8099;
        }
        location @named { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my ($as, $other_as) = (authorization_server($t), authorization_server($t, 8083));
my $api = api($t);
$t->run();

$api->script('/not_found', { status => 404 });
$api->script('/accel', { headers => ['X-Accel-Redirect' => '/protected/accelerated'] });

my ($token, $jwt, $other_jwt) = (token(), jwt(), jwt());
$as->script($token, $as->jwt_answer($jwt));
$other_as->script($token, $other_as->jwt_answer($other_jwt));

# All ways lead to the API, with the JWT, and the token was asked about once.

my %paths = (
    '/try_files' => '/try_files', '/try_uri' => '/api/tried', '/rewritten' => '/api/rewritten',
    '/dir/' => '/dir/index.ssi', '/fallback' => '/fallback', '/intercepted' => '/api/intercepted',
    '/accel' => '/protected/accelerated', '/twice' => '/twice',
);

for my $uri (sort keys %paths) {
    my $fresh = token();
    $as->script($fresh, $as->jwt_answer($jwt));

    for my $call ('miss', 'hit') {
        my $response = call($uri, $fresh);
        is($response->status(), 200, "$uri, $call: status");
        my $request = $api->last_request();
        is("$request->{uri} " . ($api->header($request, 'Authorization') // '-'), "$paths{$uri} Bearer $jwt",
            "$uri, $call: the JWT upstream");
    }

    is($as->questions($fresh), 1, "$uri: one question");
}

is(call('/dir/page.html', $token)->body(), 'a page', 'a static file');
is(call('/dir/page.html')->status(), 401, 'a static file, no token');

# Another realm behind the redirect: its own verdict, about the client's token.

my $response = call('/other', $token);
is($response->status(), 200, 'to another realm');
is($api->authorization($response), "Bearer $other_jwt", 'to another realm: its JWT');
is($other_as->questions($token), 1, 'to another realm: its question is about the token');
is($as->count(undef) - $as->questions($token), 8, 'and no question was about a JWT');

# Another header behind the redirect.

$response = call('/to_header', $token);
my $request = $api->last_request();
is($response->status(), 200, 'to another header');
is($api->header($request, 'X-Access-Token'), $jwt, 'to another header: the JWT is there');
is($api->header($request, 'Authorization'), undef, 'to another header: and there alone');

# The token of a location that takes it from a cookie does not become one of another source.

my $before = $api->count();
$response = call('/from_cookie', undef, headers => [Cookie => "session=$token"]);
ok($response->status() == 200 && $api->authorization($response) eq "Bearer $jwt"
    || $response->status() == 401 && $api->count() == $before, 'from a cookie to Authorization: JWT or refusal');
unlike($api->last_request()->{head}, qr/\Q$token/, 'from a cookie to Authorization: never the token');

# error_page.

$response = call('/login');
is($response->status(), 401, 'error_page 401');
is($response->body(), "please log in\n", 'error_page 401: its text');
is($response->header('WWW-Authenticate'), 'Bearer realm="api"', 'error_page 401: the challenge stays');

my $unknown = token();
$response = call('/login_proxied', $unknown);
is($response->status(), 200, 'error_page 401 = @proxied');
unlike($api->last_request()->{head}, qr/Bearer/, 'error_page 401 = @proxied: no token upstream');

$response = call('/unavailable', token());
is($response->status(), 503, 'error_page 502');
like($response->body(), qr/^later/, 'error_page 502: its text');
is($response->header('WWW-Authenticate'), undef, 'error_page 502: no challenge');

$response = call('/loop', token());
is($response->status(), 401, 'an error_page that inherits phantom_token on is refused again, once');

# Off behind the redirect: the opaque token does not come back.

$response = call('/to_off', $token);
unlike($api->last_request()->{head}, qr/\Q$token/, 'to a location that is off: not the token');

# Subrequests of a request that was translated.

$response = call('/mirrored', $token);
is($response->status(), 200, 'mirror');
$api->wait_for('/mirror', 1);
unlike($api->last_request('/mirror')->{head}, qr/\Q$token/, 'mirror: not the token');

$response = call('/included.shtml', $token);
like($response->body(), qr/^before request \d+/, 'SSI');
unlike($api->last_request('/ssi_api')->{head}, qr/\Q$token/, 'SSI: not the token');

# A named location that inherits `on` where no endpoint is: no verdict, no request.

$before = $api->count();
$response = call('/', $token, port => 8084);
is($response->status(), 500, 'on, but no endpoint');
is($response->header('Slug'), 'internal', 'on, but no endpoint: slug');
is($api->count(), $before, 'on, but no endpoint: not upstream');

$response = call('/translated', $token, port => 8084);
is($response->status(), 200, 'with the verdict of the location before');
is($api->authorization($response), "Bearer $jwt", 'with the verdict of the location before: its JWT');
