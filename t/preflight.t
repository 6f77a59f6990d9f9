#!/usr/bin/perl

# CORS preflights: answered here, passed on without credentials, or treated as any request. Nothing else is one.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy rewrite access auth_basic http_v2));

my $listen = $t->has_version('1.25.1') ? 'listen 127.0.0.1:8085; http2 on;' : 'listen 127.0.0.1:8085 http2;';

$t->write_file('htpasswd', "alice:{PLAIN}wonderland\n");
$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    underscores_in_headers on;
    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Access-Control-Allow-Origin https://app.example;

    server {
        listen 127.0.0.1:8080;
        %%LISTEN%%

        location / { proxy_pass http://127.0.0.1:8082; }
        location /answer { phantom_token_preflight answer; proxy_pass http://127.0.0.1:8082; }
        location /check { phantom_token_preflight check; proxy_pass http://127.0.0.1:8082; }
        location /off { phantom_token off; proxy_pass http://127.0.0.1:8082; }
        location /static { }
        location /page { error_page 401 = @page; proxy_pass http://127.0.0.1:8082; }
        location @page { phantom_token off; proxy_pass http://127.0.0.1:8082; }

        location /pass {
            phantom_token_preflight pass;
            proxy_pass http://127.0.0.1:8082;

            location /pass/nested { proxy_pass http://127.0.0.1:8082; }
            location /pass/answer { phantom_token_preflight answer; proxy_pass http://127.0.0.1:8082; }
            location /pass/cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
            location /pass/own { phantom_token on token=$http_x_opaque; proxy_pass http://127.0.0.1:8082; }
            location /pass/header {
                phantom_token_header X-Access-Token;
                phantom_token_forward claims;
                phantom_token_envelope_header X-Envelope;
                proxy_pass http://127.0.0.1:8082;
            }
            location /pass/redirected { try_files /nothing /pass/there; }
            location /pass/to_check { try_files /nothing /check; }
            location /pass/variables {
                proxy_set_header X-Seen "<$http_authorization>";
                proxy_pass http://127.0.0.1:8082;
            }
            location /pass/all/deny { deny all; proxy_pass http://127.0.0.1:8082; }
            location /pass/any/deny { satisfy any; deny all; proxy_pass http://127.0.0.1:8082; }
            location /pass/any/allow { satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }
            location /pass/any/basic {
                satisfy any;
                auth_basic "basic";
                auth_basic_user_file htpasswd;
                proxy_pass http://127.0.0.1:8082;
            }
        }

        location /all/deny { deny all; proxy_pass http://127.0.0.1:8082; }
        location /all/basic {
            auth_basic "basic";
            auth_basic_user_file htpasswd;
            proxy_pass http://127.0.0.1:8082;
        }
        location /any/deny { satisfy any; deny all; proxy_pass http://127.0.0.1:8082; }
        location /any/allow { satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->plan(182);
$t->run();

my @origin = (Origin => 'https://app.example');
my @method = ('Access-Control-Request-Method' => 'PUT');
my @preflight = (@origin, @method, 'Access-Control-Request-Headers' => 'authorization');

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

# Sends a request, and says its outcome with how many questions and requests to the API it took.
sub taken {
    my ($method, $uri, %args) = @_;
    my ($questions, $requests) = ($as->questions(), $api->count());
    my $response = call($uri, delete $args{token}, method => $method, %args);
    $questions = $as->questions() - $questions;
    $requests = $api->count() - $requests;
    return (outcome($response) . ", $questions questions, $requests upstream", $response);
}

sub head { return $api->last_request()->{head} }

# Answered here.

for my $uri ('/', '/answer', '/pass/answer', '/page') {
    my ($taken, $response) = taken(OPTIONS => $uri, headers => [@preflight]);
    is($taken, '204, 0 questions, 0 upstream', "$uri: answered");
    is($response->header('Access-Control-Allow-Origin'), 'https://app.example', "$uri: with add_header");
    is($response->body(), '', "$uri: without a body");
    is($response->header('Content-Length') // 0, 0, "$uri: of no length");
    is($response->header('WWW-Authenticate'), undef, "$uri: no challenge");
    is((taken(OPTIONS => $uri, headers => [@preflight], token => $_))[0], '204, 0 questions, 0 upstream',
        "$uri: whatever the token") for token(), $token, 'not a token';
}

is((taken(OPTIONS => '/static', headers => [@preflight]))[0], '204, 0 questions, 0 upstream', 'no proxy_pass');
is((taken(OPTIONS => '/?access_token=x', headers => [@preflight], token => $token))[0],
    '204, 0 questions, 0 upstream', 'a token in two ways');
is((taken(OPTIONS => '/', headers => [ORIGIN => 'null', 'access-control-request-method' => 'x']))[0],
    '204, 0 questions, 0 upstream', 'names in any case');
is((taken(OPTIONS => '/', headers => [@preflight], version => '1.0'))[0], '204, 0 questions, 0 upstream', 'HTTP/1.0');

# What is none: no credentials, no pass; with a token it goes upstream with the JWT.

my @others = (
    ['OPTIONS without both', 'OPTIONS', []],
    ['OPTIONS without Access-Control-Request-Method', 'OPTIONS', [@origin]],
    ['OPTIONS without Origin', 'OPTIONS', [@method]],
    ['OPTIONS with Access-Control-Request-Headers alone', 'OPTIONS',
        [@origin, 'Access-Control-Request-Headers' => 'x']],
    ['underscores', 'OPTIONS', [@origin, Access_Control_Request_Method => 'PUT']],
    ['GET', 'GET', [@preflight]],
    ['POST', 'POST', [@preflight, 'X-HTTP-Method-Override' => 'OPTIONS']],
    ['HEAD', 'HEAD', [@preflight]],
    ['PUT', 'PUT', [@preflight]],
    ['another method', 'OPTIONSX', [@preflight]],
);

for my $case (@others) {
    my ($name, $method, $headers) = @$case;
    for my $uri ('/', '/pass') {
        is((taken($method => $uri, headers => $headers))[0], '401 no_credentials, 0 questions, 0 upstream',
            "$name, $uri: refused");
    }
    my ($taken, $response) = taken($method => '/', headers => $headers, token => $token);
    like($taken, qr/^200 (?:MISS|HIT), [01] questions, 1 upstream$/, "$name: with a token");
    is($api->header($api->last_request(), 'Authorization'), "Bearer $jwt", "$name: the JWT upstream");
}

is((taken(OPTIONS => '/check', headers => [@preflight]))[0], '401 no_credentials, 0 questions, 0 upstream', 'check');
is((taken(OPTIONS => '/check', headers => [@preflight], token => token()))[0],
    '401 MISS inactive, 1 questions, 0 upstream', 'check, inactive');
is((taken(OPTIONS => '/check', headers => [@preflight], token => $token))[0], '200 HIT, 0 questions, 1 upstream',
    'check, with a token');
is($api->authorization(), "Bearer $jwt", 'check, with a token: the JWT upstream');

is((taken(OPTIONS => '/off', headers => [@preflight], token => $token))[0], '200, 0 questions, 1 upstream', 'off');
is($api->authorization(), "Bearer $token", 'off: nothing is touched');

# Passed on, without credentials and what only a verdict may carry.

for my $uri ('/pass', '/pass/nested', '/pass/redirected', '/pass/variables') {
    is((taken(OPTIONS => $uri, headers => [@preflight, 'X-Other' => 'kept']))[0], '200, 0 questions, 1 upstream',
        "$uri: passed");
    is($api->last_request()->{method}, 'OPTIONS', "$uri: as it is");
    like(head(), qr{^Access-Control-Request-Method: PUT\b}m, "$uri: with its headers");
    like(head(), qr{^X-Other: kept\b}m, "$uri: and all others");

    for my $forged ($token, token(), 'not a token') {
        is((taken(OPTIONS => $uri, headers => [@preflight], token => $forged))[0], '200, 0 questions, 1 upstream',
            "$uri: passed with credentials");
        unlike(head(), qr/^Authorization|\Q$forged/mi, "$uri: which stay here");
    }
}

is($api->header($api->last_request(), 'X-Seen'), '<>', 'pass: $http_authorization is empty');

call('/pass', undef, method => 'OPTIONS', headers => [@preflight, Authorization => "DPoP $token"]);
unlike(head(), qr/^Authorization/mi, 'pass: no DPoP either');

call('/pass/cookie', 'forged', method => 'OPTIONS', headers => [@preflight, Cookie => "a=b; session=$token"]);
is($api->header($api->last_request(), 'Cookie'), 'a=b', 'pass: not the cookie of token=');
unlike(head(), qr/forged/, 'pass: nor Authorization beside it');

call('/pass/own', undef, method => 'OPTIONS', headers => [@preflight, 'X-Opaque' => $token, x_opaque => $token]);
unlike(head(), qr/opaque|\Q$token/i, 'pass: not the header of token=');

call('/pass/header', $token, method => 'OPTIONS',
    headers => [@preflight, map { $_ => 'forged' } qw(X-Access-Token x_access_token X-Envelope x_envelope)]);
unlike(head(), qr/forged|^Authorization/mi, 'pass: no asserted header');

is((taken(OPTIONS => '/pass/to_check', headers => [@preflight]))[0], '401 no_credentials, 0 questions, 0 upstream',
    'pass, then a location that checks: refused');
is((taken(OPTIONS => '/pass/to_check', headers => [@preflight], token => $token))[0],
    '200 HIT, 0 questions, 1 upstream', 'pass, then a location that checks: by the client\'s token');
is($api->authorization(), "Bearer $jwt", 'pass, then a location that checks: the JWT');

# Beside NGINX's own access modules. Those come first: whom they refuse is refused.

is((taken(OPTIONS => '/all/deny', headers => [@preflight]))[0], '403, 0 questions, 0 upstream', 'all, deny: answer');
is((taken(OPTIONS => '/pass/all/deny', headers => [@preflight]))[0], '403, 0 questions, 0 upstream', 'all, deny: pass');
is((taken(OPTIONS => '/all/basic', headers => [@preflight]))[0], '401, 0 questions, 0 upstream', 'all, password');
is((taken(OPTIONS => '/any/deny', headers => [@preflight]))[0], '204, 0 questions, 0 upstream', 'any, deny: answer');
is((taken(OPTIONS => '/pass/any/basic', headers => [@preflight]))[0], '200, 0 questions, 1 upstream',
    'any, password: pass');

for my $uri ('/any/allow', '/pass/any/allow', '/pass/any/deny') {
    is((taken(OPTIONS => $uri, headers => [@preflight], token => $token))[0], '200, 0 questions, 1 upstream', $uri);
    unlike(head(), qr/^Authorization|\Q$token/mi, "$uri: without credentials");
}

# Bodies, and the requests behind them on the same connection.

my $smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $token\r\n\r\n";

for my $body (
    ['no body', ''],
    ['Content-Length', "Content-Length: 5\r\n\r\nhello"],
    ['chunked', "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    ['a request in the body', 'Content-Length: ' . length($smuggled) . "\r\n\r\n$smuggled"],
) {
    my ($name, $rest) = @$body;
    $rest = "\r\n" if $rest eq '';

    for my $uri ('/', '/pass') {
        my $connection = http_connection();
        my $head = join '', map { "$preflight[2 * $_]: $preflight[2 * $_ + 1]\r\n" } 0 .. $#preflight / 2;
        $connection->send("OPTIONS $uri HTTP/1.1\r\nHost: localhost\r\n$head$rest");
        $connection->request('GET', '/after', headers => [Authorization => "Bearer $token"]);
        is($connection->response()->status(), $uri eq '/' ? 204 : 200, "$name, $uri");
        is(outcome($connection->response()), '200 HIT', "$name, $uri: the next request is the client's");
        is($api->last_request()->{uri}, '/after', "$name, $uri: and no other");
        $connection->close();
    }
}

is($api->count('/smuggled'), 0, 'nothing was smuggled');

# HTTP/2.

my $h2 = Test::Nginx::HTTP2->new(port => 8085);
my @lower = map { $_ % 2 ? $preflight[$_] : lc $preflight[$_] } 0 .. $#preflight;

for my $body (undef, 'hello') {
    my $name = 'HTTP/2' . (defined $body ? ', with a body' : '');
    my %args = (headers => [@lower, authorization => "Bearer $token"], defined $body ? (body => $body) : ());

    my $requests = $api->count();
    my $response = $h2->call(OPTIONS => '/', %args);
    is($response->status() . ' ' . $response->body(), '204 ', "$name: answered");
    is($response->header('access-control-allow-origin'), 'https://app.example', "$name: with add_header");
    is($api->count(), $requests, "$name: not upstream");
    is($h2->call(OPTIONS => '/pass', %args)->status(), 200, "$name: passed");
    unlike(head(), qr/^Authorization|\Q$token/mi, "$name: without credentials");
    is(outcome($h2->call(OPTIONS => '/check', %args)), '200 HIT', "$name: checked");
    is($h2->call(GET => '/', %args)->status(), 200, "$name: and the request itself");
}

is($h2->call(OPTIONS => '/', headers => [origin => 'null'])->status(), 401, 'HTTP/2: not a preflight');
$h2->close();
