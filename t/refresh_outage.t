#!/usr/bin/perl

# The authorization server was away, and the worker has connections for clients alone: what it cannot confirm for want
# of a connection does not take the turn of a question that finds out that the server is back.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(5);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events { worker_connections 64; }
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_max_introspections 16;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 4s;

    server {
        listen 127.0.0.1:8080;
        add_header Cache-Status $phantom_token_cache_status always;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /known.txt { root %%TESTDIR%%; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->write_file('known.txt', 'A file: NGINX answers at once.');

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($known, $aging, $new) = map { token() } 1 .. 3;
$as->script($_, $as->jwt_answer(jwt())) for $known, $aging, $new;
call('/', $_) for $known, $aging;
call_until(sub { $as->questions($known) == 2 }, '/', $known);

# All but a few connections are taken: fewer than an eighth is free, more than what a request needs.

my @idle = map { http_connection() } 1 .. 54;
is(call('/', $aging)->header('Cache-Status'), 'HIT', 'an aging verdict is used');
is($as->questions($aging), 1, 'and not confirmed for want of connections');

my @failing = map { token() } 1 .. 12;
$as->script($_, { reset => 1 }) for @failing;
is(scalar(grep { call('/', $_)->status() == 502 } @failing), 12, 'the server is away');

# A hit and then a question, in one turn of the worker.

my %aging;
ok(eventually(sub {
    my $client = http_connection();
    $client->send(join '', map { Test::Nginx::Connection::format_request('GET', '/known.txt',
        headers => [Authorization => "Bearer $_"]) } $aging, $new);
    my @responses = map { $client->response() } 1, 2;
    $client->close();
    $aging{ $responses[0]->header('Cache-Status') }++;
    return $responses[1]->status() == 200;
}), 'the server is found again');
is(join(',', keys %aging), 'HIT', 'while there are hits that cannot be confirmed');
