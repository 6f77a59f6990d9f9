#!/usr/bin/perl

# limit_req in the introspection location delays the question; it is asked when its time has come.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy limit_req))->plan(5);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    limit_req_zone x$uri zone=frequent:1m rate=10r/s;

    server {
        listen 127.0.0.1:8080;

        location / {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; limit_req zone=frequent burst=10; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my @tokens = map { token() } 1 .. 4;
my $jwt = jwt();
$as->script($_, $as->jwt_answer($jwt)) for @tokens;

my @connections = map {
    http_connection()->request('GET', '/', headers => [Authorization => "Bearer $_", Connection => 'close'])
} @tokens;

is($_->response()->status(), 200, 'a question that limit_req delays') for @connections;
is($as->questions(), 4, 'each was asked');
