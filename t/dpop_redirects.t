#!/usr/bin/perl

# DPoP (RFC 9449) where NGINX has led the request on before anybody looked at its proof: error_page and X-Accel-Redirect
# make a GET of it, and the proof is still one for what the client has sent.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt proof);
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy http_v2))->plan(126);
my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    large_client_header_buffers 4 32k;
    add_header Slug $phantom_token_error always;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%
        phantom_token_introspection_endpoint /introspect;

        location /error_page { error_page 404 = /on/error_page; return 404; }
        location /error_page_to_named { error_page 404 = @on; return 404; }
        location /try_files { try_files /none /on/try_files; }
        location /try_files_to_named { try_files /none @on; }
        location /rewrite { rewrite ^ /on/rewrite last; }
        location /accel_redirect { proxy_pass http://127.0.0.1:8082; }
        location /accel_redirect_to_named { proxy_pass http://127.0.0.1:8082/leads_to_named; }

        location /on/ { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location @on { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

$api->script('/accel_redirect', { headers => ['X-Accel-Redirect' => '/on/accel_redirect'] });
$api->script('/leads_to_named', { headers => ['X-Accel-Redirect' => '@on'] });
my $key = Test::PhantomToken::Keys->new($t, 'ES256');
my ($token, $jwt) = (token(), jwt(claims => { cnf => { jkt => jkt($key) } }));
$as->script($token, $as->jwt_answer($jwt));

my $h2 = Test::Nginx::HTTP2->new(port => 8083);
my %send = (
    'HTTP/1.1' => sub { my ($method, $uri, @args) = @_; return http_request($method, $uri, @args) },
    'HTTP/2' => sub { my ($method, $uri, @args) = @_; return $h2->call($method, $uri, @args) },
);

# A request with a proof of that method and path.
sub ask {
    my ($version, $method, $uri, $htm, $path) = @_;
    my $proof = proof($key, $token, "http://localhost$path", claims => { htm => $htm });
    my @body = $method =~ /^P/ ? (body => 'x') : ();
    return $send{$version}->($method, $uri, @body, headers => [Authorization => "DPoP $token", DPoP => $proof]);
}

for my $version (sort keys %send) {
    for my $way (qw(error_page error_page_to_named try_files try_files_to_named rewrite accel_redirect accel_redirect_to_named)) {
        my ($uri, $name) = ("/$way", "$version, $way");
        for my $method (qw(POST PUT)) {
            my $response = ask($version, $method, $uri, $method, $uri);
            is($response->status(), 200, "$name: the $method of the client");
            is($api->authorization($response), "Bearer $jwt", "$name: the JWT of the $method");
        }
        is(ask($version, 'HEAD', $uri, 'HEAD', $uri)->status(), 200, "$name: HEAD");
        for (
            ['GET', $uri, qr/"htm" is not/, 'the method that NGINX makes of it'],
            ['POST', "/on/$way", qr/"htu" is not/, 'the path that NGINX takes it to'],
        ) {
            my ($htm, $path, $why, $what) = @$_;
            $t->new_module_lines();
            is(ask($version, 'POST', $uri, $htm, $path)->header('Slug'), 'binding', "$name: $what");
            my ($line) = grep { /request refused/ } $t->new_module_lines();
            like($line // '', $why, "$name: $what, the log");
        }
    }
}
