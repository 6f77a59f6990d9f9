#!/usr/bin/perl

# nginx-conf/errors.conf: what a client gets for each refusal, with the headers of the refusal; and whose errors
# are left alone.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Shipped qw(ship shipped_text);

my $t = Test::Nginx->new()->has(qw(http proxy));

ship($t);
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    types { text/html html; }

    server {
        listen 127.0.0.1:8080;

        phantom_token on;
        phantom_token_introspection_endpoint /introspect;
        include phantom-token/errors.conf;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /denied/ { deny all; proxy_pass http://127.0.0.1:8082; }
        location /misconfigured/ {
            phantom_token_introspection_endpoint /no/such/location;
            proxy_pass http://127.0.0.1:8082;
        }
        location /no/ { phantom_token off; }
        location /slow/ { phantom_token_introspection_endpoint /slowly; proxy_pass http://127.0.0.1:8082; }
        location /down/ { proxy_pass http://127.0.0.1:8099; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /slowly { internal; proxy_read_timeout 200ms; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my $unauthorized =
    '{"code":"unauthorized_request","message":"Access denied due to missing, invalid or expired credentials"}';
my $forbidden = '{"code":"forbidden","message":"Access denied due to insufficient permissions"}';
my $server_error = '{"code":"server_error","message":"Problem encountered processing the request"}';
my $invalid = 'Bearer realm="api", error="invalid_token"';
my $jwt = jwt();

# URI, what is answered about the token (undef: there is none); status, body, WWW-Authenticate, Retry-After.
my @cases = (
    ['no token', '/', undef, 401, $unauthorized, 'Bearer realm="api"'],
    ['inactive', '/', $as->inactive_answer(), 401, $unauthorized, $invalid],
    ['an URI with an extension', '/report.html', $as->inactive_answer(), 401, $unauthorized, $invalid],
    ['denied', '/denied/', undef, 403, $forbidden],
    ['misconfigured', '/misconfigured/', $as->inactive_answer(), 500, $server_error],
    ['we are refused', '/', { status => 401 }, 502, $server_error],
    ['its server is down', '/down/', $as->jwt_answer($jwt), 502, $server_error],
    ['busy', '/', { status => 429, headers => ['Retry-After' => '7'] }, 503, $server_error, undef, '7'],
    ['slow', '/slow/', { hold => 1 }, 504, $server_error],
);

$t->plan(8 * @cases + 16);
$t->run();

for my $case (@cases) {
    my ($name, $uri, $answer, $status, $body, $challenge, $retry_after) = @$case;

    my $token = $answer && token();
    $as->script($token, $answer) if $answer;

    my $response = call($uri, $token);
    is($response->status(), $status, "$name: status");
    is($response->header('Content-Type'), 'application/json', "$name: Content-Type");
    is($response->body(), $body, "$name: body");
    is($response->header('WWW-Authenticate'), $challenge, "$name: challenge");
    is($response->header('Retry-After'), $retry_after, "$name: Retry-After");

    $response = call($uri, $token, method => 'HEAD');
    is($response->status(), $status, "$name: HEAD, status");
    is($response->header('Content-Length'), length $body, "$name: HEAD, Content-Length");
    is($response->body(), '', "$name: HEAD, no body");
}

is($api->count(), 0, 'nothing went upstream');

# What is returned is returned before the access phase; a page from elsewhere, in its place, would not be.
my @locations = shipped_text('errors.conf') =~ /^location @\w+ \{(.*?)^\}/msg;
is(scalar(grep { /^    phantom_token off;$/m } @locations), 3, 'no error location asks for a token');

# A refused request's body is not invited, and is not the next request.

my $connection = http_connection();
$connection->request(POST => '/', headers => ['Content-Length' => 10, Expect => '100-continue']);
is($connection->read_bytes(12), 'HTTP/1.1 401', 'Expect: 100-continue is answered with the refusal');
$connection->close();

$connection = http_connection();
my $body = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
$connection->request(POST => '/', body => $body);
is($connection->response()->status(), 401, 'a request with a body');
my $token = token();
$as->script($token, $as->jwt_answer($jwt));
$connection->request(GET => '/next', headers => [Authorization => "Bearer $token"]);
is($connection->response()->status(), 200, 'the next request on the connection');
is($api->last_request()->{uri}, '/next', 'is the next request');

# What is left alone.

my $response = call('/?access_token=abc', $token);
is($response->status(), 400, 'a token in two ways: 400');
like($response->header('Content-Type'), qr{^text/html}, 'is NGINX\'s page');

for my $status (401, 403, 500, 503) {
    $api->script("/own/$status", { status => $status, type => 'application/problem+json', body => "own $status" });
    $response = call("/own/$status", $token);
    is($response->status(), $status, "the API's own $status");
    is($response->body(), "own $status", "the API's own $status: body");
}
