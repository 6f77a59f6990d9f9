#!/usr/bin/perl

# An authorization server behind HTTPS, with SNI and a client certificate: unless all of it is right, the
# client gets 502 and the token is never sent.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my @bad = qw(wrong_ca wrong_name expired no_client_certificate wrong_client_certificate plain);

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl))->plan(11 + 4 * @bad);

my $locations = join '', map {
    "location /$_ { phantom_token_introspection_endpoint /introspect_$_; proxy_pass http://127.0.0.1:8082; }\n"
} @bad;
my $client = 'proxy_ssl_certificate client.crt; proxy_ssl_certificate_key client.key;';

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LOCATIONS%%/$locations/r =~ s/%%CLIENT%%/$client/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;

    # The gateway.
    server {
        listen 127.0.0.1:8080;

        proxy_ssl_server_name on;
        proxy_ssl_name as.example;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate ca.crt;
        proxy_ssl_session_reuse off;

        location / { proxy_pass http://127.0.0.1:8082; }
        %%LOCATIONS%%

        location = /introspect { internal; %%CLIENT%% proxy_pass https://127.0.0.1:8443; }
        location = /introspect_wrong_ca {
            internal;
            %%CLIENT%%
            proxy_ssl_trusted_certificate other_ca.crt;
            proxy_pass https://127.0.0.1:8443;
        }
        location = /introspect_wrong_name {
            internal;
            %%CLIENT%%
            proxy_ssl_name other.example;
            proxy_pass https://127.0.0.1:8443;
        }
        location = /introspect_expired { internal; %%CLIENT%% proxy_pass https://127.0.0.1:8444; }
        location = /introspect_no_client_certificate { internal; proxy_pass https://127.0.0.1:8443; }
        location = /introspect_wrong_client_certificate {
            internal;
            proxy_ssl_certificate other_client.crt;
            proxy_ssl_certificate_key other_client.key;
            proxy_pass https://127.0.0.1:8443;
        }
        location = /introspect_plain { internal; %%CLIENT%% proxy_pass https://127.0.0.1:8081; }
    }

    # The authorization server: TLS here, the rest behind it.
    server {
        listen 127.0.0.1:8443 ssl;
        phantom_token off;

        ssl_certificate server.crt;
        ssl_certificate_key server.key;
        ssl_client_certificate ca.crt;
        ssl_verify_client on;

        proxy_set_header X-Server-Name $ssl_server_name;
        proxy_set_header X-Client $ssl_client_s_dn;
        location / { proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8444 ssl;
        phantom_token off;

        ssl_certificate expired.crt;
        ssl_certificate_key expired.key;
        location / { proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

# Keys and certificates, made for this run.

sub certificate {
    my ($name, %args) = @_;

    my ($certificate, $key) = IO::Socket::SSL::Utils::CERT_create(
        subject => { commonName => $args{name} // $name }, not_after => time + 3600, %{ $args{options} // {} },
    );
    $t->write_file("$name.crt", IO::Socket::SSL::Utils::PEM_cert2string($certificate));
    $t->write_file("$name.key", IO::Socket::SSL::Utils::PEM_key2string($key));
    return [$certificate, $key];
}

my $as_name = [[DNS => 'as.example']];
my $ca = certificate('ca', options => { CA => 1 });
my $other_ca = certificate('other_ca', options => { CA => 1 });
certificate('server', options => { issuer => $ca, subjectAltNames => $as_name, purpose => 'server' });
certificate('expired', options => {
    issuer => $ca, subjectAltNames => $as_name, purpose => 'server', not_before => time - 7200,
    not_after => time - 3600,
});
certificate('client', name => 'gateway', options => { issuer => $ca, purpose => 'client' });
certificate('other_client', name => 'gateway', options => { issuer => $other_ca, purpose => 'client' });

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# All right.

my $response = call('/', $token);
is($response->status(), 200, 'verified');
is($api->authorization($response), "Bearer $jwt", 'the JWT upstream');
my $question = $as->last_request($token);
is($as->header($question, 'X-Server-Name'), 'as.example', 'SNI');
like($as->header($question, 'X-Client'), qr/CN=gateway/, 'client certificate');
is($question->{body}, "token=$token", 'body');

$response = call('/', $token);
is($response->status(), 200, 'hit');
is($as->questions($token), 1, 'hit: one question');

my ($large_token, $large) = (token(), jwt(size => 20_000));
$as->script($large_token, $as->jwt_answer($large, chunked => 1_000));
$response = call('/', $large_token);
is($response->status(), 200, 'large');
ok($api->authorization($response) eq "Bearer $large", 'large: the JWT upstream');

# Something wrong.

for my $case (@bad) {
    my $fresh = token();
    $as->script($fresh, $as->jwt_answer($jwt));
    $response = call("/$case", $fresh);
    is($response->status(), 502, "$case: status");
    like($response->header('Slug'), qr/^server_(?:unreachable|refused_us|bad_answer)$/, "$case: slug");
    is($response->header('WWW-Authenticate'), undef, "$case: no challenge");
    is($as->questions($fresh), 0, "$case: the token is not sent");
}

is($as->count(''), 0, 'and nothing else came in its place');
is(call('/', $token)->status(), 200, 'the right one still works');
