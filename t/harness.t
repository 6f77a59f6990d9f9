#!/usr/bin/perl

# The test library itself, with an NGINX that does without the module: what the other files rely on.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Leaks qw(leaks);
use Test::PhantomToken::API;
use Test::PhantomToken::AuthorizationServer;
use Test::PhantomToken::JWT qw(jwt opaque_token);

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(43);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    server {
        listen 127.0.0.1:8080;
        location / {
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_pass http://127.0.0.1:8082;
        }
        location /introspect { proxy_pass http://127.0.0.1:8081; }
        location /text { return 200 "port 127.0.0.1:8080 %%PORT_8082%%\n"; }
    }
}
CONF

my $as = Test::PhantomToken::AuthorizationServer->start($t, 8081);
my $api = Test::PhantomToken::API->start($t, 8082);
$t->run();

# Client.

like(http_get('/text'), qr/^port 127\.0\.0\.1:${\port(8080)} ${\port(8082)}$/m, 'ports are mapped');
like(http_head('/text'), qr/200 OK.*\r\n\r\n\z/s, 'HEAD');
like(http_post('/form', 'a=b'), qr/^POST \/form$/m, 'POST');

my $response = http_request('GET', '/text');
is($response->status(), 200, 'status');
is($response->header('content-type'), 'text/plain', 'header');

my $connection = http_connection();
$connection->request('GET', '/one')->request('GET', '/two');
like($connection->response()->body(), qr{^GET /one$}m, 'first pipelined request');
like($connection->response()->body(), qr{^GET /two$}m, 'second pipelined request');

$connection->request('POST', '/three', headers => ['Transfer-Encoding' => 'chunked'],
    body => "3\r\nabc\r\n0\r\n\r\n");
like($connection->response()->body(), qr{^body 3 900150983cd24fb0d6963f7d28e17f72$}m, 'chunked request');

$connection->request('GET', '/end', headers => [Connection => 'close']);
ok($connection->response()->complete(), 'complete');
ok($connection->at_end(), 'the connection ends');

$connection = http_connection();
$connection->request('GET', '/upgrade', headers => [Upgrade => 'echo', Connection => 'upgrade']);
is($connection->response()->status(), 101, 'upgrade');
is($connection->send('echo')->read_bytes(4), 'echo', 'and an echo');
$connection->close();

# API.

my $request = $api->last_request('/three');
is($request->{method}, 'POST', 'method upstream');
is($request->{body}, 'abc', 'body upstream');
is($api->header($request, 'host'), '127.0.0.1:' . port(8082), 'header upstream');

$api->script('/fails', { status => 500, body => 'broken' }, { status => 201, headers => ['X-A' => 1] });
is(http_request('GET', '/fails?a=b')->status(), 500, 'first answer of a script');
is(http_request('GET', '/fails')->header('X-A'), 1, 'second answer');
is(http_request('GET', '/fails')->status(), 201, 'the last answer stays');
is($api->count('/fails'), 3, 'count');

# Authorization server.

my $token = 'a+b/c==';
$as->script($token, $as->jwt_answer('x' x 20_000, chunked => 100));
my $form = 'token=a%2Bb%2Fc%3D%3D&hint=';
is(http_request('POST', '/introspect', body => $form)->body(), 'x' x 20_000, 'chunked answer');
is($as->questions($token), 1, 'the token is decoded');
is(http_request('POST', '/introspect', body => 'token=other')->status(), 204, 'without a script');

sub ask { return http_request('POST', '/introspect', body => $form, port => $_[0] // 8080) }

$as->script($token, $as->jwt_answer('abc', segment => 1));
is(ask()->body(), 'abc', 'single-byte segments');

$as->script($token, $as->jwt_answer('abcdef', truncate => 3));
$response = ask(8081);
ok($response->body() eq 'abc' && !$response->complete(), 'truncated');

$as->script($token, $as->jwt_answer('abc', close => 1));
$response = ask(8081);
ok($response->body() eq 'abc' && !defined $response->header('Content-Length'), 'close-delimited');

$as->script($token, $as->jwt_answer('abc', gzip => 1));
is(ask(8081)->header('Content-Encoding'), 'gzip', 'gzip');

$as->script($token, $as->jwt_answer('abc', reset => 1));
is(ask()->status(), 502, 'reset');

$as->script($token, { hang_up => 1 });
is(ask()->status(), 502, 'hung up');

$as->script($token, { raw => "nonsense\r\n\r\n" });
is(http("POST / HTTP/1.1\r\nContent-Length: " . length($form) . "\r\n\r\n$form", port => 8081),
    "nonsense\r\n\r\n", 'raw');

$as->script($token, $as->json_answer({ active => JSON::PP::true }, hold => 1));
my $before = $as->questions($token);
my @held = map { http_connection()->request('POST', '/introspect', body => $form) } 1 .. 3;
$as->wait_for_question($token, $before + 3);
is($as->release($token), 3, 'answers are held back');
is(join(' ', map { $_->response()->body() } @held), join(' ', ('{"active":true}') x 3), 'and released');
$_->close() for @held;

$as->script($token, $as->jwt_answer('abc', hold_after => 20));
my $direct = http_connection(port => 8081)->request('POST', '/', body => $form);
is($direct->read_bytes(20), "HTTP/1.1 200 OK\r\nCon", 'the beginning of an answer');
$as->release($token);
like($direct->read_bytes(52), qr/^tent-Type: .*abc\z/s, 'its end');
$direct->close();

$as->script($token, $as->jwt_answer('', endless => 1));
$direct = http_connection(port => 8081)->request('POST', '/', body => $form);
is(length $direct->read_bytes(500_000), 500_000, 'endless');
$direct->abort();

# JWTs.

is(length jwt(size => $_), $_, "a JWT of $_ bytes") for 1_200, 20_000;
like(opaque_token(), qr/^[\w-]{43}$/, 'an opaque token');

# Configuration, reload.

is($t->conf_fails("%%TEST_GLOBALS%%\nevents {}\nhttp { %%TEST_GLOBALS_HTTP%% }\n"), undef, 'nginx -t accepts');
like($t->conf_fails("%%TEST_GLOBALS%%\nevents {}\nhttp { no_such_directive; }\n"),
    qr/unknown directive "no_such_directive" in .*conf_test\.conf:\d+$/, 'nginx -t refuses');

my @before = $t->workers();
$t->reload()->wait_old_workers();
my %old = map { $_ => 1 } @before;
my @after = $t->workers();
ok(@after == 2 && !grep({ $old{$_} } @after), 'a reload brings new workers');
like(http_get('/text'), qr/200 OK/, 'and they serve');

# Leaks.

my $secret = opaque_token();
is(scalar(leaks([$secret], 'xx' . substr($secret, 5, 31))), 1, 'part of a secret is found');
is(scalar(leaks([$secret], scalar reverse $secret)), 0, 'nothing else is');
