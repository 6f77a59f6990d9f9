#!/usr/bin/perl

# DPoP proofs that have to carry a nonce (RFC 9449 section 9): the client is told one, and told another in time.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Timeout qw($TIMEOUT);
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt proof);
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(42);

sub configuration {
    my ($binding) = @_;
    return <<"CONF";
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_binding $binding;
    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_dpop_nonce 1h;
    large_client_header_buffers 4 32k;
    add_header Slug \$phantom_token_error always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /off { phantom_token_dpop_nonce off; proxy_pass http://127.0.0.1:8082; }
        location /shared { phantom_token_dpop_nonce 1h file=nonce.key; proxy_pass http://127.0.0.1:8082; }
        location /short { phantom_token_dpop_nonce 4s; proxy_pass http://127.0.0.1:8082; }
        location /first {
            phantom_token_dpop_nonce off;
            phantom_token_require_scope admin;
            error_page 403 = /second;
            proxy_pass http://127.0.0.1:8082;
        }
        location /second { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF
}

my $as = authorization_server($t);
my $api = api($t);
$t->write_file('nonce.key', 'x' x 32);
$t->write_file_expand('nginx.conf', configuration('optional'));
$t->run();
$t->wait_for_workers(2);

my $algs = 'ES256 ES384 Ed25519 EdDSA PS256 PS384 PS512 RS256 RS384 RS512';
my $use_nonce = qq{DPoP realm="api", error="use_dpop_nonce", algs="$algs"};
my $key = Test::PhantomToken::Keys->new($t, 'EdDSA');
my ($token, $plain) = (token(), token());
my ($jwt, $plain_jwt) = (jwt(claims => { cnf => { jkt => jkt($key) } }), jwt());
$as->script($token, $as->jwt_answer($jwt));
$as->script($plain, $as->jwt_answer($plain_jwt));

sub prove {
    my ($uri, $proof) = @_;
    return http_request('GET', $uri, headers => [Authorization => "DPoP $token", DPoP => $proof]);
}

sub with_nonce {
    my ($uri, $nonce, %claims) = @_;
    return prove($uri, proof($key, $token, "http://localhost$uri", claims => { nonce => $nonce, %claims }));
}

sub nonces { return map { s/^[^:]+: *//r } $_[0]->header_lines('DPoP-Nonce') }

# Refused, with a nonce to use.
sub told {
    my ($name, $response) = @_;
    is($response->status() . ' ' . $response->header('Slug'), '401 binding', $name);
    is($response->header('WWW-Authenticate'), $use_nonce, "$name: the challenge");
    my @nonces = nonces($response);
    like("@nonces", qr/^[A-Za-z0-9_-]{32}\z/, "$name: one nonce");
    return $nonces[0] // '';
}

sub passed {
    my ($name, $response) = @_;
    is($response->status(), 200, $name);
    is($api->authorization($response), "Bearer $jwt", "$name: the JWT upstream");
    is(join(' ', nonces($response)), '', "$name: the nonce will do for longer");
    return;
}

# The first one.

my $nonce = told('no nonce', with_nonce('/', undef, jti => 'first'));
passed('the nonce', with_nonce('/', $nonce, jti => 'first'));
passed('as often as it likes', with_nonce('/', $nonce));
my $other = told('another nonce', with_nonce('/', 'x' x 32));
passed('what it is told then', with_nonce('/', $other));
told('no string', with_nonce('/', [$nonce]));
my ($line) = grep { /request refused/ } $t->new_module_lines();
like($line // '', qr/binding, request refused with 401.*it has no "nonce"/, 'the log says why');

my $wrong = with_nonce('/', undef, htm => 'PUT');
is($wrong->header('WWW-Authenticate'), qq{DPoP realm="api", error="invalid_dpop_proof", algs="$algs"}, 'all else comes first');
is(join(' ', nonces($wrong)), '', 'and another nonce is no help');

# Where none is asked for.

passed('off', with_nonce('/off', undef));
my $bearer = call('/', $plain);
is($bearer->status() . join(' ', nonces($bearer)), '200', 'a bearer token');

# One location after another: what the second one asks for is looked at there, and the proof is still used once.

told('led to where a nonce is asked for', with_nonce('/first', undef));
my $led = with_nonce('/first', $nonce, jti => 'led');
is($led->status() . ' ' . $api->authorization($led), "200 Bearer $jwt", 'with a nonce');
is(with_nonce('/first', $nonce, jti => 'led')->status(), 401, 'with a nonce, once');

# It grows old: the client is told another one before it has to ask.

my $short = told('a short life', with_nonce('/short', undef));
my ($renewed, $status);
my $deadline = time + 10 + $TIMEOUT;
while (time < $deadline) {
    my $response = with_nonce('/short', $short);
    $status = $response->status();
    last if $status != 200;
    ($renewed) = nonces($response) if !$renewed;
}
is($status, 401, 'it grows too old');
like($renewed // '', qr/^[A-Za-z0-9_-]{32}\z/, 'another one came before, with a response of the API');
isnt($renewed, $short, 'which is not the same');

# Reloads, and other machines.

my $shared = told('a secret that machines share', with_nonce('/shared', $nonce));
$t->reload()->wait_old_workers();
is(with_nonce('/', $nonce)->status(), 200, 'after a reload');
for my $binding (qw(off optional)) {
    # Where there was no zone of proofs, its secret is another one.
    $t->write_file_expand('nginx.conf', configuration($binding));
    $t->reload()->wait_old_workers();
}
is(with_nonce('/', $nonce)->status(), 401, 'as on another machine: its own nonces');
is(with_nonce('/shared', $shared)->status(), 200, 'as on another machine: those by the shared secret');
