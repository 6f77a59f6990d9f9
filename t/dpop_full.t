#!/usr/bin/perl

# Used DPoP proofs (RFC 9449 section 11.1) when there is no room to remember more: what cannot be remembered is refused,
# nothing that was is forgotten, and nobody else is hurt.

use strict;
use warnings;

use List::Util qw(pairs);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Memory qw(read_memory shared_memory write_memory);
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt proof);
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

plan(skip_all => 'no way to the shared memory of a process') if !-w "/proc/$$/mem";

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(25);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_dpop_zone 64k;
    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    large_client_header_buffers 4 32k;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /first { error_page 503 = /second; proxy_pass http://127.0.0.1:8082; }
        location /second {
            phantom_token_introspection_endpoint /introspect?second;
            phantom_token_max_introspections 1;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $key = Test::PhantomToken::Keys->new($t, 'ES256');
my ($token, $plain, $other, $held) = map { token() } 1 .. 4;
my ($jwt, $plain_jwt) = (jwt(claims => { cnf => { jkt => jkt($key) } }), jwt());
$as->script($token, $as->jwt_answer($jwt));
$as->script($_, $as->jwt_answer($plain_jwt)) for $plain, $other;
$as->script($held, $as->jwt_answer($plain_jwt, hold => 1));

# Good for as long as can be.
sub good { my ($uri, %claims) = @_; return proof($key, $token, "http://localhost$uri", claims => { iat => time + 20, %claims }) }

sub prove {
    my ($uri, $proof) = @_;
    return http_request('GET', $uri, headers => [Authorization => "DPoP $token", DPoP => $proof]);
}

sub outcome {
    my ($response) = @_;
    return join ' ', $response->status(), grep { defined } map { $response->header($_) } qw(Cache-Status Slug Retry-After);
}

is(outcome(call('/', $plain)), '200 MISS', 'a bearer token');
my $known = good('/');
is(outcome(prove('/', $known)), '200 MISS', 'a proof');

# All of the table but one slot in eight is taken by others. It is an array of integers from the zone's second page on,
# whose lower 24 bits say until when a proof is remembered, in units of 16 seconds.

my ($zone) = grep { $_->{size} == 65_536 } shared_memory($t->read_file('nginx.pid') + 0);
my @table = ($zone->{from} + 4_096, 65_536 - 4_096);

sub fill {
    my ($until) = @_;
    my $pid = $t->read_file('nginx.pid') + 0;
    my $number = 0;
    my @slots = map {
        my ($low, $high) = @$_;
        $number++ % 8 == 0 || ($low || $high) && $high >> 16 != 0x8123 ? ($low, $high)
            : (0x4500_0000 | int($until / 16) & 0xff_ffff, 0x8123_4567);
    } pairs(unpack 'L<*', read_memory($pid, @table));
    write_memory($pid, $table[0], pack 'L<*', @slots);
    return;
}

fill(time + 600);

# Until there is no room.

my ($proof, $jti, $response);
my $accepted = 1;
for (1 .. 10_000) {
    $proof = good('/', jti => $jti = "filling $_");
    $response = prove('/', $proof);
    last if $response->status() != 200;
    $accepted++;
}
# How many is chance: the first one whose two places are both taken by others of these is refused.
cmp_ok($accepted, '>', 10, 'some proofs are remembered');
is(outcome($response), '503 HIT overload 1', 'one is not: 503, and when to try again');
is($response->header('WWW-Authenticate'), undef, 'which is no challenge');
my ($line) = grep { /request refused/ } $t->new_module_lines();
like($line // '', qr/overload, request refused with 503.*no room to remember the DPoP proof/, 'the log says why');
is($api->count('/'), $accepted + 1, 'it does not go upstream');

# That proof was not used, and others are remembered as before.

is(outcome(prove('/', $proof)), '503 HIT overload 1', 'once more: it was not used');
is(outcome(prove('/', $known)), '401 HIT binding', 'a proof that was used still is');
is(outcome(prove('/', 'none')), '401 HIT binding', 'what is no proof is still told so');

# Nobody else is hurt.

is(outcome(call('/', $plain)), '200 HIT', 'a bearer token, a hit');
is(outcome(call('/', $other)), '200 MISS', 'a bearer token, a miss');
is(outcome(call('/')), '401 no_credentials', 'no token');

# Another location, and another reason: the room for proofs is not blamed for it.

my $asking = http_connection()->request('GET', '/', headers => [Authorization => "Bearer $held"]);
$as->wait_for_question($held);
$t->new_module_lines();
is(outcome(prove('/first', good('/first', jti => $jti))), '503 overload 1', 'refused twice');
my @lines = grep { /request refused/ } $t->new_module_lines();
like($lines[0] // '', qr/location "\/first".*no room/, 'first for want of room');
like($lines[1] // '', qr/location "\/second"/, 'then since too much is asked');
unlike($lines[1] // '', qr/no room/, 'which is no want of room');
$as->release($held);
is(outcome($asking->response()), '200 MISS', 'the question that was under way');

# A reload forgets nothing.

$t->reload()->wait_old_workers();
is(outcome(prove('/', $proof)), '503 HIT overload 1', 'after a reload: no room');
is(outcome(prove('/', $known)), '401 HIT binding', 'after a reload: used');
is(outcome(call('/', $plain)), '200 HIT', 'after a reload: a bearer token');

# Room again.

fill(time - 60);
is(outcome(prove('/', $proof)), '200 HIT', 'room again: what was refused was not used');
is(outcome(prove('/', $proof)), '401 HIT binding', 'room again: it counts once');
is(outcome(prove('/', $known)), '401 HIT binding', 'room again: used all the time');
is(outcome(prove('/', good('/'))), '200 HIT', 'room again: another one');
