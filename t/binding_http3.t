#!/usr/bin/perl

# Certificate-bound tokens (RFC 8705) over HTTP/3: each stream has a pool of its own, and the certificate is that of the
# QUIC connection.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use MIME::Base64 qw(decode_base64 encode_base64url);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx::HTTP3;
use Test::PhantomToken;

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my $t = Test::Nginx::HTTP3::prepare(10);

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

    server {
        listen 127.0.0.2:%%PORT_8443%% quic;
        ssl_certificate localhost.crt;
        ssl_certificate_key localhost.key;
        ssl_verify_client optional_no_ca;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my %thumbprint;
for my $name (qw(mine other)) {
    my ($certificate, $key) =
        IO::Socket::SSL::Utils::CERT_create(subject => { commonName => $name }, not_after => time + 3600, purpose => 'client');
    my $pem = IO::Socket::SSL::Utils::PEM_cert2string($certificate);
    $t->write_file("$name.crt", $pem);
    $t->write_file("$name.key", IO::Socket::SSL::Utils::PEM_key2string($key));
    my ($base64) = $pem =~ /CERTIFICATE-----(.*?)-----END/s;
    $thumbprint{$name} = encode_base64url(sha256(decode_base64($base64)));
}

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my %tokens = (unbound => token());
$as->script($tokens{unbound}, $as->jwt_answer(jwt()));
for my $name (qw(mine other)) {
    $as->script($tokens{$name} = token(), $as->jwt_answer(jwt(claims => { cnf => { 'x5t#S256' => $thumbprint{$name} } })));
}

for my $case (['mine', '200 401 200'], ['other', '401 200 200'], [undef, '401 401 200']) {
    my ($name, $expected) = @$case;
    my $shown = $name // 'none';
    my @certificate = $name ? map { ($_->[0] => $t->testdir() . "/$name.$_->[1]") } [certificate => 'crt'], [key => 'key'] : ();
    my $connection = Test::Nginx::HTTP3->new(@certificate);

    for my $round (1 .. 3) {
        my @streams = map { $connection->request('GET', '/', headers => [Authorization => "Bearer $tokens{$_}"]) }
            qw(mine other unbound);
        is(join(' ', map { $connection->response($_)->status() } @streams), $expected, "$shown, $round");
    }
    $connection->close();
}

is($as->count(), 3, 'one question for each token');
