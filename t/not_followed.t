#!/usr/bin/perl

# Addresses that others name are asked nothing, and get no credentials (RFC 9700, RFC 8725 section 3.10): redirects of
# the authorization server, to its question, its exchange and its keys; keys and their addresses in the header of a
# JWT; redirects of the API.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Ports qw(port);
use Test::PhantomToken;
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(131);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway secret-of-the-gateway;
    add_header Slug $phantom_token_error always;

    server {
        listen 127.0.0.1:8080;

        location /introspected { proxy_pass http://127.0.0.1:8082; }
        location /exchanged { phantom_token_exchange /introspect; proxy_pass http://127.0.0.1:8082; }
        location /claims {
            phantom_token_forward claims;
            phantom_token_envelope unverified;
            proxy_pass http://127.0.0.1:8082;
        }
        location /keyed_301 { phantom_token_jwks /keys/301; proxy_pass http://127.0.0.1:8082; }
        location /keyed_302 { phantom_token_jwks /keys/302; proxy_pass http://127.0.0.1:8082; }
        location /keyed_307 { phantom_token_jwks /keys/307; proxy_pass http://127.0.0.1:8082; }
        location /verified {
            phantom_token_accept_jwt verify;
            phantom_token_jwks file=as.jwks;
            phantom_token_issuer https://as.example;
            phantom_token_audience api;
            proxy_pass http://127.0.0.1:8082;
        }

        location /elsewhere { phantom_token off; proxy_pass http://127.0.0.1:8083; }
        location /keys/ { internal; proxy_pass http://127.0.0.1:8084; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $key = Test::PhantomToken::Keys->new($t, 'ES256');
my $stranger = Test::PhantomToken::Keys->new($t, 'ES256');
$t->write_file('as.jwks', Test::PhantomToken::Keys::set($key->jwk()));
$t->secrets('secret-of-the-gateway');
my $as = authorization_server($t);
my $api = api($t);
my $elsewhere = api($t, 8083);
my $keys = api($t, 8084);
$t->run();

my $there = 'http://127.0.0.1:' . port(8083);

# A server that sends its clients elsewhere.

for my $status (301, 302, 303, 307, 308) {
    for my $location ("$there/introspect", '//127.0.0.1:' . port(8083) . '/', '/elsewhere', '/introspect', 'elsewhere') {
        for my $uri (qw(/introspected /exchanged)) {
            my $token = token();
            $as->script($token, { status => $status, headers => [Location => $location, Refresh => "0; url=$location"] });
            my $response = call($uri, $token);
            my $name = "$uri, $status to $location";
            is($response->status() . ' ' . $response->header('Slug'), '502 server_bad_answer', $name);
            is(join(',', map { $response->header($_) // '' } qw(Location Refresh)), ',', "$name: not the client's business");
        }
    }
}
is($as->count(), 50, 'each question was asked once');

# One that has its keys elsewhere.

for my $status (301, 302, 307) {
    $keys->script("/keys/$status", { status => $status, headers => [Location => "$there/keys"] });
    my $token = token();
    $as->script($token, $as->jwt_answer($key->jwt()));
    my $response = call("/keyed_$status", $token);
    is($response->status() . ' ' . $response->header('Slug'), '502 server_bad_answer', "keys, $status");
    is($keys->count("/keys/$status"), 1, "keys, $status: asked for once");
    my $asked = $keys->last_request("/keys/$status");
    unlike("$asked->{head}\n$asked->{body}", qr/\Q$token\E|^Authorization:/mi, "keys, $status: without credentials");
}

# A JWT that says where its keys are, or brings one along.

my %header = (
    jku => "$there/jwks", x5u => "$there/certificate", kid => "$there/kid", jwk => $stranger->jwk(),
    x5c => ['MIIB'], 'x5t#S256' => 'x',
);
for my $name (sort keys %header) {
    my %own = (header => { $name => $header{$name} });
    my $forged = $stranger->jwt(%own);
    my $response = call('/verified', $forged);
    is($response->status() . ' ' . $response->header('Slug'), '401 signature', "$name of a stranger");
    my $token = token();
    $as->script($token, $as->jwt_answer($forged));
    is(call('/verified', $token)->status(), 502, "$name of a stranger, given by the server");
    next if $name eq 'kid';

    my $jwt = $key->jwt(%own);
    $response = call('/verified', $jwt);
    is($response->status(), 200, "$name beside a good signature");
}

# An API that does so: to the client alone.

$api->script('/introspected/moved', { status => 307, headers => [Location => "$there/moved"] });
my $token = token();
$as->script($token, $as->jwt_answer(jwt()));
my $response = call('/introspected/moved', $token);
is($response->status() . ' ' . $response->header('Location'), "307 $there/moved", 'a redirect of the API');

is($elsewhere->count(), 0, 'nobody has gone there');
is(http_request('GET', '/elsewhere')->status(), 200, 'where one could have gone');
is($elsewhere->count(), 1, 'which is seen');
