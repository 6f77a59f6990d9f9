#!/usr/bin/perl

# An authorization server that is not spoken to in HTTP/1: its answers come in frames, which NGINX counts together with
# what is in them.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Application::FastCGI;
use Test::PhantomToken::Application::SCGI;
use Test::PhantomToken::Application::Uwsgi;

my $t = Test::Nginx->new()->has(qw(http proxy fastcgi uwsgi scgi));

my %application = (fastcgi => 'FastCGI', uwsgi => 'Uwsgi', scgi => 'SCGI');
my %port = (fastcgi => 8083, uwsgi => 8084, scgi => 8085);
my $has_http2 = $t->has_version('1.29.4') && $t->has_module('http_v2');
my ($locations, $server) = ('', '');

for my $protocol (sort keys %port) {
    for my $buffering (qw(on off)) {
        $locations .= <<"CONF";
        location /$protocol/$buffering {
            phantom_token_introspection_endpoint /introspect/$protocol/$buffering;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect/$protocol/$buffering {
            internal;
            ${protocol}_param REQUEST_METHOD \$request_method;
            ${protocol}_param CONTENT_TYPE \$content_type;
            ${protocol}_param CONTENT_LENGTH \$content_length;
            ${protocol}_buffering $buffering;
            ${protocol}_pass 127.0.0.1:$port{$protocol};
        }
CONF
    }
}

if ($has_http2) {
    $locations .= <<'CONF';
        location /http2 {
            phantom_token_introspection_endpoint /introspect/http2;
            proxy_pass http://127.0.0.1:8082;
        }
        location /http2/kept {
            phantom_token_introspection_endpoint /introspect/http2/kept;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect/http2 { internal; proxy_http_version 2; proxy_pass http://127.0.0.1:8086; }
        location = /introspect/http2/kept { internal; proxy_http_version 2; proxy_pass http://kept; }
CONF
    # An HTTP/2 server in front of the authorization server.
    $server = <<'CONF';
    upstream kept { server 127.0.0.1:8086; keepalive 4; }
    server { listen 127.0.0.1:8086; http2 on; location / { proxy_pass http://127.0.0.1:8081; } }
CONF
}

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LOCATIONS%%/$locations/r =~ s/%%SERVER%%/$server/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8080;
        phantom_token on;
        phantom_token_cache off;
        add_header Slug $phantom_token_error always;
%%LOCATIONS%%
    }
%%SERVER%%
}
CONF

my $as = authorization_server($t);
my $api = api($t);
my $jwt = jwt();
my $answer = "Status: 200 OK\r\nContent-Type: application/jwt\r\nContent-Length: " . length($jwt) . "\r\n\r\n$jwt";
my %server = map {
    my $class = "Test::PhantomToken::Application::$application{$_}";
    $_ => $class->start($t, $port{$_}, $answer);
} keys %port;

$t->plan(3 * 2 * keys(%port) + ($has_http2 ? 9 : 0))->run();

for my $protocol (sort keys %port) {
    for my $buffering (qw(on off)) {
        my $token = token();
        my $response = call("/$protocol/$buffering", $token);
        is($response->status(), 200, "$protocol, buffering $buffering: the answer is read")
            or diag($response->header('Slug'));
        is($api->authorization($response), "Bearer $jwt", "$protocol, buffering $buffering: the JWT");
        is($server{$protocol}->request()->{body}, "token=$token", "$protocol, buffering $buffering: the question");
    }
}

if ($has_http2) {
    for my $uri (qw(/http2 /http2/kept /http2/kept)) {
        my $token = token();
        $as->script($token, $as->jwt_answer($jwt));
        my $response = call($uri, $token);
        is($response->status(), 200, "$uri: the answer is read") or diag($response->header('Slug'));
        is($api->authorization($response), "Bearer $jwt", "$uri: the JWT");
        is($as->last_request($token)->{body}, "token=$token", "$uri: the question");
    }
}
