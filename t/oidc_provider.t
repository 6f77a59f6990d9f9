#!/usr/bin/perl

# With a real OpenID provider, node-oidc-provider: its opaque tokens go in, JWTs that its published keys verify
# come out, and what it revokes, lets expire or refuses does not pass. Claims alone, by its JSON and by its signed
# introspection responses, do as well. What it signs is verified by the keys that it publishes.

use strict;
use warnings;

use JSON::PP;
use MIME::Base64 qw(decode_base64url);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib', 'oidc';
use OpenIDProvider;
use Test::Nginx;
use Test::PhantomToken;

if (my $missing = OpenIDProvider::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(103);

# The API first: a process that is forked later would keep the provider's standard input open.
my $api = api($t);
my $provider = OpenIDProvider->start($t, 8081);

my ($app, $gateway) = map { $provider->client($_) } qw(app gateway);
$t->write_file('gateway.secret', "$gateway->{secret}\n");
$t->write_file('app.secret', $app->{secret});
$t->write_file('wrong.secret', 'not the secret');
$t->write_file("$_.secret", $provider->client($_)->{secret}) for qw(PS256 ES256);
$t->write_file('provider.jwks', $provider->jwks());
# Another server's (RFC 8037 appendix A.2).
$t->write_file('other.jwks',
    '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%(APP|GATEWAY)%%/{ APP => $app, GATEWAY => $gateway }->{$1}{id}/ger);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential %%GATEWAY%% file=gateway.secret;
    phantom_token_accept application/json;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /short { phantom_token_cache_max_ttl 1s; proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /wrong_secret {
            phantom_token_client_credential %%GATEWAY%% file=wrong.secret;
            proxy_pass http://127.0.0.1:8082;
        }
        location /unknown_client {
            phantom_token_client_credential nobody file=wrong.secret;
            proxy_pass http://127.0.0.1:8082;
        }
        location /not_allowed {
            phantom_token_client_credential %%APP%% file=app.secret;
            proxy_pass http://127.0.0.1:8082;
        }

        location /claims {
            phantom_token_forward claims;
            proxy_set_header X-Client $phantom_token_claim_client_id;
            proxy_set_header X-Scope $phantom_token_claim_scope;
            proxy_set_header X-Audience $phantom_token_claim_aud;
            proxy_pass http://127.0.0.1:8082;

            location /claims/signed {
                phantom_token_accept application/token-introspection+jwt;
                phantom_token_envelope unverified;
                phantom_token_envelope_header X-Envelope;
                proxy_pass http://127.0.0.1:8082;
            }
            location /claims/no_keys {
                phantom_token_accept application/token-introspection+jwt;
                proxy_pass http://127.0.0.1:8082;
            }
        }

        # Verified, by the keys that the provider publishes.
        location /jwt {
            phantom_token_jwks file=provider.jwks;
            phantom_token_issuer http://127.0.0.1:8081;
            phantom_token_audience https://api.example/;
            proxy_pass http://127.0.0.1:8082;

            location /jwt/audience {
                phantom_token_audience https://other.example/;
                proxy_pass http://127.0.0.1:8082;
            }
            location /jwt/issuer {
                phantom_token_issuer https://as.example;
                proxy_pass http://127.0.0.1:8082;
            }
        }
        location /envelope {
            phantom_token_forward claims;
            phantom_token_accept application/token-introspection+jwt;
            phantom_token_envelope_header X-Envelope;
            phantom_token_jwks file=provider.jwks;
            phantom_token_issuer http://127.0.0.1:8081;
            proxy_set_header X-Client $phantom_token_claim_client_id;

            location /envelope/RS256 {
                phantom_token_audience %%GATEWAY%%;
                proxy_pass http://127.0.0.1:8082;
            }
            location /envelope/PS256 {
                phantom_token_client_credential gateway-PS256 file=PS256.secret;
                phantom_token_audience gateway-PS256;
                proxy_pass http://127.0.0.1:8082;
            }
            location /envelope/ES256 {
                phantom_token_client_credential gateway-ES256 file=ES256.secret;
                phantom_token_audience gateway-ES256;
                proxy_pass http://127.0.0.1:8082;
            }
            location /envelope/audience {
                phantom_token_audience gateway-ES256;
                proxy_pass http://127.0.0.1:8082;
            }
            location /envelope/other_keys {
                phantom_token_jwks file=other.jwks;
                phantom_token_audience %%GATEWAY%%;
                proxy_pass http://127.0.0.1:8082;
            }
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081/token/introspection; }
    }
}
CONF

$t->run();

my ($resource, $short_resource) = ('https://api.example/', 'https://short.example/');

# The JWT that the API got with this response.
sub upstream_jwt {
    my ($response) = @_;

    my ($jwt) = ($api->authorization($response) // '') =~ /^Bearer (\S+)$/ or return '';
    $t->secrets($jwt);
    return $jwt;
}

# Status, cache status and slug in one line.
sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

sub refused { return $_[0]->status() != 200 }

# What the provider signs is not what this location expects.
sub refused_for {
    my ($uri, $token, $why) = @_;

    $t->new_module_lines();
    is(outcome(call($uri, $token)), '502 MISS server_bad_answer', $uri);
    is(scalar(grep { /\[error\].*does not verify: \Q$why/ } $t->new_module_lines()), 1, "$uri: the log says why");
    return;
}

my $inactive = 'Bearer realm="api", error="invalid_token"';

# Miss and hit.

like($provider->metadata('introspection_endpoint'), qr{:\d+/token/introspection$}, 'the endpoint that we ask');

my $token = $provider->token($resource);
unlike($token, qr/\./, 'an opaque token');

my $response = call('/', $token);
is(outcome($response), '200 MISS', 'miss');
my $jwt = upstream_jwt($response);
isnt($jwt, $token, 'miss: the opaque token does not go upstream');

my $claims = $provider->verified_claims($jwt, $resource) // {};
is($claims->{iss}, $provider->metadata('issuer'), 'miss: the JWT verifies, issuer');
is($claims->{client_id}, $app->{id}, 'miss: the JWT verifies, client');
is($claims->{scope}, 'read write', 'miss: the JWT verifies, scope');
unlike($jwt, qr/\Q$token/, 'miss: the opaque token is not in the JWT');

is($provider->verified_claims($jwt, $short_resource), undef, 'for another audience it does not verify');
my $forged = $jwt =~ s/\.([^.])([^.]*)$/'.' . ($1 eq 'A' ? 'B' : 'A') . $2/er;
is($provider->verified_claims($forged, $resource), undef, 'with another signature it does not verify');

$response = call('/', $token);
is(outcome($response), '200 HIT', 'hit');
ok(upstream_jwt($response) eq $jwt, 'hit: the same JWT upstream');

my @introspections = $provider->introspections();
is(scalar(@introspections), 1, 'one introspection');
is($introspections[0]{client}, $gateway->{id}, 'it is of the gateway, by its credentials');
is($introspections[0]{accept}, 'application/json', 'it asks for JSON');
is($introspections[0]{type}, 'application/json', 'it gets JSON');

my $other = $provider->token($resource);
$response = call('/', $other);
is(outcome($response), '200 MISS', 'another token');
my $other_jwt = upstream_jwt($response);
ok($other_jwt ne $jwt, 'another token: another JWT');
ok($provider->verified_claims($other_jwt, $resource), 'another token: its JWT verifies');

# Claims alone: by JSON, and by an envelope, which is meant for the gateway and goes upstream in a header of its own.

my $signed = 'application/token-introspection+jwt';

for my $case (['/claims', 'application/json'], ['/claims/signed', $signed]) {
    my ($uri, $type) = @$case;
    $token = $provider->token($resource);
    $provider->introspections();

    for my $state (qw(MISS HIT)) {
        $response = call($uri, $token, headers => ['X-Client' => 'forged', 'X-Envelope' => 'forged']);
        is(outcome($response), "200 $state", "$uri, $state");
        my $request = $api->last_request();
        is(join(' ', map { $api->header($request, $_) // '-' } qw(X-Client X-Scope X-Audience Authorization)),
            "$app->{id} read write $resource -", "$uri, $state: claims, and no Authorization");

        my $envelope = $api->header($request, 'X-Envelope');
        $t->secrets($envelope) if $envelope;
        my $verified = $envelope && $provider->verified_claims($envelope, $gateway->{id}, 'token-introspection+jwt');
        is($verified && $verified->{token_introspection}{client_id}, $type eq $signed ? $app->{id} : undef,
            "$uri, $state: the envelope upstream");
    }

    @introspections = $provider->introspections();
    is(join(' ', map { "$_->{accept} $_->{type}" } @introspections), "$type $type", "$uri: asked for once");
    is(outcome(call($uri, token())), '401 MISS inactive', "$uri: unknown token");
    is(($provider->introspections())[0]{type}, $type, "$uri: the same kind of answer");
}

$token = $provider->token($resource);
my $upstream = $api->count();
is(outcome(call('/claims/no_keys', $token)), '502 MISS server_bad_answer', 'an envelope that nobody verifies');
is($api->count(), $upstream, 'which does not go upstream');
$provider->introspections();

# Verified by the keys that it publishes.

$token = $provider->token($resource);
for my $state (qw(MISS HIT)) {
    $response = call('/jwt', $token);
    is(outcome($response), "200 $state", "the JWT verifies, $state");
    ok($provider->verified_claims(upstream_jwt($response), $resource), "the JWT verifies, $state: upstream");
}
refused_for('/jwt/audience', $token, 'its "aud" has none of');
refused_for('/jwt/issuer', $token, 'its "iss" is not that of');

for my $alg (qw(RS256 PS256 ES256)) {
    my $client = $provider->client($alg eq 'RS256' ? 'gateway' : $alg);
    $token = $provider->token($resource);

    for my $state (qw(MISS HIT)) {
        is(outcome(call("/envelope/$alg", $token)), "200 $state", "an envelope by $alg, $state");
        my $request = $api->last_request();
        is($api->header($request, 'X-Client'), $app->{id}, "an envelope by $alg, $state: its claims");
        my ($header) = split /\./, $api->header($request, 'X-Envelope') // '';
        is(decode_json(decode_base64url($header))->{alg}, $alg, "an envelope by $alg, $state: signed so");
        $t->secrets($api->header($request, 'X-Envelope'));
    }

    $provider->revoke($token);
    is(outcome(call("/envelope/$alg", token())), '401 MISS inactive', "an envelope by $alg: unknown token");
}

$token = $provider->token($resource);
refused_for('/envelope/audience', $token, 'its "aud" has none of');
refused_for('/envelope/other_keys', $token, 'its "kid" is that of no key');
$provider->introspections();

# What the provider never issued.

$response = call('/', token());
is(outcome($response), '401 MISS inactive', 'unknown token');
is($response->header('WWW-Authenticate'), $inactive, 'unknown token: challenge');

$provider->introspections();
$response = call('/', $jwt);
is(outcome($response), '401 MISS inactive', 'the JWT is no access token to the gateway');
is(scalar(@{[$provider->introspections()]}), 1, 'the JWT: the provider is asked');

# Revoked, without a cache.

$token = $provider->token($resource);
$provider->introspections();
is(outcome(call('/uncached', $token)), '200 BYPASS', 'uncached');
is(outcome(call('/uncached', $token)), '200 BYPASS', 'uncached, again');
is(scalar(@{[$provider->introspections()]}), 2, 'uncached: asked each time');

$provider->revoke($token);
$response = call('/uncached', $token);
is(outcome($response), '401 BYPASS inactive', 'uncached: revoked at once');
is($response->header('WWW-Authenticate'), $inactive, 'uncached: challenge');

# Revoked, with a cache: until max_ttl of the location has passed, which `/` leaves at five minutes.

$token = $provider->token($resource);
$provider->introspections();
is(outcome(call('/short', $token)), '200 MISS', 'cached');
$provider->revoke($token);
is(outcome(call('/', $token)), '200 HIT', 'revoked: not noticed within max_ttl');

my @outcomes;
$response = call_until(sub { push @outcomes, outcome($_[0]); refused($_[0]) }, '/short', $token);
is(outcome($response), '401 MISS inactive', 'revoked: noticed after max_ttl');
is($response->header('WWW-Authenticate'), $inactive, 'revoked: challenge');
is(join(', ', grep { $_ ne '200 HIT' } @outcomes[0 .. $#outcomes - 1]), '', 'revoked: until then from the cache');
is(outcome(call('/', $token)), '401 NEGATIVE inactive', 'revoked: now known everywhere');
is(scalar(@{[$provider->introspections()]}), 2, 'revoked: two introspections');

# Expired.

$token = $provider->token($short_resource);
$response = call('/', $token);
is(outcome($response), '200 MISS', 'about to expire');
ok($provider->verified_claims(upstream_jwt($response), $short_resource), 'about to expire: the JWT verifies');
$response = call_until(\&refused, '/', $token);
is(outcome($response), '401 EXPIRED expired', 'expired');
is($response->header('WWW-Authenticate'), $inactive, 'expired: challenge');
$response = call_until(\&refused, '/uncached', $token);
is(outcome($response), '401 BYPASS inactive', 'expired: the provider says so too');

# Wrong client credentials.

$upstream = $api->count();

for my $case (qw(wrong_secret unknown_client)) {
    $token = $provider->token($resource);
    $t->new_module_lines();
    $response = call("/$case", $token);
    is(outcome($response), '502 MISS server_refused_us', $case);
    is($response->header('WWW-Authenticate'), undef, "$case: no challenge");
    my @lines = grep { /\[error\].*\bserver_refused_us\b.*\b401\b/ } $t->new_module_lines();
    is(scalar(@lines), 1, "$case: the log tells the provider's status");
}

# This provider has no other word for a client that may not ask.
$response = call('/not_allowed', $token);
is(outcome($response), '401 MISS inactive', 'a client that may not introspect');
is($api->count(), $upstream, 'nothing of it went upstream');

is(outcome(call('/', $token)), '200 MISS', 'with the right credentials the token still works');

is($provider->stop(), 0, 'the provider ends with its standard input');
