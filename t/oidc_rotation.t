#!/usr/bin/perl

# The keys of a real OpenID provider, fetched from its own jwks_uri, and their rotation: what a new key signs verifies
# without a reload, and what a withdrawn one has signed no longer does. No scripted peer says when or how.

use strict;
use warnings;

use JSON::PP;
use MIME::Base64 qw(decode_base64url);
use Test::More;
use Time::HiRes qw(sleep time);

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib', 'oidc';
use OpenIDProvider;
use Test::Nginx;
use Test::Nginx::Timeout qw($TIMEOUT);
use Test::PhantomToken;

if (my $missing = OpenIDProvider::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(41);

# The API first: a process that is forked later would keep the provider's standard input open.
my $api = api($t);
my $provider = OpenIDProvider->start($t, 8081);

my $gateway = $provider->client('gateway');
$t->write_file('gateway.secret', "$gateway->{secret}\n");

my %text = (GATEWAY => $gateway->{id}, map { uc $_ => $provider->metadata($_) } qw(issuer jwks_uri introspection_endpoint));

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%(GATEWAY|ISSUER|JWKS_URI|INTROSPECTION_ENDPOINT)%%/$text{$1}/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential %%GATEWAY%% file=gateway.secret;
    phantom_token_accept application/json;
    phantom_token_jwks /jwks;
    phantom_token_issuer %%ISSUER%%;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location /jwt/ {
            phantom_token_audience https://api.example/;
            proxy_pass http://127.0.0.1:8082;

            location /jwt/short/ { phantom_token_cache_max_ttl 1ms; proxy_pass http://127.0.0.1:8082; }
        }
        location /envelope/ {
            phantom_token_forward claims;
            phantom_token_accept application/token-introspection+jwt;
            phantom_token_envelope_header X-Envelope;
            phantom_token_audience %%GATEWAY%%;
            proxy_set_header X-Client $phantom_token_claim_client_id;
            proxy_pass http://127.0.0.1:8082;
        }
        location /presented/ {
            phantom_token_accept_jwt verify;
            phantom_token_audience https://api.example/;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /jwks { internal; proxy_pass %%JWKS_URI%%; }
        location = /introspect { internal; proxy_pass %%INTROSPECTION_ENDPOINT%%; }
    }
}
CONF

$t->run();

my $resource = 'https://api.example/';

# The JWT that the API got with this response.
sub upstream_jwt {
    my ($response) = @_;
    my ($jwt) = ($api->authorization($response) // '') =~ /^Bearer (\S+)$/ or return '';
    $t->secrets($jwt);
    return $jwt;
}

# The envelope that the API got with the last request.
sub upstream_envelope {
    my $envelope = $api->header($api->last_request(), 'X-Envelope') // '';
    $t->secrets($envelope);
    return $envelope;
}

sub kid {
    my ($jwt) = @_;
    my ($header) = split /\./, $jwt;
    return decode_json(decode_base64url($header // ''))->{kid};
}

# Status, cache status and slug in one line.
sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

# Calls until the token passes, which the interval between two fetches of the keys puts off; all responses.
sub calls_until_it_passes {
    my ($uri, $token) = @_;
    my $deadline = time() + 3 * $TIMEOUT;
    my @responses = call($uri, $token);
    while ($responses[-1]->status() != 200 && time() < $deadline) {
        sleep 0.2;
        push @responses, call($uri, $token);
    }
    return @responses;
}

# A token whose JWT or envelope is by a key that is none: nothing of it goes upstream, and the log says why.
sub refused {
    my ($name, $uri, $token, $expected) = @_;
    my $before = $api->count();
    $t->new_module_lines();
    is(outcome(call($uri, $token)), $expected, $name);
    is($api->count(), $before, "$name: nothing goes upstream");
    is(scalar(grep { /its "kid" is that of no key/ } $t->new_module_lines()), 1, "$name: the log says why");
    return;
}

# The provider's first keys, from where it says they are.

is($provider->fetches(), 0, 'nobody has asked for keys yet');

# Tokens whose JWTs the first key has signed: these are asked about now, and those later.
my ($token, $in_time, $too_late) = map { $provider->token($resource) } 1 .. 3;

my $response = call('/jwt/', $token);
is(outcome($response), '200 MISS', 'a JWT by the first key');
my $jwt = upstream_jwt($response);
my $first = kid($jwt);
is($provider->fetches(), 1, 'the keys were asked for');
is(outcome(call('/presented/', $jwt)), '200 MISS', 'the JWT, presented');

is(outcome(call('/envelope/', $token)), '200 MISS', 'an envelope by the first key');
is(kid(upstream_envelope()), $first, 'it is that key');
is($api->header($api->last_request(), 'X-Client'), 'app', 'its claims');
is($provider->fetches(), 1, 'for all of it they were asked for once');

# A second key signs from now on, and the first one is still published.

my $second = $provider->use_keys(qw(second first));
isnt($second, $first, 'the provider has a second key');
my ($new, $new_envelope, $new_later) = map { $provider->token($resource) } 1 .. 3;

my @responses = calls_until_it_passes('/jwt/', $new);
is(outcome(pop @responses), '200 MISS', 'a JWT by the second key');
my $new_jwt = upstream_jwt(call('/jwt/', $new));
is(kid($new_jwt), $second, 'it is that key');
is(join(', ', grep { $_ ne '502 MISS server_bad_answer' } map { outcome($_) } @responses), '',
    'until the keys may be fetched again it is refused');
is($provider->fetches(), 2, 'they were fetched once more');

is(outcome(call('/envelope/', $new_envelope)), '200 MISS', 'an envelope by the second key');
is(kid(upstream_envelope()), $second, 'it is that key, too');
is(outcome(call('/presented/', $new_jwt)), '200 MISS', 'the JWT by the second key, presented');
$response = call('/jwt/', $in_time);
is(outcome($response), '200 MISS', 'a JWT that the first key has signed before');
my $in_time_jwt = upstream_jwt($response);
is(kid($in_time_jwt), $first, 'it is by the first key');
is(outcome(call('/jwt/', $token)), '200 HIT', 'what was verified by the first key is a hit');
is($provider->fetches(), 2, 'none of it asks for keys');

# The first one is withdrawn, and a third one signs. As long as the keys are not too old, nobody learns of it.

my $third = $provider->use_keys(qw(third second));
my ($newest, $newest_envelope) = map { $provider->token($resource) } 1 .. 2;
my $not_noticed = upstream_jwt(call('/jwt/', $too_late));
is(kid($not_noticed), $first, 'a withdrawn key counts until the keys are fetched again');
is($provider->fetches(), 2, 'which one that is known does not bring about');

@responses = calls_until_it_passes('/jwt/', $newest);
is(outcome(pop @responses), '200 MISS', 'a JWT by the third key');
is(kid(upstream_jwt(call('/jwt/', $newest))), $third, 'it is that key');
is($provider->fetches(), 3, 'the keys were fetched a third time');
is(outcome(call('/envelope/', $newest_envelope)), '200 MISS', 'an envelope by the third key');
$response = call('/jwt/', $new_later);
is(outcome($response), '200 MISS', 'a JWT by the second key, which is still published');
is(kid(upstream_jwt($response)), $second, 'it is that key');

# What the withdrawn key has verified lives out its time, and no longer; it verifies nothing else.

is(outcome(call('/jwt/', $token)), '200 HIT', 'a JWT by the withdrawn key, from the cache');
is(outcome(call('/envelope/', $token)), '200 HIT', 'an envelope by the withdrawn key, from the cache');
is(outcome(call('/presented/', $jwt)), '200 HIT', 'a JWT by the withdrawn key, presented before');
refused('a JWT by the withdrawn key whose time is up', '/jwt/short/', $token, '502 MISS server_bad_answer');
refused('another one', '/jwt/short/', $in_time, '502 MISS server_bad_answer');
refused('a JWT by the withdrawn key, presented for the first time', '/presented/', $in_time_jwt, '401 MISS signature');

is($provider->stop(), 0, 'the provider ends with its standard input');
