#!/usr/bin/perl

# What of the client's request the introspection location sees: its own variables, nothing that `set` has filled, and what
# the endpoint hands over (docs/directives.md, phantom_token_introspection_endpoint).

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy map))->plan(9);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    map $tenant $mapped { default "of $tenant"; }

    server {
        listen 127.0.0.1:8080;

        location ~ ^/(?<captured>\w+) {
            set $tenant $arg_tenant;
            phantom_token on;
            phantom_token_introspection_endpoint /introspect?tenant=$tenant;
            add_header Request-Id $request_id always;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect {
            internal;
            proxy_set_header X-Handed $arg_tenant;
            proxy_set_header X-Set "[$tenant]";
            proxy_set_header X-Mapped "[$mapped]";
            proxy_set_header X-Captured "[$captured]";
            proxy_set_header X-Header "[$http_x_header]";
            proxy_set_header X-Uri $uri;
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header X-Address $remote_addr;
            proxy_pass http://127.0.0.1:8081/asked;
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $token = token();
$as->script($token, $as->jwt_answer(jwt()));
my $response = call('/api?tenant=blue', $token, headers => ['X-Header' => 'value']);
is($response->status(), 200, 'passes');

my $question = $as->last_request($token);
is($as->header($question, 'X-Handed'), 'blue', 'what the endpoint hands over');
is($as->header($question, 'X-Set'), '[]', 'a variable of set is empty');
is($as->header($question, 'X-Mapped'), '[of ]', 'and so is what a map makes of it');
is($as->header($question, 'X-Captured'), '[]', 'a capture is empty');
is($as->header($question, 'X-Header'), '[]', 'a header is the question\'s');
is($as->header($question, 'X-Uri'), '/introspect', 'the URI is the question\'s');
isnt($as->header($question, 'X-Request-Id'), $response->header('Request-Id'), 'and so is the id');
is($as->header($question, 'X-Address'), '127.0.0.1', 'the address is the client\'s');
