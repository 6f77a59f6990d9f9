#!/usr/bin/perl

# Many verdicts age at once and the authorization server is slow: a part of the questions that are allowed is for
# requests that wait.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(4);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_max_introspections 4;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 4s;

    server {
        listen 127.0.0.1:8080;
        add_header Cache-Status $phantom_token_cache_status always;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my @tokens = map { token() } 1 .. 8;
$as->script($_, $as->jwt_answer(jwt()), $as->jwt_answer(jwt(), hold => 1)) for @tokens;
call('/', $_) for @tokens;

# The first of them is asked about again: all are about as old.
call_until(sub { $as->questions($tokens[0]) == 2 }, '/', $tokens[0]);

my %outcomes;
$outcomes{ join ' ', $_->status(), $_->header('Cache-Status') }++ for map { call('/', $_) } @tokens;
is(join(',', keys %outcomes), '200 HIT', 'hits go on');

my $asked = 0;
$asked += $as->questions($_) - 1 for @tokens;
cmp_ok($asked, '<', 4, 'not as many are asked about as is allowed');

$as->script(my $new = token(), $as->jwt_answer(jwt()));
my $response = call('/', $new);
is(join(' ', $response->status(), $response->header('Cache-Status') // ()), '200 MISS', 'a request that needs an answer gets one');

$as->release($_) for @tokens;
$response = call_until(sub { $as->questions($tokens[7]) == 2 }, '/', $tokens[7]);
is($as->questions($tokens[7]), 2, 'the others have their turn');
