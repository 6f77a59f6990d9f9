#!/usr/bin/perl

# Early hints (103) of the authorization server stay between it and NGINX, which has passed on those of a server since
# 1.29.0: they name what a client is to load, and no client has asked that server for anything.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy));
plan(skip_all => 'no early hints before NGINX 1.29.0') unless $t->has_version('1.29.0');

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    map '' $always { default 1; }
    early_hints $always;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->plan(4)->run();

my $jwt = jwt();
my $token = token();
my $hints = "HTTP/1.1 103 Early Hints\r\nLink: </of-the-server.css>; rel=preload\r\n\r\n";
my $length = length $jwt;
$as->script($token, { raw => "${hints}HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nContent-Length: $length\r\n\r\n$jwt" });

# All that the client gets: the library skips what is not the last response.
sub all {
    my ($uri) = @_;
    return http("GET $uri HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $token\r\nConnection: close\r\n\r\n");
}

my $response = all('/');
like($response, qr{^HTTP/1.1 200 OK\b}, 'the response behind the hints is the answer, and the client sees no hints');
unlike($response, qr/of-the-server/, 'nothing of them');
is($api->header($api->last_request(), 'Authorization'), "Bearer $jwt", 'its JWT goes upstream');

# Those of the API are another matter.

$api->script('/hints', { raw => $hints . "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" });
like(all('/hints'), qr{^HTTP/1.1 103\b.*of-the-server.*\nok$}s, 'but those of the API');
