#!/usr/bin/perl

# nginx-conf/limit-junk.conf: questions are counted by client address; what causes none is not.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Shipped qw(ship);

my $t = Test::Nginx->new()->has(qw(http proxy limit_req realip))->plan(16);

# So slow that no question is added while the test runs.
ship($t, 'rate=10r/s' => 'rate=1r/m');
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    include phantom-token/limit-junk.conf;
    limit_req_zone $binary_remote_addr zone=in_front:1m rate=1000r/s;

    # Clients have addresses of their own.
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;

    add_header Slug $phantom_token_error always;
    add_header Cache $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        phantom_token_introspection_endpoint /introspect;
        phantom_token_cache_negative_ttl 5m;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /limited/ {
            phantom_token on;
            limit_req zone=in_front burst=1000 nodelay;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

sub call_from {
    my ($address, $uri, $token) = @_;
    return call($uri, $token, headers => ['X-Real-IP' => $address]);
}

# How many responses had which status and slug.
sub tally {
    my %tally;
    $tally{ join ' ', $_->status(), $_->header('Slug') // () }++ for @_;
    return \%tally;
}

my $valid = token();
$as->script($valid, $as->jwt_answer(jwt()));
is_deeply(tally(map { call_from('192.0.2.1', '/', $valid) } 1 .. 60), { 200 => 60 }, 'one question, many hits');
my $known = token();
is_deeply(tally(map { call_from('192.0.2.1', '/', $known) } 1 .. 60), { '401 inactive' => 60 },
    'one question, known to be inactive');
is_deeply(tally(map { call_from('192.0.2.1', '/', undef) } 1 .. 60), { '401 no_credentials' => 60 },
    'no token, no question');
is_deeply(tally(map { call_from('192.0.2.1', '/', 'not=a token') } 1 .. 60), { '401 malformed' => 60 },
    'no question about what is no token');
is($as->count(), 2, 'two questions so far');

# burst=50, and the one that the rate allows.
my @junk = map { call_from('192.0.2.1', '/', token()) } 1 .. 60;
is_deeply(tally(@junk), { '401 inactive' => 49, '503 server_busy' => 11 }, 'guesses: up to the limit');
is($as->count(), 51, 'the server is asked no more often');
my ($refused) = grep { $_->status() == 503 } @junk;
is($refused->header('WWW-Authenticate'), undef, 'beyond it, nothing is said of the token');
like($t->read_file('error.log'), qr/limiting requests.* by zone "phantom_token_questions", client: 192\.0\.2\.1/,
    'the log says whom NGINX limits');

my $new = token();
$as->script($new, $as->jwt_answer(jwt()));
is(call_from('192.0.2.1', '/', $new)->status(), 503, 'a new token of the same address is a guess, too');
is(call_from('192.0.2.1', '/', $valid)->header('Cache'), 'HIT', 'a token in the cache passes');
is(call_from('192.0.2.1', '/', $known)->header('Cache'), 'NEGATIVE', 'or is known to be inactive');
is(call_from('192.0.2.2', '/', $new)->status(), 200, 'another address is not limited');
is(call_from('192.0.2.1', '/', $new)->status(), 200, 'and what it asked about is known');

# A limit in front, which counts each request, takes the place of this one.
is_deeply(tally(map { call_from('192.0.2.3', '/limited/', token()) } 1 .. 60), { '401 inactive' => 60 },
    'with a limit_req of the API, questions are not limited');
is($as->count(), 112, 'the server was asked all of them');
