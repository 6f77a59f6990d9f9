#!/usr/bin/perl

# Many verdicts age at once and the authorization server is slow: connections and questions are for clients first.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(7);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events { worker_connections 64; }
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_max_introspections 60;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 4s;

    server {
        listen 127.0.0.1:8080;
        add_header Cache-Status $phantom_token_cache_status always;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /few { phantom_token_max_introspections 4; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# The bound on questions: not all of it is for those that nobody waits for.

my @few = map { token() } 1 .. 4;
my $new = token();
$as->script($_, $as->jwt_answer(jwt()), $as->jwt_answer(jwt(), hold => 1)) for @few;
$as->script($new, $as->jwt_answer(jwt()));
call('/few', $_) for @few;
my $confirmed = sub { return scalar grep { $as->questions($_) == 2 } @few };
ok(eventually(sub { call('/few', $_) for @few; $confirmed->() >= 3 }), 'three verdicts are asked about');
is(join(',', map { call('/few', $_)->header('Cache-Status') } @few), 'HIT,HIT,HIT,HIT', 'while hits go on');
my $response = call('/few', $new);
is($response->status() . ' ' . $response->header('Cache-Status'), '200 MISS', 'a new token can be asked about');
is($confirmed->(), 3, 'the fourth verdict is not confirmed meanwhile');
$as->release($_) for @few;

# Connections.

my $idle = http_connection();
$idle->request('GET', '/');
$idle->response();

my @tokens = map { token() } 1 .. 60;
$as->script($_, $as->jwt_answer(jwt()), $as->jwt_answer(jwt(), hold => 1)) for @tokens;
call('/', $_) for @tokens;

# The first of them is asked about again: all are about as old.
call_until(sub { $as->questions($tokens[0]) == 2 }, '/', $tokens[0]);

my %outcomes;
$outcomes{ join ' ', $_->status(), $_->header('Cache-Status') }++ for map { call('/', $_) } @tokens;
is(join(',', keys %outcomes), '200 HIT', 'hits go on');

$idle->request('GET', '/');
is($idle->response()->status(), 401, 'an idle client keeps its connection');

my $asked = 0;
$asked += $as->questions($_) - 1 for @tokens;
cmp_ok($asked, '<', 60, 'not all are asked about at once');
$as->release($_) for @tokens;
