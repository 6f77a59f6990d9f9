#!/usr/bin/perl

# What the authorization server says of a token that is bound to a key (RFC 9449 sections 5 and 6): cnf.jkt to which
# one, token_type alone that it is. Without the key nothing can be checked, and such a token is no bearer token.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy access))->plan(220);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location /jwt/ { proxy_pass http://127.0.0.1:8082; }
        location /jwt/required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
        location /jwt/off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        location /jwt/uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }

        location /claims/ {
            phantom_token_forward claims;
            phantom_token_envelope unverified;
            proxy_pass http://127.0.0.1:8082;

            location /claims/required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
            location /claims/off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        }

        location /exchange/ {
            phantom_token_exchange /introspect;
            proxy_pass http://127.0.0.1:8082;

            location /exchange/required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
            location /exchange/off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        }

        location /presented/ {
            phantom_token_accept_jwt verify;
            phantom_token_jwks file=as.jwks;
            phantom_token_issuer https://as.example;
            phantom_token_audience api;
            proxy_pass http://127.0.0.1:8082;

            location /presented/required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
            location /presented/off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $server_key = Test::PhantomToken::Keys->new($t, 'ES256');
$t->write_file('as.jwks', Test::PhantomToken::Keys::set($server_key->jwk()));
my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $client_key = Test::PhantomToken::Keys->new($t, 'ES256');
my $algs = 'ES256 ES384 Ed25519 EdDSA PS256 PS384 PS512 RS256 RS384 RS512';
my $json = JSON::PP->new->canonical;
my $jwk = $client_key->jwk();
my $jkt = encode_base64url(sha256($json->encode({ map { $_ => $jwk->{$_} } qw(crv kty x y) })));
my $cannot = qr/the token is bound in a way that cannot be checked/;
my %active = (active => JSON::PP::true, sub => 'alice', exp => time + 300);
my $count = 0;

# A token about which the server says that.
sub known {
    my ($answer) = @_;
    my $token = token();
    $as->script($token, $answer);
    return $token;
}

# A call with the scheme DPoP and a good proof.
sub prove {
    my ($uri, $token) = @_;
    my $proof = $client_key->jwt(
        header => { typ => 'dpop+jwt', jwk => $jwk },
        claims => {
            (map { $_ => undef } qw(iss sub aud client_id scope exp)), htm => 'GET', htu => "http://localhost$uri",
            iat => time, jti => 'jti-' . ++$count, ath => encode_base64url(sha256($token)),
        },
    );
    return call($uri, undef, headers => [Authorization => "DPoP $token", DPoP => $proof]);
}

sub outcome {
    my ($response) = @_;
    return join ' ', grep { $_ ne '' } $response->status(), $response->header('Cache-Status') // '',
        $response->header('Slug') // '';
}

sub challenges { return join ', ', map { s/^[^:]+: *//r } $_[0]->header_lines('WWW-Authenticate') }

# Refused, and the log says why.
sub refused {
    my ($name, $response, $status, $why) = @_;
    is(outcome($response), "401 $status binding", $name);
    my ($line) = grep { /request refused/ } reverse $t->module_lines();
    like($line // '', $why, "$name: the log");
    return;
}

# Bound to a key that nobody can know: refused as Bearer and as DPoP, on a miss and on a hit; what is off does not look.

sub unknown_key {
    my ($name, $place, $token, $upstream) = @_;
    refused("$name: Bearer", call("/$place/a", $token), 'MISS', $cannot);
    refused("$name: Bearer again", call("/$place/a", $token), 'HIT', $cannot);
    refused("$name: DPoP", prove("/$place/a", $token), 'HIT', $cannot);
    refused("$name: required", call("/$place/required", $token), 'HIT', $cannot);
    my $response = call("/$place/off", $token);
    is(outcome($response), '200 HIT', "$name: off");
    is($api->authorization($response), $upstream, "$name: off: upstream");
    return;
}

my $jwt = jwt();
for my $type (qw(DPoP dpop DPOP)) {
    unknown_key("$type beside a JWT", 'jwt', known($as->json_answer({ %active, token_type => $type, jwt => $jwt })),
        "Bearer $jwt");
}
unknown_key('spelled with escapes', 'jwt', known($as->json_answer(
    qq({"active":true,"token\\u005ftype":"\\u0044PoP","jwt":"$jwt"}))), "Bearer $jwt");
my $says = jwt(claims => { token_type => 'DPoP' });
unknown_key('in the JWT', 'jwt', known($as->jwt_answer($says)), "Bearer $says");
my $certificate = { 'x5t#S256' => encode_base64url('x' x 32) };
unknown_key('with another binding', 'jwt',
    known($as->json_answer({ %active, token_type => 'DPoP', cnf => $certificate, jwt => $jwt })), "Bearer $jwt");
unknown_key('cnf is null', 'jwt',
    known($as->json_answer({ %active, token_type => 'DPoP', cnf => undef, jwt => $jwt })), "Bearer $jwt");
unknown_key('claims', 'claims', known($as->json_answer({ %active, token_type => 'DPoP' })), undef);
unknown_key('a JWT of claims', 'claims', known($as->jwt_answer(jwt(claims => { %active, token_type => 'DPoP' }))), undef);
unknown_key('a signed answer', 'claims', known($as->envelope_answer(
    Test::PhantomToken::JWT::envelope({ %active, token_type => 'DPoP' }))), undef);
unknown_key('exchanged', 'exchange', known($as->exchange_answer($jwt, { token_type => 'DPoP' })), "Bearer $jwt");
my $presented = $server_key->jwt(claims => { token_type => 'DPoP' });
unknown_key('presented', 'presented', $presented, "Bearer $presented");

my $uncached = known($as->json_answer({ %active, token_type => 'DPoP', jwt => $jwt }));
refused('without a cache', call('/jwt/uncached', $uncached), 'BYPASS', $cannot);

# The challenge is that of the scheme that was used.

my $token = known($as->json_answer({ %active, token_type => 'DPoP', jwt => $jwt }));
is(challenges(call('/jwt/a', $token)), 'Bearer realm="api", error="invalid_token"', 'Bearer: the challenge');
is(challenges(prove('/jwt/a', $token)), qq{DPoP realm="api", error="invalid_token", algs="$algs"}, 'DPoP: the challenge');
is(challenges(call('/jwt/required', $token)), qq{Bearer realm="api", error="invalid_token", DPoP realm="api", algs="$algs"},
    'required: the challenge');
is($as->questions($token), 1, 'asked about once');

# The key is known: the token type says nothing new, and nothing else either.

sub known_key {
    my ($name, $place, $token, $upstream) = @_;
    refused("$name: Bearer", call("/$place/a", $token), 'MISS', qr/must be presented with the scheme DPoP/);
    my $response = prove("/$place/a", $token);
    is(outcome($response), '200 HIT', "$name: DPoP");
    is($api->authorization($response), $upstream, "$name: DPoP: upstream");
    is(outcome(prove("/$place/required", $token)), '200 HIT', "$name: required");
    is(outcome(call("/$place/off", $token)), '200 HIT', "$name: off");
    return;
}

my $bound = jwt(claims => { cnf => { jkt => $jkt } });
for my $type (qw(DPoP Bearer)) {
    known_key("$type, the key beside the JWT", 'jwt',
        known($as->json_answer({ %active, token_type => $type, cnf => { jkt => $jkt }, jwt => $jwt })), "Bearer $jwt");
    known_key("$type, the key in the JWT", 'jwt',
        known($as->json_answer({ %active, token_type => $type, jwt => $bound })), "Bearer $bound");
    known_key("$type, exchanged", 'exchange', known($as->exchange_answer($bound, { token_type => $type })), "Bearer $bound");
    known_key("$type, claims", 'claims',
        known($as->json_answer({ %active, token_type => $type, cnf => { jkt => $jkt } })), undef);
}
my $both = $server_key->jwt(claims => { token_type => 'DPoP', cnf => { jkt => $jkt } });
known_key('presented with the key', 'presented', $both, "Bearer $both");

# Any other type is that of a bearer token.

for my $type ('Bearer', 'N_A', 'access_token', '', 'DPoP ', ['DPoP'], 1, undef) {
    my $shown = $json->allow_nonref->encode($type);
    my $token = known($as->json_answer({ %active, token_type => $type, jwt => $jwt }));
    is(outcome(call('/jwt/a', $token)), '200 MISS', "token_type $shown: Bearer");
    refused("token_type $shown: DPoP", prove('/jwt/a', $token), 'HIT', qr/is not bound to a key/);
    refused("token_type $shown: required", call('/jwt/required', $token), 'HIT', qr/the token is not bound/);
}
