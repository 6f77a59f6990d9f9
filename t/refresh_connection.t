#!/usr/bin/perl

# What a background question says of the client's connection is what the first question said: the scheme, the
# addresses, the PROXY protocol, the protocol and the method.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl))->plan(15);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 1m;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8443 ssl;
        ssl_certificate tls.crt;
        ssl_certificate_key tls.key;
        if ($scheme = http) { return 301 https://$host$request_uri; }

        location / { phantom_token on; phantom_token_cache_refresh 2s; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8086;
        server_name gateway;
        error_log %%TESTDIR%%/gateway.log warn;

        location / {
            phantom_token on;
            phantom_token_cache_refresh 1s;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect {
            internal;
            # The first question is answered, and the next finds nobody.
            set $port %%PORT_8081%%;
            if ($request_uri = /later) { set $port %%PORT_8099%%; }
            proxy_pass http://127.0.0.1:$port;
        }
    }

    map $connection_time $age { ~^\d\. young; default old; }

    server {
        listen 127.0.0.1:8085;
        listen 127.0.0.1:8444 ssl;
        listen 127.0.0.1:8084 proxy_protocol;
        ssl_certificate tls.crt;
        ssl_certificate_key tls.key;

        location / { phantom_token on; phantom_token_cache_refresh 2s; proxy_pass http://127.0.0.1:8082; }
        location = /introspect {
            internal;
            proxy_set_header X-Scheme "$scheme $https";
            proxy_set_header X-Protocol "$server_protocol $request_method";
            proxy_set_header X-Addresses "$remote_addr $server_addr $server_port";
            proxy_set_header X-Proxy-Protocol "$proxy_protocol_addr $proxy_protocol_server_port";
            proxy_set_header X-Age $age;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

{
    my ($certificate, $key) = IO::Socket::SSL::Utils::CERT_create(subject => { commonName => 'localhost' });
    IO::Socket::SSL::Utils::PEM_cert2file($certificate, $t->testdir() . '/tls.crt');
    IO::Socket::SSL::Utils::PEM_key2file($key, $t->testdir() . '/tls.key');
}

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $token = token();
$as->script($token, $as->jwt_answer(jwt()));
my $client = http_connection(port => 8443, ssl => { SSL_verify_mode => 0 });
my $hit = sub { $client->request('GET', '/', headers => [Authorization => "Bearer $token"])->response()->status() };
is($hit->(), 200, 'asked');
ok(eventually(sub { $hit->(); $as->questions($token) == 2 }), 'confirmed');

my @HEADERS = qw(X-Scheme X-Protocol X-Addresses X-Proxy-Protocol X-Age);

for (
    ['plain', 8085, [], qr/^http ?$/],
    ['TLS', 8444, [ssl => { SSL_verify_mode => 0 }], qr/^https on$/],
    ['PROXY protocol', 8084, [], qr/^http ?$/],
) {
    my ($name, $port, $options, $scheme) = @$_;
    my $token = token();
    $as->script($token, $as->jwt_answer(jwt()));
    my $ask = sub {
        my $connection = http_connection(port => $port, @$options);
        $connection->send("PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n") if $port == 8084;
        $connection->request('GET', '/', headers => [Authorization => "Bearer $token"])->response();
        $connection->close();
    };
    $ask->();
    ok(eventually(sub { $ask->(); $as->questions($token) == 2 }), "$name: confirmed");
    my ($first, $second) = $as->requests($token);
    like($as->header($second, 'X-Scheme'), $scheme, "$name: the scheme");
    is_deeply([map { scalar $as->header($second, $_) } @HEADERS],
        [map { scalar $as->header($first, $_) } @HEADERS], "$name: all are the same");
}

like($as->header(($as->requests())[-1], 'X-Proxy-Protocol'), qr/^192\.0\.2\.7 80$/, 'what the PROXY protocol says');

# What NGINX says of trouble with a background question names the client and the server, in the log of the server block.

my $lost = token();
$as->script($lost, $as->jwt_answer(jwt()));
is(call('/', $lost, port => 8086)->status(), 200, 'asked');
my %answered;
eventually(sub {
    $answered{ call('/later', $lost, port => 8086)->status() }++;
    return $t->read_file('gateway.log') =~ /connect\(\) failed/;
});
is(join(',', keys %answered), 200, 'trouble in the background');
like($t->read_file('gateway.log'),
    qr{while connecting to upstream, client: 127\.0\.0\.1, server: gateway, .*upstream: "http:}, 'its log line');
