#!/usr/bin/perl

# Background questions by the ways that NGINX reaches a server: TLS with verification, a name that is resolved
# meanwhile, a kept connection; and an answer of proxy_cache that a thread reads.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;
use Test::PhantomToken::NameServer;
use Test::PhantomToken::Shipped qw(certificates);

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl));
my $aio = $t->has_module('threads') ? 'aio threads;' : '';

$t->plan(18);

# On an address of its own, for the port of 127.0.0.1 is reserved by its UDP side.
my $name_server_address = '127.0.0.3:' . port(8053);

certificates($t, 'ca.crt', server => 'as.example.com');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%NAMES%%/$name_server_address/r =~ s/%%AIO%%/$aio/r);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_refresh 2s;
    add_header Cache-Status $phantom_token_cache_status always;

    proxy_cache_path cache keys_zone=answers:1m;
    upstream kept { server 127.0.0.1:8081; keepalive 4; }

    server {
        listen 127.0.0.1:8080;
        phantom_token on;

        location /tls { phantom_token_introspection_endpoint /ask_tls; proxy_pass http://127.0.0.1:8082; }
        location /name { phantom_token_introspection_endpoint /ask_name; proxy_pass http://127.0.0.1:8082; }
        location /kept { phantom_token_introspection_endpoint /ask_kept; proxy_pass http://127.0.0.1:8082; }
        location /disk { phantom_token_introspection_endpoint /ask_disk; proxy_pass http://127.0.0.1:8082; }

        location = /ask_tls {
            internal;
            proxy_ssl_server_name on;
            proxy_ssl_name as.example.com;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate ca.crt;
            proxy_pass https://127.0.0.1:8443;
        }
        location = /ask_name {
            internal;
            resolver %%NAMES%% ipv6=off valid=1s;
            set $name as.example.com;
            proxy_pass http://$name:%%PORT_8081%%;
        }
        location = /ask_kept {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://kept;
        }
        location = /ask_disk {
            internal;
            %%AIO%%
            proxy_cache answers;
            proxy_cache_methods POST;
            proxy_cache_key $request_body;
            proxy_cache_valid 200 1h;
            proxy_pass http://127.0.0.1:8081;
        }
    }

    server {
        listen 127.0.0.1:8443 ssl;
        ssl_certificate server.crt;
        ssl_certificate_key server.key;
        proxy_set_header X-Server-Name $ssl_server_name;
        location / { proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
Test::PhantomToken::NameServer->start($t, $name_server_address, '127.0.0.1');
$t->run();

my %token = map { $_ => token() } qw(tls name kept disk);

# Confirmed: twice the time of a refresh later it is still known, without a request that had to wait.

for my $way (sort keys %token) {
    $as->script($token{$way}, $as->jwt_answer(jwt()));
    is(call("/$way", $token{$way})->header('Cache-Status'), 'MISS', "$way: asked");
}

my $asked_at = time;
my %seen;
ok(eventually(sub {
    $seen{$_}{ call("/$_", $token{$_})->header('Cache-Status') }++ for keys %token;
    return time > $asked_at + 5;
}), 'hits go on');
is(join(',', keys %{ $seen{$_} }), 'HIT', "$_: confirmed in the background") for sort keys %token;
cmp_ok($as->questions($token{$_}), '>=', 2, "$_: by a question") for qw(tls name kept);
is($as->questions($token{disk}), 1, 'disk: by what NGINX has kept');
is($as->header($as->last_request($token{tls}), 'X-Server-Name'), 'as.example.com', 'tls: with the name');
is($as->header($as->last_request($token{tls}), 'Authorization'), undef, 'tls: and nothing of the client\'s');

# What is under way when the worker is to end is finished, and leaves no trace.

my ($worker) = $t->workers();
my %ending = map { $_ => token() } qw(tls name);
$as->script($_, $as->jwt_answer(jwt()), $as->jwt_answer(jwt(), hold => 1)) for values %ending;
call("/$_", $ending{$_}) for sort keys %ending;
ok(eventually(sub {
    my @left = grep { $as->questions($ending{$_}) < 2 } sort keys %ending;
    call("/$_", $ending{$_}) for @left;
    return !@left;
}), 'under way again');
$t->reload();
$as->release($_) for values %ending;
ok($t->wait_for_log(qr/worker process $worker exited with code 0$/m), 'the old worker exits');
unlike($t->read_file('error.log'), qr/open socket/, 'and leaves no connection');
