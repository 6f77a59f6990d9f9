#!/usr/bin/perl

# A request that waits may be woken by an event of its client's connection and not by the answer. It then goes on as if
# it had never waited: its client may leave where `proxy_ignore_client_abort` says so, and a question that it asks for
# others is answered though it leaves.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(5);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;

    server {
        listen 127.0.0.1:8080;

        location / {
            phantom_token on;
            proxy_ignore_client_abort on;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $jwt = jwt();

sub started {
    my ($path, $token) = @_;
    my $connection = http_connection();
    $connection->send("GET $path HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $token\r\n\r\n");
    return $connection;
}

# The worker has seen all that came before.
sub barrier { return http_get('/nothing') }

my $token = token();
$as->script($token, $as->jwt_answer($jwt, hold => 1));
$api->script('/woken', { status => 200, body => 'late', hold => 1 });
$api->script('/large', { status => 200, body => 'x' x 8_000_000 });

# A connection that NGINX listens to for room to write: its socket was full once.
my $large = token();
$as->script($large, $as->jwt_answer($jwt));
my $woken = started('/large', $large);
is(length $woken->response()->body(), 8_000_000, 'a large response');

my $asking = started('/', $token);
$as->wait_for_question($token, 1);
$woken->send("GET /woken HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $token\r\n\r\n");
barrier();

# The answer, and a byte of the client's behind it: the worker sees both at once.
my ($worker) = $t->workers();
kill STOP => $worker;
$as->release($token);
select undef, undef, undef, 0.01 while $as->busy();
$woken->send('G');
kill CONT => $worker;

is($asking->response()->status(), 200, 'the one who asks is served');
$api->wait_for('/woken', 1);
shutdown $woken->socket(), 1;
barrier();
is($api->release('/woken'), 1, 'the client leaves before the API has answered');
is($woken->response()->body(), 'late', 'which is no reason to end the request');
is($as->questions($token), 1, 'one question');
