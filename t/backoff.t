#!/usr/bin/perl

# A server that fails again and again is left alone, and no other one is: not that of another server block, nor that
# of another tenant, whatever they have in common.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy map))->plan(5);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Error $phantom_token_error always;

    map $request_uri $port { ~dead %%PORT_8099%%; default %%PORT_8081%%; }

    server {
        listen 127.0.0.1:8080;
        server_name dead;
        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8099; }
    }
    server {
        listen 127.0.0.1:8080;
        server_name alive;
        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
    server {
        listen 127.0.0.1:8080;
        server_name tenants;
        phantom_token_cache_key $arg_tenant;
        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:$port; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# As many failures as make the pause its longest.
sub outage {
    my ($uri, @arguments) = @_;
    return scalar grep { call($uri, token(), @arguments)->status() == 502 } 1 .. 40;
}

sub ask {
    my ($uri, @arguments) = @_;
    my $token = token();
    $as->script($token, $as->jwt_answer(jwt()));
    return call($uri, $token, @arguments)->status();
}

is(outage('/', host => 'dead'), 40, 'a server that is dead');
is(ask('/', host => 'alive'), 200, 'that of another server block, asked at the same URI');

is(outage('/?tenant=dead', host => 'tenants'), 40, 'the server of one tenant is dead');
is(ask('/?tenant=alive', host => 'tenants'), 200, 'that of another tenant');

my @log = $t->read_file('error.log') =~ /(has failed many times in a row)/g;
is(scalar(@log), 2, 'one line for each outage');
