#!/usr/bin/perl

# Tokens that a real OpenID provider has bound to their sender: to the certificate of a client that has asked for them
# over TLS (RFC 8705), or to the key of a DPoP proof (RFC 9449). What they are bound to comes in the JWT, in the JSON
# around it or in a signed response, as the provider writes it.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use MIME::Base64 qw(decode_base64 encode_base64url);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib', 'oidc';
use OpenIDProvider;
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt proof);
use Test::PhantomToken::Keys;

for my $missing (grep { defined } OpenIDProvider::missing(), Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}
plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl))->plan(207);

# The API first: a process that is forked later would keep the provider's standard input open.
my $api = api($t);
my $provider = OpenIDProvider->start($t, 8081);

my $gateway = $provider->client('gateway');
$t->write_file('gateway.secret', "$gateway->{secret}\n");

# Certificates that nobody else has issued, and the SHA-256 of each.

my %thumbprint;

for my $name (qw(server mine other)) {
    my ($certificate, $key) = IO::Socket::SSL::Utils::CERT_create(
        subject => { commonName => $name }, not_after => time + 3600, purpose => $name eq 'server' ? 'server' : 'client',
    );
    my $pem = IO::Socket::SSL::Utils::PEM_cert2string($certificate);
    $t->write_file("$name.crt", $pem);
    $t->write_file("$name.key", IO::Socket::SSL::Utils::PEM_key2string($key));
    my ($base64) = $pem =~ /-----BEGIN CERTIFICATE-----(.*?)-----END/s;
    $thumbprint{$name} = encode_base64url(sha256(decode_base64($base64)));
}

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%GATEWAY%%/$gateway->{id}/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    # NGINX before 1.23.4 has no TLS 1.3 unless told.
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate server.crt;
    ssl_certificate_key server.key;
    ssl_verify_client optional_no_ca;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8443 ssl;

        phantom_token on;
        phantom_token_introspection_endpoint /introspect;
        phantom_token_client_credential %%GATEWAY%% file=gateway.secret;
        phantom_token_accept application/json;
        phantom_token_issuer http://127.0.0.1:8081;
        phantom_token_jwks /jwks;
        add_header Slug $phantom_token_error always;
        add_header Cache-Status $phantom_token_cache_status always;

        location /jwt { phantom_token_audience https://api.example/; proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
        location /claims {
            phantom_token_forward claims;
            proxy_set_header X-Client $phantom_token_claim_client_id;
            proxy_pass http://127.0.0.1:8082;
        }
        location /envelope {
            phantom_token_forward claims;
            phantom_token_accept application/token-introspection+jwt;
            phantom_token_audience %%GATEWAY%%;
            proxy_set_header X-Client $phantom_token_claim_client_id;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081/token/introspection; }
        location = /jwks { internal; proxy_pass http://127.0.0.1:8081/jwks; }
    }

    # TLS in front of the provider, which is told what certificate the client has.
    server {
        listen 127.0.0.1:8445 ssl;

        location / {
            proxy_set_header X-Client-Certificate $ssl_client_escaped_cert;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

$t->run();

my $resource = 'https://api.example/';

# The options of TLS with that certificate, or without one.
sub tls {
    my ($name) = @_;
    return { SSL_verify_mode => 0, SSL_hostname => 'localhost', SSL_use_cert => 0 } unless $name;
    my ($file, $key) = map { $t->testdir() . "/$name.$_" } qw(crt key);
    return { %{ tls() }, SSL_use_cert => 1, SSL_cert_file => $file, SSL_key_file => $key };
}

# Over TLS with that certificate, or without one.
sub over { return (port => 8443, ssl => tls(@_)) }

sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

sub challenges { return join ', ', map { s/^[^:]+: *//r } $_[0]->header_lines('WWW-Authenticate') }

# What the API got: with a JWT that verifies, whom it is bound to; the client id of the claims else.
sub upstream {
    my ($uri, $response) = @_;

    my $request = ($api->requests())[$response->header('API-Request') - 1];
    return 'a proof' if defined $api->header($request, 'DPoP');
    my ($jwt) = ($api->authorization($response) // '') =~ /^Bearer (\S+)$/;
    return $api->header($request, 'X-Client') unless $jwt;

    $t->secrets($jwt);
    my $claims = $provider->verified_claims($jwt, $resource) // return 'a JWT that does not verify';
    return join ' ', map { "$_ $claims->{cnf}{$_}" } sort keys %{ $claims->{cnf} // {} };
}

# A request that is refused: nothing of it goes upstream, and the log says why.
sub refused {
    my ($name, $expected, $challenge, $why, $call) = @_;
    my $before = $api->count();
    $t->new_module_lines();
    my $response = $call->();
    is(outcome($response), $expected, $name);
    is(challenges($response), $challenge, "$name: the challenge");
    is($api->count(), $before, "$name: nothing goes upstream");
    is(scalar(grep { /request refused.*\Q$why/ } $t->new_module_lines()), 1, "$name: the log says why");
    return;
}

my @ways = qw(/jwt /claims /envelope);
my $invalid = 'Bearer realm="api", error="invalid_token"';

# Bound to a certificate.

sub bound_token { return $provider->token($resource, client => 'bound', port => 8445, tls => tls(@_)) }

eval { bound_token() };
like($@, qr{/token: 400 }, 'without a certificate the provider gives no token');

for my $way (@ways) {
    my $token = bound_token('mine');
    my $owner = $way eq '/jwt' ? "x5t#S256 $thumbprint{mine}" : 'bound';
    $provider->introspections();

    for my $state (qw(MISS HIT)) {
        my $response = call($way, $token, over('mine'));
        is(outcome($response), "200 $state", "$way, $state: the certificate of the token");
        is(upstream($way, $response), $owner, "$way, $state: upstream");
    }

    my $fresh = bound_token('mine');
    for my $case (
        ['another certificate', 'MISS', $fresh, 'the token is bound to another certificate', over('other')],
        ['no certificate', 'HIT', $fresh, 'there is no client certificate', over()],
        ['another certificate', 'HIT', $token, 'the token is bound to another certificate', over('other')],
        ['no TLS', 'HIT', $token, 'there is no client certificate'],
    ) {
        my ($name, $state, $bound, $why, @over) = @$case;
        refused("$way, $state: $name", "401 $state binding", $invalid, $why, sub { call($way, $bound, @over) });
    }

    is(outcome(call($way, $fresh, over('mine'))), '200 HIT', "$way: and the token passes with its certificate");
    is(scalar(@{[$provider->introspections()]}), 2, "$way: one question for each token");
}

my $token = bound_token('mine');
refused('without a certificate first', '401 MISS binding', $invalid, 'there is no client certificate',
    sub { call('/jwt', $token, over()) });
is(outcome(call('/uncached', $token, over('mine'))), '200 BYPASS', 'without a cache');
refused('without a cache, another certificate', '401 BYPASS binding', $invalid, 'another certificate',
    sub { call('/uncached', $token, over('other')) });
is(outcome(call('/required', $token, over('mine'))), '200 MISS', 'where tokens have to be bound');
is(outcome(call('/jwt', bound_token('other'), over('other'))), '200 MISS', "the other certificate's own token");

# Bound to a key. The provider takes proofs by these.

my %key = map { $_ => Test::PhantomToken::Keys->new($t, $_) } qw(ES256 EdDSA);
my $stranger = Test::PhantomToken::Keys->new($t, 'ES256');
my $algs = 'ES256 ES384 Ed25519 EdDSA PS256 PS384 PS512 RS256 RS384 RS512';
my $invalid_proof = qq{DPoP realm="api", error="invalid_dpop_proof", algs="$algs"};
my $both = qq{Bearer realm="api", error="invalid_token", DPoP realm="api", algs="$algs"};

sub dpop_token {
    my ($key) = @_;
    my $proof = proof($key, undef, $provider->metadata('token_endpoint'), claims => { htm => 'POST' });
    return $provider->token($resource, type => 'DPoP', headers => { DPoP => $proof });
}

# A proof for GET of a path here.
sub proof_here { my ($key, $token, $uri) = @_; return proof($key, $token, "http://localhost$uri") }

sub prove {
    my ($uri, $token, $proof, $scheme) = @_;
    return call($uri, undef, headers => [
        Authorization => ($scheme // 'DPoP') . " $token", defined $proof ? (DPoP => $proof) : (),
    ]);
}

for my $alg (sort keys %key) {
    my $key = $key{$alg};

    for my $way (@ways) {
        my $token = dpop_token($key);
        my $owner = $way eq '/jwt' ? 'jkt ' . jkt($key) : 'app';
        $provider->introspections();

        for my $state (qw(MISS HIT)) {
            my $response = prove($way, $token, proof_here($key, $token, $way));
            is(outcome($response), "200 $state", "$alg, $way, $state: with a proof");
            is(upstream($way, $response), $owner, "$alg, $way, $state: upstream");
        }

        refused("$alg, $way: as Bearer", '401 HIT binding', $both, 'must be presented with the scheme',
            sub { prove($way, $token, proof_here($key, $token, $way), 'Bearer') });
        refused("$alg, $way: another key", '401 HIT binding', $invalid_proof, 'not the key that the token is bound to',
            sub { prove($way, $token, proof_here($stranger, $token, $way)) });
        is(scalar(@{[$provider->introspections()]}), 1, "$alg, $way: one question");
    }
}

my $key = $key{ES256};
$token = dpop_token($key);

# On a miss, too.
refused('another key first', '401 MISS binding', $invalid_proof, 'not the key that the token is bound to',
    sub { prove('/jwt', $token, proof_here($stranger, $token, '/jwt')) });
is(outcome(prove('/jwt', $token, proof_here($key, $token, '/jwt'))), '200 HIT', 'and the token passes with its key');
my $fresh = dpop_token($key);
refused('as Bearer first', '401 MISS binding', $both, 'must be presented with the scheme',
    sub { call('/jwt', $fresh) });

my $used = proof_here($key, $token, '/jwt');
is(outcome(prove('/jwt', $token, $used)), '200 HIT', 'a proof');
refused('the same proof', '401 HIT binding', $invalid_proof, 'was used before', sub { prove('/jwt', $token, $used) });
refused('no proof', '401 HIT binding', $invalid_proof, 'there is no DPoP proof', sub { prove('/jwt', $token) });
refused('a proof for another token of the same key', '401 HIT binding', $invalid_proof, '"ath" is not',
    sub { prove('/jwt', $token, proof_here($key, $fresh, '/jwt')) });
refused('a proof for another path', '401 HIT binding', $invalid_proof, '"htu" is not',
    sub { prove('/jwt', $token, proof_here($key, $token, '/claims')) });
refused('a proof for the token endpoint', '401 HIT binding', $invalid_proof, 'payload is not',
    sub { prove('/jwt', $token, proof($key, undef, $provider->metadata('token_endpoint'), claims => { htm => 'POST' })) });
is(outcome(prove('/uncached', $token, proof_here($key, $token, '/uncached'))), '200 BYPASS', 'without a cache');
is(outcome(prove('/required', $token, proof_here($key, $token, '/required'))), '200 MISS', 'where tokens have to be bound');

# One binding does not do for the other, and neither is asked of a token that has none.

my $certified = bound_token('mine');
refused('bound to a certificate, with a proof', '401 MISS binding', $both, 'is not bound to a key',
    sub { prove('/jwt', $certified, proof_here($key, $certified, '/jwt')) });
refused('bound to a key, with a certificate', '401 HIT binding', $both, 'must be presented with the scheme',
    sub { call('/jwt', $token, over('mine')) });

my $plain = $provider->token($resource);
is(outcome(call('/jwt', $plain)), '200 MISS', 'not bound');
is(outcome(call('/jwt', $plain, over('other'))), '200 HIT', 'not bound, with any certificate');
refused('not bound, with a proof', '401 HIT binding', $both, 'is not bound to a key',
    sub { prove('/jwt', $plain, proof_here($key, $plain, '/jwt')) });
refused('not bound, where tokens have to be', '401 MISS binding', $both, 'the token is not bound',
    sub { call('/required', $plain) });

is($provider->stop(), 0, 'the provider ends with its standard input');
