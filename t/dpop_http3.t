#!/usr/bin/perl

# DPoP (RFC 9449) over HTTP/3: method, URL and host are where NGINX has them for it, and a proof counts once over all
# protocols.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP3;
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt proof);
use Test::PhantomToken::Keys;

my $t = Test::Nginx::HTTP3::prepare(23, missing => [Test::PhantomToken::Keys::missing()]);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    large_client_header_buffers 4 32k;
    add_header Slug $phantom_token_error always;

    server {
        listen 127.0.0.2:%%PORT_8443%% quic;
        listen 127.0.0.1:8080;
        ssl_certificate localhost.crt;
        ssl_certificate_key localhost.key;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /error_page { error_page 404 = /a; return 404; }
        location /accel_redirect { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

$api->script('/accel_redirect', { headers => ['X-Accel-Redirect' => '/a'] });
my $key = Test::PhantomToken::Keys->new($t, 'ES256');
my ($token, $jwt) = (token(), jwt(claims => { cnf => { jkt => jkt($key) } }));
$as->script($token, $as->jwt_answer($jwt));
my $connection = Test::Nginx::HTTP3->new();

sub outcome { my ($response) = @_; return join ' ', $response->status(), $response->header('Slug') // () }

sub ask {
    my ($method, $uri, $proof, %args) = @_;
    return $connection->call($method, $uri, headers => [Authorization => "DPoP $token", DPoP => $proof], %args);
}

for (
    ['GET', '/a', 'GET', 'https://localhost/a', '200'],
    ['GET', '/a?b', 'GET', 'https://localhost:443/a', '200'],
    ['GET', '/a', 'GET', 'https://localhost:8443/a', '200', host => 'localhost:8443'],
    ['POST', '/a', 'POST', 'https://localhost/a', '200', body => 'x'],
    ['POST', '/error_page', 'POST', 'https://localhost/error_page', '200', body => 'x'],
    ['POST', '/accel_redirect', 'POST', 'https://localhost/accel_redirect', '200', body => 'x'],
    ['GET', '/a', 'GET', 'http://localhost/a', '401 binding'],
    ['GET', '/a', 'GET', 'https://localhost:8443/a', '401 binding'],
    ['GET', '/a', 'GET', 'https://other/a', '401 binding'],
    ['GET', '/a', 'POST', 'https://localhost/a', '401 binding'],
    ['POST', '/error_page', 'GET', 'https://localhost/error_page', '401 binding', body => 'x'],
    ['POST', '/error_page', 'POST', 'https://localhost/a', '401 binding', body => 'x'],
    ['POST', '/accel_redirect', 'GET', 'https://localhost/accel_redirect', '401 binding', body => 'x'],
) {
    my ($method, $uri, $htm, $htu, $expected, %args) = @$_;
    my $name = "$method $uri with a proof for $htm $htu";
    my $response = ask($method, $uri, proof($key, $token, $htu, claims => { htm => $htm }), %args);
    is(outcome($response), $expected, $name);
    next unless $expected eq '200';
    is($api->authorization($response), "Bearer $jwt", "$name: the JWT upstream");
}

# A proof counts once, on whatever stream and connection.

my $once = proof($key, $token, 'https://localhost/a');
my @streams = map { $connection->request('GET', '/a', headers => [Authorization => "DPoP $token", DPoP => $once]) } 1 .. 3;
is(join(', ', sort map { outcome($connection->response($_)) } @streams), '200, 401 binding, 401 binding', 'on three streams');
my $another = Test::Nginx::HTTP3->new();
is(outcome($another->call('GET', '/a', headers => [Authorization => "DPoP $token", DPoP => $once])), '401 binding',
    'on another connection');
my $over_tcp = proof($key, $token, 'http://localhost/a', claims => { jti => 'the same' });
is(outcome(http_request('GET', '/a', headers => [Authorization => "DPoP $token", DPoP => $over_tcp])), '200', 'over HTTP/1.1');
is(outcome(ask('GET', '/a', proof($key, $token, 'https://localhost/a', claims => { jti => 'the same' }))), '401 binding',
    'the same identifier over HTTP/3');
$_->close() for $connection, $another;
