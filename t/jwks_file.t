#!/usr/bin/perl

# `phantom_token_jwks file=`: whatever JWT the authorization server gives is verified before it is kept, and what
# does not verify goes nowhere.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use JSON::PP;
use MIME::Base64 qw(encode_base64url);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy));

my @algorithms = qw(RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA Ed25519);
my %key = map { $_ => Test::PhantomToken::Keys->new($t, /\d|EdDSA/ ? $_ : 'RS256') }
    qw(RS256 ES256 ES384 EdDSA stranger next);
# One RSA key for all that RSA signs, and one of the curve for both of its names.
$key{$_} = bless { %{ $key{ $_ eq 'Ed25519' ? 'EdDSA' : 'RS256' } }, alg => $_ }, 'Test::PhantomToken::Keys'
    for grep { !$key{$_} } @algorithms;

my @jwks = map { $key{$_}->jwk(kid => lc $_) } qw(RS256 ES384 EdDSA);
push @jwks, $key{ES256}->jwk(kid => 'es256', alg => 'ES256', use => 'sig');
$t->write_file('keys.jwks', Test::PhantomToken::Keys::set(@jwks, { kty => 'RSA', use => 'enc', n => 'AA', e => 'AQAB' }));
$t->write_file('other.jwks', Test::PhantomToken::Keys::set($key{stranger}->jwk(), @jwks));
$t->write_file('rotating.jwks', Test::PhantomToken::Keys::set($key{ES256}->jwk()));

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        phantom_token_jwks file=keys.jwks;
        phantom_token_issuer https://as.example;
        phantom_token_audience other api;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /json { phantom_token_accept application/json; proxy_pass http://127.0.0.1:8082; }
        location /exchange { phantom_token_exchange /token; proxy_pass http://127.0.0.1:8082; }
        location /leeway { phantom_token_leeway 5m; proxy_pass http://127.0.0.1:8082; }
        location /no_leeway { phantom_token_leeway 0; proxy_pass http://127.0.0.1:8082; }
        location /audience { phantom_token_audience elsewhere; proxy_pass http://127.0.0.1:8082; }
        location /issuer { phantom_token_issuer https://other.example; proxy_pass http://127.0.0.1:8082; }
        location /keys { phantom_token_jwks file=other.jwks; proxy_pass http://127.0.0.1:8082; }
        location /rotating { phantom_token_jwks file=rotating.jwks; proxy_pass http://127.0.0.1:8082; }

        location /claims {
            phantom_token_forward claims;
            proxy_set_header X-Subject $phantom_token_claim_sub;
            proxy_pass http://127.0.0.1:8082;

            location /claims/jwt { phantom_token_accept application/jwt; proxy_pass http://127.0.0.1:8082; }
            location /claims/signed {
                phantom_token_accept application/token-introspection+jwt;
                phantom_token_audience gateway;
                phantom_token_envelope_header X-Envelope;
                proxy_pass http://127.0.0.1:8082;
            }
            location /claims/unverified {
                phantom_token_accept application/token-introspection+jwt;
                phantom_token_audience gateway;
                phantom_token_envelope unverified;
                proxy_pass http://127.0.0.1:8082;
            }
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /token { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8084;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /verified { phantom_token_jwks file=keys.jwks; proxy_pass http://127.0.0.1:8082; }
        location /issuer {
            phantom_token_jwks file=keys.jwks;
            phantom_token_issuer https://as.example;
            proxy_pass http://127.0.0.1:8082;
        }
        location /audience {
            phantom_token_jwks file=keys.jwks;
            phantom_token_audience api;
            proxy_pass http://127.0.0.1:8082;
        }
        location /more { phantom_token_jwks file=other.jwks; proxy_pass http://127.0.0.1:8082; }
        location /redirected { error_page 502 = /verified; proxy_pass http://127.0.0.1:8099; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my $now = time;

sub known {
    my (@answers) = @_;
    my $token = token();
    $as->script($token, @answers);
    return $token;
}

sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

# Signed with that algorithm.
sub by { my ($algorithm, %args) = @_; return $key{$algorithm}->jwt(%args) }

# The ways in which a JWT comes: [location, answer].
sub ways {
    my ($jwt) = @_;
    return (
        ['/', $as->jwt_answer($jwt)],
        ['/json', $as->json_answer({ active => JSON::PP::true, jwt => $jwt })],
        ['/exchange', $as->exchange_answer($jwt)],
        ['/claims/jwt', $as->jwt_answer($jwt)],
    );
}

my (@accepted, @refused);

for my $algorithm (@algorithms) {
    my $jwt = by($algorithm);
    push @accepted, ["$algorithm, $_->[0]", @$_, $jwt] for ways($jwt);
}

my $es256 = by('ES256');
push @accepted, ['kid', '/', $as->jwt_answer(by('ES256', header => { kid => 'es256' }))];
push @accepted, ['aud is an array', '/', $as->jwt_answer(by('ES256', claims => { aud => ['x', 'other'] }))];
push @accepted, ['no typ', '/', $as->jwt_answer(by('ES256', header => { typ => 'JWT' }))];
push @accepted, ['iat in 10 s', '/', $as->jwt_answer(by('ES256', claims => { iat => $now + 10 }))];
push @accepted, ['nbf in 120 s', '/leeway', $as->jwt_answer(by('ES256', claims => { nbf => $now + 120 }))];
push @accepted, ['another audience', '/audience', $as->jwt_answer(by('ES256', claims => { aud => 'elsewhere' }))];
push @accepted, ['another issuer', '/issuer', $as->jwt_answer(by('ES256', claims => { iss => 'https://other.example' }))];
push @accepted, ['another key', '/keys', $as->jwt_answer($key{stranger}->jwt(header => { alg => 'RS256' }))];

# What does not verify: name, JWT, text of the log line.
my @bad = (
    ['a signature that is too long', jwt(header => { alg => 'ES256' }), 'its header or signature is oversized'],
    ['a signature of zeros', jwt(header => { alg => 'ES256' }, signature => 'A' x 86), 'its signature is not by the keys'],
    ['an RSA signature that means nothing', jwt(), 'its signature is not by the keys'],
    ['another key', $key{stranger}->jwt(header => { alg => 'RS256' }), 'its signature is not by the keys'],
    ['the kid of another key', by('ES256', header => { kid => 'es384' }), 'fits no key that could have signed it'],
    ['an unknown kid', by('ES256', header => { kid => 'new' }), 'its "kid" is that of no key'],
    ['a key in the header', $key{next}->jwt(header => { alg => 'RS256', jwk => $key{next}->jwk() }),
        'its signature is not by the keys'],
    ['crit', by('ES256', header => { crit => ['exp'] }), 'its header has "crit" or "b64"'],
    ['b64', by('ES256', header => { b64 => JSON::PP::false }), 'its header has "crit" or "b64"'],
    ['HS256', by('ES256', header => { alg => 'HS256' }), 'its "alg" is for a shared secret'],
    ['ES512', by('ES256', header => { alg => 'ES512' }), 'its "alg" is not accepted'],
    ['none', by('ES256', header => { alg => 'none' }), 'it is unsecured'],
    ['the alg of another signature', by('RS256', header => { alg => 'PS256' }), 'its signature is not by the keys'],
    ['another issuer', by('ES256', claims => { iss => 'https://as.example/' }), 'its "iss" is not that of'],
    ['no issuer', by('ES256', claims => { iss => undef }), 'its "iss" is not that of'],
    ['another audience', by('ES256', claims => { aud => ['x', 'y'] }), 'its "aud" has none of'],
    ['no audience', by('ES256', claims => { aud => undef }), 'its "aud" has none of'],
    ['nbf to come', by('ES256', claims => { nbf => $now + 600 }), 'it is not valid yet'],
    ['iat to come', by('ES256', claims => { iat => $now + 600 }), 'it is not valid yet'],
    ['iat that is no date', by('ES256', claims => { iat => 'now' }), 'is not a number of seconds'],
);

for my $case (@bad) {
    my ($name, $jwt, $text) = @$case;
    push @refused, ["$name, $_->[0]", @$_, $text] for ways($jwt);
}

my ($head, $payload, $signature) = split /\./, $es256;
my $forged = join '.', $head, encode_base64url('{"sub":"mallory"}'), $signature;
$t->secrets($forged);
push @refused, ['another payload', '/', $as->jwt_answer($forged), 'its signature is not by the keys'];
push @refused, ['nbf to come, no leeway', '/no_leeway', $as->jwt_answer(by('ES256', claims => { nbf => $now + 600 })),
    'it is not valid yet'];
push @refused, ['the other location\'s audience', '/audience', $as->jwt_answer($es256), 'its "aud" has none of'];
push @refused, ['the other location\'s issuer', '/issuer', $as->jwt_answer($es256), 'its "iss" is not that of'];
push @refused, ['a flat JWT that says inactive', '/',
    $as->jwt_answer(jwt(claims => { active => JSON::PP::false })), 'its signature is not by the keys'];
push @refused, ['JSON where a signed answer was asked for', $_,
    $as->json_answer({ active => JSON::PP::true, sub => 'alice', exp => $now + 60 }), 'JSON that is not signed']
    for qw(/claims/jwt /claims/signed);

# Envelopes, by the same keys, and for the gateway.

sub enveloped {
    my ($algorithm, %args) = @_;
    my $inside = { active => JSON::PP::true, sub => 'alice', exp => $now + 300 };
    return $as->envelope_answer($key{$algorithm}->envelope($args{inside} // $inside, %args));
}

push @accepted, ["an envelope by $_", '/claims/signed', enveloped($_)] for @algorithms;
push @accepted, ['an envelope, where none need be verified', '/claims/unverified', enveloped('ES256')];

for my $case (
    ['by another key', '/claims/signed', enveloped('stranger', header => { alg => 'RS256' }),
        'its signature is not by the keys'],
    ['by another key, where none need be verified', '/claims/unverified',
        enveloped('stranger', header => { alg => 'RS256' }), 'its signature is not by the keys'],
    ['by another issuer', '/claims/signed', enveloped('ES256', claims => { iss => 'https://other.example' }),
        'its "iss" is not that of'],
    ['for somebody else', '/claims/signed', enveloped('ES256', claims => { aud => 'api' }), 'its "aud" has none of'],
    ['of the future', '/claims/signed', enveloped('ES256', claims => { iat => $now + 600 }), 'it is not valid yet'],
    ['that is over itself', '/claims/signed', enveloped('ES256', claims => { exp => $now - 1 }), 'it is past its "exp"'],
    ['without iat', '/claims/signed', enveloped('ES256', claims => { iat => undef }), 'lacks "iss", "aud", "iat"'],
    ['that says inactive, by another key', '/claims/signed',
        enveloped('stranger', header => { alg => 'RS256' }, inside => { active => JSON::PP::false }),
        'its signature is not by the keys'],
) {
    my ($name, @rest) = @$case;
    push @refused, ["an envelope $name", @rest];
}

$t->plan(3 * @accepted + 5 * @refused + 32);
$t->run();

for my $case (@accepted) {
    my ($name, $uri, $answer, $jwt) = @$case;
    my $token = known($answer);
    is(outcome(call($uri, $token)), '200 MISS', $name);
    my $request = $api->last_request();
    my $sent = $uri =~ /claims/ ? $api->header($request, 'X-Subject') // '' : $api->header($request, 'Authorization');
    is($sent, $uri =~ /claims/ ? 'alice' : defined $jwt ? "Bearer $jwt" : $sent, "$name: upstream");
    is(outcome(call($uri, $token)), '200 HIT', "$name: kept");
}

for my $case (@refused) {
    my ($name, $uri, $answer, $text) = @$case;
    my $token = known($answer);
    my $before = $api->count();
    $t->new_module_lines();
    my $response = call($uri, $token);
    is(outcome($response), '502 MISS server_bad_answer', $name);
    is($response->header('WWW-Authenticate'), undef, "$name: no challenge");
    my @lines = grep { /\[error\].*: server_bad_answer, .*\Q$text\E/ } $t->new_module_lines();
    is(scalar(@lines), 1, "$name: the log says why");
    is(outcome(call($uri, $token)), '502 MISS server_bad_answer', "$name: not kept");
    is($api->count(), $before, "$name: nothing went upstream");
}

# What is over is for the client to hear, if it is the server's; nor is it kept as that of others.

my $token = known($as->jwt_answer(by('ES256', claims => { exp => $now - 1 })));
is(outcome(call('/', $token)), '401 MISS expired', 'expired');
is(outcome(call('/', $token)), '401 EXPIRED expired', 'expired: known');
$token = known($as->jwt_answer(jwt(claims => { exp => $now - 1 })));
is(outcome(call('/', $token)), '502 MISS server_bad_answer', 'expired, and nobody knows whose');

# Inactive, signed and in plain JSON.

$token = known(enveloped('ES256', inside => { active => JSON::PP::false }));
is(outcome(call('/claims/signed', $token)), '401 MISS inactive', 'inactive by an envelope');
is(outcome(call('/claims/signed', $token)), '401 NEGATIVE inactive', 'inactive by an envelope: kept');
$token = known($as->inactive_answer());
is(outcome(call('/claims/signed', $token)), '401 MISS inactive', 'inactive by JSON');

# JSON that was asked for has no signature: TLS vouches for it.

$token = known($as->json_answer({ active => JSON::PP::true, sub => 'alice', exp => time + 60 }));
is(outcome(call('/claims', $token)), '200 MISS', 'claims in JSON that was asked for');

# Whoever asks for more gets nothing that was made with less, and the other way round.

sub call_second { return call($_[0], $_[1], port => 8084) }

my $unsigned = jwt();
$token = known($as->jwt_answer($unsigned));
is(outcome(call_second('/', $token)), '200 MISS', 'no keys: accepted');
is(outcome(call_second('/', $token)), '200 HIT', 'no keys: kept');
is(outcome(call_second($_, $token)), '502 MISS server_bad_answer', "no keys, then $_")
    for qw(/verified /issuer /audience /more);
is(outcome(call_second('/redirected', $token)), '502 MISS server_bad_answer', 'no keys, redirected to one with keys');

$token = known($as->jwt_answer(by('ES256', claims => { iss => 'x', aud => 'x' })));
is(outcome(call_second('/verified', $token)), '200 MISS', 'keys alone');
is(outcome(call_second($_, $token)), '502 MISS server_bad_answer', "keys alone, then $_") for qw(/issuer /audience);
is(outcome(call_second('/more', $token)), '200 MISS', 'keys alone, then others');
is(outcome(call_second('/', $token)), '200 MISS', 'keys alone, then none');
is(outcome(call_second('/verified', $token)), '200 HIT', 'each has its own');

$token = known($as->jwt_answer(by('ES256', claims => { nbf => time + 120 })));
is(outcome(call('/leeway', $token)), '200 MISS', 'much leeway');
is(outcome(call('/no_leeway', $token)), '502 MISS server_bad_answer', 'much leeway, then none');

# Keys that are rotated: a reload reads the file again.

my $old = known($as->jwt_answer(by('ES256')));
my $new = known($as->jwt_answer($key{next}->jwt(header => { alg => 'RS256' })));
is(outcome(call('/rotating', $old)), '200 MISS', 'before: the old key');
is(outcome(call('/rotating', $new)), '502 MISS server_bad_answer', 'before: the next key');

$t->write_file('rotating.jwks', Test::PhantomToken::Keys::set($key{ES256}->jwk(), $key{next}->jwk()));
$t->reload();
is(outcome(call('/rotating', $_)), '200 MISS', 'both keys') for $old, $new;
is(outcome(call('/rotating', $_)), '200 HIT', 'both keys: kept') for $old, $new;

$t->write_file('rotating.jwks', Test::PhantomToken::Keys::set($key{next}->jwk()));
$t->reload();
is(outcome(call('/rotating', $old)), '502 MISS server_bad_answer', 'after: the old key is gone, and what it verified');
is(outcome(call('/rotating', $new)), '200 MISS', 'after: the next key');

# Other locations have kept what they had.

$t->write_file('rotating.jwks', Test::PhantomToken::Keys::set($key{next}->jwk(use => 'sig', alg => 'RS256', x => 'y')));
$token = known($as->jwt_answer(by('ES256')));
is(outcome(call('/', $token)), '200 MISS', 'another location');
$t->reload();
is(outcome(call('/', $token)), '200 HIT', 'another location keeps its verdicts over a reload');
