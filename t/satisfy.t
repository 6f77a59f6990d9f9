#!/usr/bin/perl

# Beside NGINX's own access modules: allow, deny, auth_basic, auth_request, satisfy, auth_delay.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use MIME::Base64 qw(encode_base64);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy access auth_basic auth_request))->plan(55);

$t->write_file('htpasswd', 'alice:{PLAIN}wonderland' . "\n");
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location /all/allow { phantom_token on; allow all; proxy_pass http://127.0.0.1:8082; }
        location /all/deny { phantom_token on; deny all; proxy_pass http://127.0.0.1:8082; }
        location /all/basic {
            phantom_token on token=$http_x_token;
            auth_basic "basic";
            auth_basic_user_file htpasswd;
            proxy_pass http://127.0.0.1:8082;
        }

        location /any/allow { satisfy any; phantom_token on; allow all; proxy_pass http://127.0.0.1:8082; }
        location /any/deny { satisfy any; phantom_token on; deny all; proxy_pass http://127.0.0.1:8082; }
        location /any/redirect {
            satisfy any;
            phantom_token on;
            allow all;
            try_files /nothing /all/allow/redirected;
        }
        location /any/basic {
            satisfy any;
            phantom_token on;
            auth_basic "basic";
            auth_basic_user_file htpasswd;
            proxy_pass http://127.0.0.1:8082;
        }
        location /any/header {
            satisfy any;
            phantom_token on;
            phantom_token_header X-Access-Token;
            allow all;
            proxy_pass http://127.0.0.1:8082;
        }
        location /any/cookie {
            satisfy any;
            phantom_token on token=$cookie_session;
            allow all;
            proxy_pass http://127.0.0.1:8082;
        }
        location /any/request {
            satisfy any;
            phantom_token on;
            auth_request /decide;
            proxy_pass http://127.0.0.1:8082;
        }

        location /all/request { phantom_token on; auth_request /decide; proxy_pass http://127.0.0.1:8082; }
        location /all/request_refuses { phantom_token on; auth_request /refuse; proxy_pass http://127.0.0.1:8082; }

        location /delay { phantom_token on; auth_delay 100ms; proxy_pass http://127.0.0.1:8082; }

        location = /decide { internal; proxy_pass http://127.0.0.1:8082/decide; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; }
        location = /refuse { internal; return 403; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

$api->script('/decide', { status => 200 });

my $alice = 'Basic ' . encode_base64('alice:wonderland', '');
my $mallory = 'Basic ' . encode_base64('mallory:guess', '');

# The response, and how many questions it took.
sub asked {
    my ($uri, $token, %args) = @_;
    my $before = $as->questions();
    my $response = call($uri, $token, %args);
    return ($response, $as->questions() - $before);
}

my $jwt = jwt();
sub known {
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt));
    return $token;
}

# All: a client that allow, deny or auth_basic refuse causes no question.

my ($response, $questions) = asked('/all/allow', known());
is($response->status(), 200, 'all, allowed');
is($questions, 1, 'all, allowed: asked');
is($api->authorization($response), "Bearer $jwt", 'all, allowed: the JWT upstream');

($response, $questions) = asked('/all/allow', token());
is($response->status(), 401, 'all, allowed, inactive');
($response, $questions) = asked('/all/allow', undef);
is($response->status(), 401, 'all, allowed, no token');

($response, $questions) = asked('/all/deny', known());
is($response->status(), 403, 'all, denied');
is($questions, 0, 'all, denied: not asked');
is($response->header('WWW-Authenticate'), undef, 'all, denied: no challenge');

($response, $questions) = asked('/all/basic', undef, headers => [Authorization => $mallory, 'X-Token' => known()]);
is($response->status(), 401, 'all, wrong password');
is($response->header('WWW-Authenticate'), 'Basic realm="basic"', 'all, wrong password: the challenge is Basic');
is($questions, 0, 'all, wrong password: not asked');

($response, $questions) = asked('/all/basic', undef, headers => [Authorization => $alice, 'X-Token' => known()]);
is($response->status(), 200, 'all, password and token');
is($api->authorization($response), "Bearer $jwt", 'all, password and token: the JWT upstream');
is($api->header($api->last_request(), 'X-Token'), undef, 'all, password and token: not the token');

($response, $questions) = asked('/all/basic', undef, headers => [Authorization => $alice, 'X-Token' => token()]);
is($response->status(), 401, 'all, password, inactive token');
is($response->header('WWW-Authenticate'), 'Bearer realm="api", error="invalid_token"',
    'all, password, inactive token: the challenge is ours');

# Any: whoever is let in by other means brings no credentials upstream.

my $token = known();
($response, $questions) = asked('/any/allow', $token);
is($response->status(), 200, 'any, allowed');
is($questions, 0, 'any, allowed: not asked');
unlike($api->last_request()->{head}, qr/\Q$token/, 'any, allowed: not the token');
is($api->authorization($response), undef, 'any, allowed: no Authorization upstream');

($response, $questions) = asked('/any/allow', undef);
is($response->status(), 200, 'any, allowed, no token');

$token = known();
($response, $questions) = asked('/any/header', $token, headers => ['X-Access-Token' => 'forged']);
is($response->status(), 200, 'any, another header');
is($api->header($api->last_request(), 'X-Access-Token'), undef, 'any, another header: nothing forged');
is($api->authorization($response), undef, 'any, another header: not the token');

$token = known();
($response, $questions) = asked('/any/cookie', 'forged', headers => [Cookie => "a=b; session=$token"]);
is($response->status(), 200, 'any, cookie');
is($api->header($api->last_request(), 'Cookie'), 'a=b', 'any, cookie: not the token');
is($api->authorization($response), undef, 'any, cookie: no bearer credentials');

($response, $questions) = asked('/any/deny', known());
is($response->status(), 200, 'any, denied, token');
is($questions, 1, 'any, denied, token: asked');
is($api->authorization($response), "Bearer $jwt", 'any, denied, token: the JWT upstream');

($response, $questions) = asked('/any/deny', token());
like($response->status(), qr/^40[13]$/, 'any, denied, inactive');
($response, $questions) = asked('/any/deny', undef);
like($response->status(), qr/^40[13]$/, 'any, denied, no token');

($response, $questions) = asked('/any/basic', undef, headers => [Authorization => $alice]);
is($response->status(), 200, 'any, password');
is($questions, 0, 'any, password: not asked');
is($response->header('WWW-Authenticate'), undef, 'any, password: no challenge');

($response, $questions) = asked('/any/basic', known());
is($response->status(), 200, 'any, token instead of a password');
is($response->header('WWW-Authenticate'), undef, 'any, token instead of a password: no challenge');
is($api->authorization($response), "Bearer $jwt", 'any, token instead of a password: the JWT upstream');

($response, $questions) = asked('/any/basic', token());
is($response->status(), 401, 'any, neither');
like($response->header('WWW-Authenticate'), qr/Basic realm="basic"|Bearer realm="api"/, 'any, neither: a challenge');

# auth_request sees the JWT, and is asked only after us.

my $before = $api->count('/decide');
($response, $questions) = asked('/all/request', known());
is($response->status(), 200, 'auth_request');
is($api->header($api->last_request('/decide'), 'Authorization'), "Bearer $jwt", 'auth_request sees the JWT');
is($api->authorization($response), "Bearer $jwt", 'auth_request: the JWT upstream');
is($api->count('/decide'), $before + 1, 'auth_request: asked once');

($response, $questions) = asked('/all/request', token());
is($response->status(), 401, 'auth_request, inactive');
is($api->count('/decide'), $before + 1, 'auth_request, inactive: not asked');

($response, $questions) = asked('/all/request_refuses', known());
is($response->status(), 403, 'auth_request refuses');
is($response->header('WWW-Authenticate'), undef, 'auth_request refuses: no challenge of ours');

$token = token();
($response, $questions) = asked('/any/request', $token);
is($response->status(), 200, 'any, auth_request lets in');
unlike($api->last_request('/any/request')->{head}, qr/\Q$token/, 'any, auth_request lets in: not the token');
is($response->header('WWW-Authenticate'), undef, 'any, auth_request lets in: no challenge');

# A request that passes without a verdict keeps its token for the location that it is redirected to.

($response, $questions) = asked('/any/redirect', known());
is($response->status(), 200, 'any, then all');
is($api->authorization($response), "Bearer $jwt", 'any, then all: the JWT upstream');

# auth_delay.

is(call('/delay', token())->status(), 401, 'auth_delay');
is(call('/delay', known())->status(), 200, 'auth_delay, active');
