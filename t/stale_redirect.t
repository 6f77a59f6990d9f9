#!/usr/bin/perl

# A verdict past its time that one location has at hand is not used in another one, where the server of the keys cannot
# be asked.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;
use Test::PhantomToken::Workers qw(to_workers);

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(8);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events { accept_mutex on; accept_mutex_delay 5ms; }
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_max_ttl 3s;
    phantom_token_cache_use_stale 1h;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Worker $pid always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }

        # The authorization server has said that the token is active, but here it is to be verified.
        location /asked { try_files /none /verified; }
        location /verified {
            phantom_token_accept_jwt verify;
            phantom_token_jwks /jwks;
            phantom_token_issuer https://as.example;
            phantom_token_audience api;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /free { phantom_token off; return 204; }
        location = /jwks { internal; proxy_pass http://127.0.0.1:8099; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();
$t->wait_for_workers(2);

sub ask {
    my ($connection, $uri, $token) = @_;
    return $connection->request('GET', $uri, headers => [Authorization => "Bearer $token"]);
}

sub outcome {
    my ($response) = @_;
    return join ' ', $response->status(), grep { defined } map { $response->header($_) } qw(Cache-Status Slug);
}

my ($one, $another) = to_workers('/free', 1, 2);
is(scalar(@$another), 2, 'two workers');

# A token that looks like a JWT. Its verdict gets old.

my ($token, $jwt) = (jwt(), jwt());
$as->script($token, $as->jwt_answer($jwt), $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
is(outcome(call('/verified', $token)), '502 MISS server_unreachable', 'without keys');
is(outcome(call('/', $token)), '200 MISS', 'where it is asked about');
my $asked = time;
ok(eventually(sub { time > $asked + 3.1 }), 'a while');

# It is confirmed while the request waits, which has seen the old one, and then NGINX leads it on.

ask($one->[0], '/', $token);
$as->wait_for_question($token, 2);
ask($another->[0], '/asked', $token);
$another->[1]->request('GET', '/free')->response() for 1, 2;
$as->release($token);
is(outcome($one->[0]->response()), '200 MISS', 'confirmed');
is(outcome($another->[0]->response()), '502 MISS server_unreachable', 'led on: no verdict of the other location');
is($api->count('/verified'), 0, 'and nothing goes upstream');
is($as->questions($token), 2, 'one question was for both');
$_->close() for @$one, @$another;
