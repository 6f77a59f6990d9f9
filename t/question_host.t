#!/usr/bin/perl

# The Host of a question, and of a request for keys, is that of its proxy_pass, whatever an outer level says of Host for
# its APIs.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(30);

my %said = (http_host => '$http_host', host => '$host', composed => '"$http_host"');
my $locations = '';

for my $name (sort keys %said) {
    $locations .= <<"CONF";
    server {
        listen 127.0.0.1:8080;
        server_name $name.example;
        proxy_set_header Host $said{$name};

        location / {
            phantom_token_introspection_endpoint /introspect;
            proxy_pass http://127.0.0.1:8082;

            location /named { phantom_token_introspection_endpoint /named_server; proxy_pass http://127.0.0.1:8082; }
            location /varied { phantom_token_introspection_endpoint /varied_server; proxy_pass http://127.0.0.1:8082; }
            location /early { phantom_token_introspection_endpoint /early_server; proxy_pass http://127.0.0.1:8082; }
            location /keys {
                phantom_token_jwks /jwks;
                phantom_token_forward claims;
                phantom_token_accept application/jwt;
                proxy_pass http://127.0.0.1:8082;
            }
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /named_server { internal; proxy_pass http://as.example; }
        location = /varied_server { internal; set \$as 127.0.0.1:8081; proxy_pass http://\$as/introspect; }
        location = /early_server {
            internal;
            if (\$http_host = x) { return 403; }
            if (\$host = x) { return 403; }
            proxy_pass http://127.0.0.1:8081;
        }
        location = /jwks { internal; proxy_pass http://127.0.0.1:8083; }
    }
CONF
}

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LOCATIONS%%/$locations/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    upstream as.example { server 127.0.0.1:8081; }
    phantom_token on;

%%LOCATIONS%%
}
CONF

my $as = authorization_server($t);
my $api = api($t);
my $keys = api($t, 8083);
$t->run();

my $server = '127.0.0.1:' . port(8081);

for my $name (sort keys %said) {
    for my $case (['/', $server], ['/named', 'as.example'], ['/varied', $server], ['/early', $server]) {
        my ($uri, $host) = @$case;
        my $token = token();
        $as->script($token, $as->jwt_answer(jwt()));
        is(http_request(GET => $uri, host => "$name.example", headers => [Authorization => "Bearer $token"])->status(), 200,
            "$name, $uri: passes");
        is(join('|', $as->header($as->last_request($token), 'Host')), $host, "$name, $uri: the server's Host");
    }
    is($api->header($api->last_request(), 'Host'), "$name.example", "$name: the API has the client's");
    http_request(GET => '/keys', host => "$name.example", headers => [Authorization => 'Bearer ' . token()]);
    is($keys->header($keys->last_request(), 'Host'), '127.0.0.1:' . port(8083), "$name: keys");
}
