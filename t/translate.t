#!/usr/bin/perl

# An opaque token goes in, the JWT comes out upstream: miss, hit, and which header it is.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(44);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location /api { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /off { proxy_pass http://127.0.0.1:8082; }

        location /header {
            phantom_token on;
            phantom_token_header X-Access-Token;
            proxy_pass http://127.0.0.1:8082;
        }
        location /cookie {
            phantom_token on token=$cookie_session;
            proxy_pass http://127.0.0.1:8082;
        }
        location /own {
            phantom_token on token=$http_x_opaque;
            proxy_pass http://127.0.0.1:8082;
        }
        location /same {
            phantom_token on token=$http_x_opaque;
            phantom_token_header X-Opaque;
            proxy_pass http://127.0.0.1:8082;
        }
        location /bare {
            phantom_token on;
            phantom_token_introspection_endpoint introspect;
            proxy_pass http://127.0.0.1:8082;
        }
        location /variable {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect/$arg_tenant;
            proxy_pass http://127.0.0.1:8082;
        }
        location /unbuffered {
            phantom_token on;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_pass http://127.0.0.1:8082;
        }

        location introspect { internal; proxy_pass http://127.0.0.1:8081/bare; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location /introspect/ { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# Miss and hit.

my ($token, $jwt) = (token(), jwt(size => 1_200));
$as->script($token, $as->jwt_answer($jwt));

my $response = call('/api/x?y=z', $token);
is($response->status(), 200, 'miss');
is($response->header('Cache-Status'), 'MISS', 'miss, status');
is($api->authorization($response), "Bearer $jwt", 'miss, JWT upstream');
is($api->last_request()->{uri}, '/api/x?y=z', 'miss, URI upstream');
is(scalar(() = $api->header($api->last_request(), 'Authorization')), 1, 'one Authorization line upstream');

$response = call('/api', $token);
is($response->status(), 200, 'hit');
is($response->header('Cache-Status'), 'HIT', 'hit, status');
is($api->authorization($response), "Bearer $jwt", 'hit, JWT upstream');
is($as->questions($token), 1, 'one question');

# Keep-alive: a miss and a hit on one connection.

my ($other, $other_jwt) = (token(), jwt());
$as->script($other, $as->jwt_answer($other_jwt));

my $connection = http_connection();
for my $status (qw(MISS HIT)) {
    $connection->request('GET', '/api', headers => [Authorization => "Bearer $other"]);
    $response = $connection->response();
    is($response->header('Cache-Status'), $status, "$status on a kept connection");
    is($api->authorization($response), "Bearer $other_jwt", "$status on a kept connection, JWT");
}
$connection->close();

is(http("GET /api HTTP/1.0\r\nAuthorization: Bearer $token\r\n\r\n") =~ m{^HTTP/1\.1 200}, 1, 'HTTP/1.0');
is($api->authorization(), "Bearer $jwt", 'HTTP/1.0, JWT');

# Everything else of the request stays as it is.

my @headers = map { ("X-Header-$_", "value $_") } 1 .. 60;
$response = call('/api', $token, headers => [@headers, Cookie => 'a=b; c=d', Accept => 'text/x', Range => 'bytes=0-']);
my %upstream = map { lc $_->[0] => $_->[1] } @{ $api->last_request()->{headers} };
is(join(',', map { $upstream{"x-header-$_"} // '-' } 1 .. 60), join(',', map { "value $_" } 1 .. 60),
    'headers upstream');
is($upstream{cookie}, 'a=b; c=d', 'cookies upstream');
is($upstream{accept}, 'text/x', 'Accept upstream');

# Off.

call('/off', $token);
is($api->authorization(), "Bearer $token", 'off: nothing is touched');

# Another header.

$response = call('/header', $token, headers => ['X-Access-Token' => 'forged', 'X-Other' => 'kept']);
my $request = $api->last_request();
is($response->status(), 200, 'another header');
is($api->header($request, 'X-Access-Token'), $jwt, 'another header carries the bare JWT');
is(scalar(() = $api->header($request, 'X-Access-Token')), 1, 'what the client sent there is gone');
is($api->header($request, 'Authorization'), undef, 'the opaque token does not go upstream beside it');
is($api->header($request, 'X-Other'), 'kept', 'other headers stay');

is(call('/header', undef, headers => ['X-Access-Token' => $token])->status(), 401,
    'the header of the JWT is no credential');

# token=$variable.

$response = call('/cookie', 'forged', headers => [Cookie => "a=b; session=$token; c=d"]);
$request = $api->last_request();
is($response->status(), 200, 'token from a cookie');
is($api->header($request, 'Authorization'), "Bearer $jwt", 'token from a cookie, JWT upstream');
is($api->header($request, 'Cookie'), 'a=b; c=d', 'its cookie is removed');

call('/cookie', undef, headers => [Cookie => "session=$token"]);
unlike($api->last_request()->{head}, qr/\Q$token/, 'a cookie that stands alone');

call('/cookie', undef, headers => [Cookie => "session=$token; session=$other"]);
unlike($api->last_request()->{head}, qr/\Q$token\E|\Q$other/, 'a cookie given twice');

is(call('/cookie', $token)->status(), 401, 'the Authorization header does not count beside token=');
is(call('/cookie', undef, headers => [Cookie => 'session=a b'])->status(), 401, 'malformed cookie');

$response = call('/own', 'forged', headers => ['X-Opaque' => $token]);
$request = $api->last_request();
is($response->status(), 200, 'token from a header');
is($api->header($request, 'Authorization'), "Bearer $jwt", 'token from a header, JWT upstream');
is($api->header($request, 'X-Opaque'), undef, 'its header is removed');

call('/same', undef, headers => ['X-Opaque' => $token]);
is(join(',', $api->header($api->last_request(), 'X-Opaque')), $jwt, 'the JWT takes the place of the token');

# The endpoint.

call('/bare', my $bare = token());
is($as->last_request($bare)->{uri}, '/bare', 'a bare name is the location of that name');

$response = call('/variable?tenant=one', $token);
is($response->header('Cache-Status'), 'MISS', 'another endpoint, another verdict');
is($as->last_request($token)->{uri}, '/introspect/one', 'variables in the endpoint');
is(call('/variable?tenant=one', $token)->header('Cache-Status'), 'HIT', 'the same endpoint again');
is(call('/variable?tenant=two', $token)->header('Cache-Status'), 'MISS', 'and yet another');

is(http_get('/introspect') =~ m{^HTTP/1\.1 404}, 1, 'the endpoint is not for clients');

$response = call('/unbuffered', $token, method => 'POST', body => 'x' x 100_000);
like($response->body(), qr/^body 100000 /m, 'without buffering');
is($api->authorization($response), "Bearer $jwt", 'without buffering, JWT');
