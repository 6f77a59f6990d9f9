#!/usr/bin/perl

# Connections to the authorization server are kept as NGINX keeps those of any other request: by default since 1.29.7,
# for the location alone ("local") or for all that use the upstream.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy));

# Name of an upstream, and what stands in it.
my %upstream = (shared => 'keepalive 8;');
%upstream = (%upstream, default => '', local => 'keepalive 8 local;') if $t->has_version('1.29.7');

my ($upstreams, $locations) = ('', '');

for my $name (sort keys %upstream) {
    $upstreams .= "    upstream $name { server 127.0.0.1:8081; $upstream{$name} }\n";
    $locations .= <<"CONF";
        location /$name {
            phantom_token_introspection_endpoint /introspect/$name;
            proxy_pass http://127.0.0.1:8082;
        }
        location /refreshed/$name {
            phantom_token_introspection_endpoint /introspect/$name;
            phantom_token_cache_refresh 1s;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect/$name {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://$name;
        }
CONF
}

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%UPSTREAMS%%/$upstreams/r =~ s/%%LOCATIONS%%/$locations/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;

%%UPSTREAMS%%
    server {
        listen 127.0.0.1:8080;
%%LOCATIONS%%
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->plan(4 * keys %upstream)->run();

# On which connections of the authorization server's these tokens were asked about.
sub connections {
    my %connections = map { map({ $_->{connection} => 1 } $as->requests($_)) } @_;
    return scalar keys %connections;
}

for my $name (sort keys %upstream) {
    my @tokens = map { token() } 1 .. 10;
    my @statuses;

    for my $token (@tokens) {
        $as->script($token, $as->jwt_answer(jwt()));
        push @statuses, call("/$name", $token)->status();
    }

    is("@statuses", join(' ', (200) x 10), "$name: ten tokens");
    is(connections(@tokens), 1, "$name: ten questions on one connection");

    # A question that no client waits for.

    my $token = token();
    $as->script($token, $as->jwt_answer(jwt()));
    ok(call_until(sub { $as->questions($token) >= 2 }, "/refreshed/$name", $token), "$name: refreshed");
    is(connections($tokens[-1], $token), 1, "$name: on the same connection");
}
