#!/usr/bin/perl

# `phantom_token_accept_jwt verify`: a JWT that a client presents is verified here, goes upstream itself, and nobody is
# ever asked about it. What is no JWT is asked about as ever.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::SHA qw(hmac_sha256);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy map http_v2));

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

my @algorithms = qw(RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA Ed25519);
my %key = map { $_ => Test::PhantomToken::Keys->new($t, /\d|EdDSA/ ? $_ : 'RS256') }
    qw(RS256 ES256 ES384 EdDSA stranger);
# One RSA key for all that RSA signs, and one of the curve for both of its names.
$key{$_} = bless { %{ $key{ $_ eq 'Ed25519' ? 'EdDSA' : 'RS256' } }, alg => $_ }, 'Test::PhantomToken::Keys'
    for grep { !$key{$_} } @algorithms;

my @jwks = map { $key{$_}->jwk(kid => lc $_) } qw(RS256 ES256 ES384 EdDSA);
$t->write_file('keys.jwks', Test::PhantomToken::Keys::set(@jwks));
$t->write_file('other.jwks', Test::PhantomToken::Keys::set($key{stranger}->jwk(), @jwks));
$t->write_file('rotating.jwks', Test::PhantomToken::Keys::set($key{ES256}->jwk()));

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/r =~ s/%%H2%%/$directive/r);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    large_client_header_buffers 4 40k;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_jwks file=keys.jwks;
    phantom_token_issuer https://as.example;
    phantom_token_audience other api;
    phantom_token_accept_jwt verify;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    map $phantom_token_claim_client_id $is_app { app 1; default 0; }

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /off { phantom_token_accept_jwt off; proxy_pass http://127.0.0.1:8082; }
        location /claims {
            phantom_token_forward claims;
            proxy_set_header X-Subject $phantom_token_claim_sub;
            proxy_set_header X-JWT $phantom_token_jwt;
            proxy_pass http://127.0.0.1:8082;
        }
        location /variables {
            proxy_set_header X-Subject $phantom_token_claim_sub;
            proxy_set_header X-Same $is_same;
            proxy_pass http://127.0.0.1:8082;
        }
        location /header { phantom_token_header X-JWT; proxy_pass http://127.0.0.1:8082; }
        location /cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
        location /scope { phantom_token_require_scope read write; proxy_pass http://127.0.0.1:8082; }
        location /admin { phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }
        location /require_audience { phantom_token_require_audience other; proxy_pass http://127.0.0.1:8082; }
        location /require { phantom_token_require $is_app error=403; proxy_pass http://127.0.0.1:8082; }
        location /binding { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        location /audience { phantom_token_audience elsewhere; proxy_pass http://127.0.0.1:8082; }
        location /issuer { phantom_token_issuer https://other.example; proxy_pass http://127.0.0.1:8082; }
        location /keys { phantom_token_jwks file=other.jwks; proxy_pass http://127.0.0.1:8082; }
        location /leeway { phantom_token_leeway 5m; proxy_pass http://127.0.0.1:8082; }
        location /rotating { phantom_token_jwks file=rotating.jwks; proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /short { phantom_token_cache_max_ttl 1ms; proxy_pass http://127.0.0.1:8082; }
        location /aging {
            phantom_token_cache_refresh 1ms;
            phantom_token_cache_use_stale 10m;
            proxy_pass http://127.0.0.1:8082;
        }
        location /stale {
            phantom_token_cache_max_ttl 1ms;
            phantom_token_cache_use_stale 10m;
            proxy_pass http://127.0.0.1:8082;
        }

        location /to_off { try_files /none /off; }
        location /to_keys { try_files /none /keys; }
        location /to_audience { try_files /none /audience; }
        location /to_same { try_files /none /; }
        location /to_open { try_files /none /open; }
        location /to_open_off { try_files /none /open_off; }
        location /to_open_leeway { try_files /none /open_leeway; }
        location /open { satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }
        location /open_off { phantom_token_accept_jwt off; satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }
        location /open_leeway { phantom_token_leeway 0; satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%
        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # Leaves to its location whom a JWT must be for.
    server {
        listen 127.0.0.1:8084;
        phantom_token_exchange /introspect;
        location /own {
            phantom_token_introspection_endpoint /introspect;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; phantom_token off; proxy_pass http://127.0.0.1:8081; }
    }

    map $phantom_token_jwt $is_same { default 0; "~^eyJ" 1; }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
my $now = time;

sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

# Signed with that algorithm.
sub by { my ($algorithm, %args) = @_; return $key{$algorithm}->jwt(%args) }

sub es256 { return by('ES256', @_) }

# Parts of one JWT and of another.
sub recombined {
    my $jwt = join '.', @_;
    $t->secrets($jwt);
    return $jwt;
}

# Signed with what everybody knows.
sub hs256 {
    my ($secret) = @_;
    my ($message) = jwt(header => { alg => 'HS256' }) =~ /^(.*)\./;
    return recombined($message, encode_base64url(hmac_sha256($message, $secret)));
}

my $good = es256();
my ($head, $payload, $signature) = split /\./, $good;
my (undef, $other_payload) = split /\./, es256(claims => { sub => 'mallory' });

my @accepted = map { [$_, by($_)] } @algorithms;
push @accepted,
    ['typ JWT', es256(header => { typ => 'JWT' })],
    ['typ with its prefix', es256(header => { typ => 'application/at+JWT' })],
    ['kid', es256(header => { kid => 'es256' })],
    ['aud is an array', es256(claims => { aud => ['x', 'other'] })],
    ['nbf has come', es256(claims => { nbf => $now - 1 })],
    ['iat in 10 s', es256(claims => { iat => $now + 10 })],
    ['exp is far', es256(claims => { exp => 1e300 })];
{
    my ($message) = es256() =~ /^(.*)\./;
    my $none = $message =~ s/^[^.]*/encode_base64url('{"alg":"ES256"}')/er;
    push @accepted, ['no typ', $key{ES256}->sign("$none.x")];
}

# Name, JWT, text of the log line.
my @refused = (
    ['another payload', recombined($head, $other_payload, $signature), 'its signature is not by the keys'],
    ['another header', recombined(encode_base64url('{"alg":"ES256"}'), $payload, $signature),
        'its signature is not by the keys'],
    ['another signature', recombined($head, $payload, 'A' x 86), 'its signature is not by the keys'],
    ['no signature', recombined($head, $payload, ''), 'it is not a signed JWT'],
    ['no payload', recombined($head, '', $signature), 'it is not a signed JWT'],
    ['another key', $key{stranger}->jwt(header => { alg => 'RS256' }), 'its signature is not by the keys'],
    ['a key in the header', $key{stranger}->jwt(header => { alg => 'RS256', jwk => $key{stranger}->jwk() }),
        'its signature is not by the keys'],
    ['an unknown kid', es256(header => { kid => 'new' }), 'its "kid" is that of no key'],
    ['the kid of another key', es256(header => { kid => 'es384' }), 'fits no key that could have signed it'],
    ['none', es256(header => { alg => 'none' }), 'it is unsecured'],
    ['none, and no signature', recombined(encode_base64url('{"alg":"none"}'), $payload, ''), 'it is not a signed JWT'],
    ['NonE', es256(header => { alg => 'NonE' }), 'it is unsecured'],
    ['HS256 with the modulus', hs256($key{RS256}->jwk()->{n}), 'its "alg" is for a shared secret'],
    ['HS256 with the set', hs256(Test::PhantomToken::Keys::set(@jwks)), 'its "alg" is for a shared secret'],
    ['HS256 with nothing', hs256(''), 'its "alg" is for a shared secret'],
    ['ES512', es256(header => { alg => 'ES512' }), 'its "alg" is not accepted'],
    ['alg is no string', es256(header => { alg => [] }), 'its header is not a JSON object with one "alg"'],
    ['crit', es256(header => { crit => ['exp'] }), 'its header has "crit" or "b64"'],
    ['the other algorithm of a key', by('RS256', header => { alg => 'PS256' }), 'its signature is not by the keys'],
    ['another issuer', es256(claims => { iss => 'https://as.example/' }), 'its "iss" is not that of'],
    ['no issuer', es256(claims => { iss => undef }), 'its "iss" is not that of'],
    ['another audience', es256(claims => { aud => ['x', 'y'] }), 'its "aud" has none of'],
    ['no audience', es256(claims => { aud => undef }), 'its "aud" has none of'],
    ['nbf to come', es256(claims => { nbf => $now + 600 }), 'it is not valid yet'],
    ['iat to come', es256(claims => { iat => $now + 600 }), 'it is not valid yet'],
    ['no exp', es256(claims => { exp => undef }), 'it has no "exp"'],
    ['exp that is no date', es256(claims => { exp => 'never' }), 'is not a number of seconds'],
    ['too large', es256(claims => { pad => 'x' x 20_000 }), 'it is too large'],
    ['events, and no typ', es256(header => { typ => 'JWT' }, claims => { events => {} }), 'it is no access token'],
    ['active', es256(claims => { active => JSON::PP::true }), 'it is no access token'],
    ['a refresh token', es256(claims => { typ => 'Refresh' }), 'it is no access token'],
    ['an introspection answer', $key{ES256}->envelope({ active => JSON::PP::true, exp => $now + 60 },
        claims => { aud => 'api', exp => $now + 60 }), 'it is a signed introspection answer'],
    ['the same, and typ is that of any JWT', $key{ES256}->envelope({ active => JSON::PP::true },
        claims => { aud => 'api', exp => $now + 60 }, header => { typ => 'JWT' }), 'it is a signed introspection answer'],
    ['over, and another issuer', es256(claims => { exp => $now - 9, iss => 'x' }), 'its "iss" is not that of'],
    ['over, and another signature',
        recombined($head, (split /\./, es256(claims => { exp => $now - 9 }))[1], $signature),
        'its signature is not by the keys'],
);
push @refused, ["typ $_->[0]", es256(header => { typ => $_->[0] }), $_->[1]] for (
    ['token-introspection+jwt', 'it is a signed introspection answer'],
    ['application/logout+jwt', 'of a logout token, security event or DPoP proof'],
    ['secevent+jwt', 'of a logout token, security event or DPoP proof'],
    ['DPoP+jwt', 'of a logout token, security event or DPoP proof'],
    ['id+jwt', 'its "typ" is not at+jwt'],
    ['', 'its "typ" is not at+jwt'],
);

# What is no JWT: asked about.
my @opaque = (
    ['one part', token()],
    ['three parts', 'a.' . token() . '.c'],
    ['a header that is no JSON', encode_base64url('{"alg":') . '.' . token() . '.c'],
    ['a header without alg', encode_base64url('{"typ":"JWT"}') . '.' . token() . '.c'],
    ['a JWT with padding', es256() . '='],
    ['four parts', es256() . '.c'],
    ['an encrypted JWT', encode_base64url('{"alg":"RSA-OAEP","enc":"A256GCM"}') . '.a.b.' . token() . '.d'],
);

$t->plan(4 * @accepted + 7 * @refused + 3 * @opaque + 71);
$t->run();

for my $case (@accepted) {
    my ($name, $jwt) = @$case;
    my $response = call('/', $jwt);
    is(outcome($response), '200 MISS', $name);
    is($api->authorization($response), "Bearer $jwt", "$name: goes upstream itself");
    is(outcome(call('/', $jwt)), '200 HIT', "$name: kept");
    is($as->questions($jwt), 0, "$name: nobody is asked");
}

for my $case (@refused) {
    my ($name, $jwt, $text) = @$case;
    my $before = $api->count();
    $t->new_module_lines();
    my @responses = map { call('/', $jwt) } 1, 2;
    is(outcome($responses[0]), '401 MISS signature', $name);
    like($responses[0]->header('WWW-Authenticate') // '', qr/^Bearer realm="api", error="invalid_token"$/,
        "$name: the challenge");
    is(outcome($responses[1]), '401 MISS signature', "$name: not kept");
    my @lines = $t->new_module_lines();
    is(scalar(@lines), 2, "$name: a line for each");
    my $line = qr/\[info\].*: signature, request refused with 401, .*\Q$text\E.*, location "\/", fingerprint [0-9a-f]{8}$/;
    is(scalar(grep { /$line/ } @lines), 2, "$name: which says why");
    is($api->count(), $before, "$name: nothing goes upstream");
    is($as->questions($jwt), 0, "$name: nobody is asked");
}

for my $case (@opaque) {
    my ($name, $token) = @$case;
    $t->secrets($token);
    my $translated = es256();
    $as->script($token, $as->jwt_answer($translated));
    my $response = call('/', $token);
    is(outcome($response), '200 MISS', "opaque, $name");
    is($as->questions($token), 1, "opaque, $name: asked about");
    is($api->authorization($response), "Bearer $translated", "opaque, $name: translated");
}

# No question but for those.

my $asked = $as->questions();

# Over.

my $over = es256(claims => { exp => $now - 1 });
is(outcome(call('/', $over)), '401 MISS expired', 'over');
is(outcome(call('/', $over)), '401 EXPIRED expired', 'over: kept, since the server has signed it');
like(call('/', $over)->header('WWW-Authenticate'), qr/error="invalid_token"/, 'over: the challenge');

my $soon = es256(claims => { exp => time + 4 });
is(outcome(call('/', $soon)), '200 MISS', 'about to be over');
is(outcome(call_until(sub { $_[0]->status() != 200 }, '/', $soon)), '401 EXPIRED expired', 'and over then');

# Each way of presenting it, and of forwarding it.

my $jwt = es256();
my $response = call('/cookie', undef, headers => [Cookie => "a=b; session=$jwt"]);
is(outcome($response), '200 MISS', 'in a cookie');
is($api->authorization($response), "Bearer $jwt", 'in a cookie: upstream');
is($api->header($api->last_request(), 'Cookie'), 'a=b', 'in a cookie: which is gone');
is(outcome(call('/', $jwt)), '200 HIT', 'the same in Authorization: one verdict');

$response = call('/header', $jwt, headers => ['X-JWT' => 'forged']);
is(outcome($response), '200 HIT', 'another header');
is($api->header($api->last_request(), 'X-JWT'), $jwt, 'another header: bare');
is($api->authorization($response), undef, 'another header: alone');

$response = call('/variables', $jwt);
is($api->header($api->last_request(), 'X-Subject'), 'alice', 'a claim, on a hit');
is($api->header($api->last_request(), 'X-Same'), 1, '$phantom_token_jwt');

for my $status (qw(MISS HIT)) {
    $response = call('/claims', $jwt);
    is(outcome($response), "200 $status", "claims alone, $status");
    is($api->authorization($response), undef, "claims alone, $status: no JWT");
    is($api->header($api->last_request(), 'X-Subject'), 'alice', "claims alone, $status: the claim");
    is($api->header($api->last_request(), 'X-JWT'), undef, "claims alone, $status: nor as a variable");
}

my $h2 = Test::Nginx::HTTP2->new(port => 8083);
for my $status (qw(MISS HIT)) {
    $response = $h2->call('GET', '/', headers => [Authorization => "Bearer $jwt"]);
    is(outcome($response), "200 $status", "HTTP/2, $status");
    is($api->authorization($response), "Bearer $jwt", "HTTP/2, $status: upstream");
}
is(outcome($h2->call('GET', '/', headers => [Authorization => "Bearer $refused[0][1]"])), '401 MISS signature',
    'HTTP/2: a forgery');
$h2->close();

# Policy and binding.

is(outcome(call('/scope', $jwt)), '200 HIT', 'scopes');
is(outcome(call('/admin', $jwt)), '403 HIT insufficient_scope', 'a scope that is missing, on a hit');
is(outcome(call('/admin', es256())), '403 MISS insufficient_scope', 'a scope that is missing');
is(outcome(call('/require_audience', $jwt)), '401 HIT audience', 'an audience that is missing');
is(outcome(call('/require', $jwt)), '200 HIT', 'a requirement');
is(outcome(call('/require', es256(claims => { client_id => 'x' }))), '403 MISS requirement', 'one that is not met');
my $bound = es256(claims => { cnf => { 'x5t#S256' => 'A' x 43 } });
is(outcome(call('/', $bound)), '401 MISS binding', 'bound');
is(outcome(call('/', $bound)), '401 HIT binding', 'bound, on a hit');
is(outcome(call('/binding', $bound)), '200 HIT', 'bound, where that is ignored');

# Times: it is verified again, and never asked about.

is(outcome(call('/uncached', $jwt)), '200 BYPASS', 'no cache') for 1, 2;
is(outcome(call_until(sub { ($_[0]->header('Cache-Status') // '') eq 'MISS' }, '/short', $jwt)), '200 MISS',
    'past max_ttl: verified again');
is(outcome(call_until(sub { ($_[0]->header('Cache-Status') // '') eq 'MISS' }, '/stale', $jwt)), '200 MISS',
    'past max_ttl with use_stale: verified again');
my $aging = es256();
is(outcome(call('/aging', $aging)), '200 MISS', 'with refresh');
is(outcome(call('/aging', $aging)), '200 HIT', 'with refresh: a hit, however old') for 1 .. 5;
is($as->questions(), $asked, 'no question so far');

# Each location has its own.

is(outcome(call('/audience', $jwt)), '401 MISS signature', 'another audience');
is(outcome(call('/issuer', $jwt)), '401 MISS signature', 'another issuer');
is(outcome(call('/keys', $jwt)), '200 MISS', 'other keys');
my $stranger = $key{stranger}->jwt(header => { alg => 'RS256' });
is(outcome(call('/keys', $stranger)), '200 MISS', 'a key of theirs');
is(outcome(call('/', $stranger)), '401 MISS signature', 'which is not one of these');
my $early = es256(claims => { nbf => time + 120 });
is(outcome(call('/leeway', $early)), '200 MISS', 'a leeway');
is(outcome(call('/', $early)), '401 MISS signature', 'which is not that of others');
is($as->questions(), $asked, 'no question so far');

# Where it is off, it is asked about, even if another location has verified it.

my $translated = es256();
is(outcome(call('/off', $jwt)), '401 MISS inactive', 'off: not known to the server');
is(outcome(call('/', $jwt)), '200 HIT', 'off: which says nothing of the others');
$as->script($good, $as->jwt_answer($translated));
is($api->authorization(call('/off', $good)), "Bearer $translated", 'off: translated');
is($api->authorization(call('/', $good)), "Bearer $good", 'and not where it is on');

# Redirects bring a verdict along.

is(outcome(call('/to_same', $jwt)), '200 HIT', 'redirected, the same rules');
is(outcome(call('/to_off', $jwt)), '401 NEGATIVE inactive', 'redirected to where it is off');
is(outcome(call('/to_audience', $jwt)), '401 MISS signature', 'redirected to another audience');
is(outcome(call('/to_keys', $jwt)), '200 HIT', 'redirected to other keys');
is($api->authorization(call('/to_open', $jwt)), "Bearer $jwt", 'redirected to an open one with the same rules');
is($api->authorization(call('/to_open_off', $jwt)), undef, 'redirected to an open one where it is off');
is($api->authorization(call('/to_open_leeway', $jwt)), undef, 'redirected to an open one with less leeway');

# What a server block leaves to its locations.

is(outcome(call('/own', $jwt, port => 8084)), '200 MISS', 'the location of a server block');
is(outcome(call('/other', $jwt, port => 8084)), '500 internal', 'and the block itself, which exchanges');

# Keys that are rotated.

is(outcome(call('/rotating', $jwt)), '200 MISS', 'before');
$t->write_file('rotating.jwks', Test::PhantomToken::Keys::set($key{stranger}->jwk()));
$t->reload();
is(outcome(call('/rotating', $jwt)), '401 MISS signature', 'after: the key is gone, and what it verified');
is(outcome(call('/rotating', $stranger)), '200 MISS', 'after: the next key');
