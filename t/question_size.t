#!/usr/bin/perl

# client_max_body_size of the server block is meant for clients: the question is not measured by it.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(2);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    client_max_body_size 1k;

    server {
        listen 127.0.0.1:8080;

        location / {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token() x 40, jwt());
$t->secrets($token);
$as->script($token, $as->jwt_answer($jwt));
my $response = call('/', $token);
is($response->status(), 200, 'a token of 1,720 characters');
is($api->authorization($response), "Bearer $jwt", 'a token of 1,720 characters: the JWT upstream');
