#!/usr/bin/perl

# A gRPC upstream gets the JWT: NGINX itself stands for the gRPC server, and passes on what arrives.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy grpc http_v2))->plan(9);

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;

    server {
        listen 127.0.0.1:8080;

        location / { phantom_token on; grpc_pass grpc://127.0.0.1:8083; }
        location /header {
            phantom_token on;
            phantom_token_header X-Access-Token;
            grpc_pass grpc://127.0.0.1:8083;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%

        location / { proxy_pass http://127.0.0.1:8082; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

for my $state (qw(miss hit)) {
    my $response = call('/package.Service/Method', $token, method => 'POST', body => "\0\0\0\0\x05hello",
        headers => ['Content-Type' => 'application/grpc', TE => 'trailers']);
    is($response->status(), 200, "$state: status");
    like($response->body(), qr/^body 10 /m, "$state: the message arrives");
    is($api->authorization($response), "Bearer $jwt", "$state: the JWT upstream");
}

call('/header', $token, method => 'POST', body => 'x');
is($api->header($api->last_request(), 'X-Access-Token'), $jwt, 'another header');
is($api->header($api->last_request(), 'Authorization'), undef, 'and no other');

is(call('/package.Service/Method', undef, method => 'POST', body => 'x')->status(), 401, 'refused');
