#!/usr/bin/perl

# DPoP (RFC 9449) over TLS: the URL of a proof is one with https, whatever the client says of the scheme, and a token may
# be bound to a certificate as well.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use MIME::Base64 qw(decode_base64 encode_base64url);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt proof);
use Test::PhantomToken::Keys;

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };
if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl http_v2))->plan(41);
my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    large_client_header_buffers 4 32k;
    add_header Slug $phantom_token_error always;

    # NGINX before 1.23.4 has no TLS 1.3 unless told.
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate server.crt;
    ssl_certificate_key server.key;

    server {
        listen 127.0.0.1:8443 ssl%%LISTEN%%;
        listen 127.0.0.1:8080;
        %%H2%%
        ssl_verify_client optional_no_ca;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my %thumbprint;
for my $name (qw(server mine other)) {
    my ($certificate, $key) = IO::Socket::SSL::Utils::CERT_create(
        subject => { commonName => $name }, not_after => time + 3600, purpose => $name eq 'server' ? 'server' : 'client',
    );
    my $pem = IO::Socket::SSL::Utils::PEM_cert2string($certificate);
    $t->write_file("$name.crt", $pem);
    $t->write_file("$name.key", IO::Socket::SSL::Utils::PEM_key2string($key));
    my ($base64) = $pem =~ /CERTIFICATE-----(.*?)-----END/s;
    $thumbprint{$name} = encode_base64url(sha256(decode_base64($base64)));
}

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $key = Test::PhantomToken::Keys->new($t, 'ES256');

sub bound {
    my (%cnf) = @_;
    my ($token, $jwt) = (token(), jwt(claims => { cnf => { jkt => jkt($key), %cnf } }));
    $as->script($token, $as->jwt_answer($jwt));
    return ($token, $jwt);
}

# An open connection of the client with that certificate, or none.
sub connected {
    my ($version, $certificate) = @_;
    my %shown = $certificate
        ? map { ("SSL_$_->[0]_file" => $t->testdir() . "/$certificate.$_->[1]") } [cert => 'crt'], [key => 'key'] : ();
    my %ssl = (SSL_verify_mode => 0, %shown);
    return Test::Nginx::HTTP2->new(port => 8443, ssl => { %ssl, SSL_alpn_protocols => ['h2'] }) if $version eq 'HTTP/2';
    return Test::Nginx::Connection->new(port => 8443, ssl => \%ssl);
}

# A request with that proof, or none.
sub ask {
    my ($connection, $token, $proof, %args) = @_;
    my @headers = (Authorization => "DPoP $token", $proof ? (DPoP => $proof) : ());
    my $sent = $connection->request('GET', '/a', headers => \@headers, %args);
    return $connection->isa('Test::Nginx::HTTP2') ? $connection->response($sent) : $connection->response();
}

sub outcome { my ($response) = @_; return join ' ', $response->status(), $response->header('Slug') // () }

my ($token, $jwt) = bound();
for my $version ('HTTP/1.1', 'HTTP/2') {
    my $connection = connected($version);
    for (
        ['https://localhost/a', '200'],
        ['https://localhost:443/a', '200'],
        ['HTTPS://LocalHost/a', '200'],
        ['https://localhost:8443/a', '200', host => 'localhost:8443'],
        ['http://localhost/a', '401 binding'],
        ['http://localhost:443/a', '401 binding'],
        ['https://localhost:80/a', '401 binding'],
        ['https://localhost/a', '401 binding', host => 'localhost:8443'],
    ) {
        my ($url, $expected, %args) = @$_;
        my $response = ask($connection, $token, proof($key, $token, $url), %args);
        is(outcome($response), $expected, "$version, $url" . (%args ? " for $args{host}" : ''));
        is($api->authorization($response), "Bearer $jwt", "$version, $url: the JWT") if $expected eq '200';
    }
}

# The other listener of the same block.

for my $case (['http', '200'], ['https', '401 binding']) {
    my ($scheme, $expected) = @$case;
    my $proof = proof($key, $token, "$scheme://localhost/a");
    is(outcome(http_request('GET', '/a', headers => [Authorization => "DPoP $token", DPoP => $proof])), $expected,
        "$scheme without TLS");
}

# Bound to a certificate as well: both must be shown, for each request.

my ($both, $both_jwt) = bound('x5t#S256' => $thumbprint{mine});
for my $version ('HTTP/1.1', 'HTTP/2') {
    for my $case (['mine', '200', '401 binding'], ['other', ('401 binding') x 2], [undef, ('401 binding') x 2]) {
        my ($name, $with_proof, $without) = @$case;
        my $connection = connected($version, $name);
        my $shown = "$version, " . ($name ? "the certificate $name" : 'no certificate');
        my @outcomes = map { outcome(ask($connection, $both, $_)) } proof($key, $both, 'https://localhost/a'), undef;
        is($outcomes[0], $with_proof, "$shown, with a proof");
        is($outcomes[1], $without, "$shown, without");
    }
}
my $replayed = proof($key, $both, 'https://localhost/a');
is(outcome(ask(connected('HTTP/1.1', 'other'), $both, $replayed)), '401 binding', 'a proof beside another certificate');
is(outcome(ask(connected('HTTP/1.1', 'mine'), $both, $replayed)), '200', 'is not used by that');
is(outcome(ask(connected('HTTP/2', 'mine'), $both, $replayed)), '401 binding', 'but then, over all connections');
