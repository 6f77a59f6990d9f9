#!/usr/bin/perl

# nginx-conf/upstream-resolve.conf: the name of the authorization server gets another address while NGINX runs; by the
# upstream block, and by the variable that the file's comment gives older versions.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::NameServer;
use Test::PhantomToken::Shipped qw(ship shipped_text certificates);

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl));
my @ways = $t->has_version('1.27.3') ? qw(upstream variable) : qw(variable);

$t->plan(7 * @ways);

# On an address of its own, for the port of 127.0.0.1 is reserved by its UDP side.
my $name_server_address = '127.0.0.3:' . port(8053);
my $tls = port(8443);

certificates($t, 'ca.crt', server => 'as.example.com');
ship(
    $t, '127.0.0.53' => $name_server_address,
    'server as.example.com:443 resolve;' => "server as.example.com:$tls resolve;",
    'https://$authorization_server/' => "https://\$authorization_server:$tls/",
    '/etc/ssl/certs/ca-certificates.crt' => 'ca.crt',
);

# The lines for older versions stand in a comment.
my ($lines) = $t->read_file('phantom-token/upstream-resolve.conf') =~ /((?:^#     .*;\n)+)/m;
my $variable = $lines =~ s/^#     //mgr;

my $upstream = @ways > 1 ? 'include phantom-token/upstream-resolve.conf;' : '';
my $curity = @ways > 1 ? <<'CONF' : '';
    server {
        listen 127.0.0.1:8080;
        server_name upstream;
        include phantom-token/servers/curity.conf;
        phantom_token_cache off;
        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
    }
CONF

$t->write_file_expand('nginx.conf', <<"CONF");
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    $upstream
$curity
    server {
        listen 127.0.0.1:8080;
        server_name variable;
        phantom_token_introspection_endpoint /introspect;
        phantom_token_cache off;
        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect {
            internal;
            include phantom-token/connection.conf;
$variable
        }
    }

    # The authorization server, at two addresses.
    server {
        listen 127.0.0.1:8443 ssl;
        listen 127.0.0.2:%%PORT_8443%% ssl;
        ssl_certificate server.crt;
        ssl_certificate_key server.key;

        proxy_set_header Host \$http_host;
        proxy_set_header X-Server-Name \$ssl_server_name;
        proxy_set_header X-Address \$server_addr;
        location / { proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
my $name_server = Test::PhantomToken::NameServer->start($t, $name_server_address, '127.0.0.1');
$t->run();

for my $way (@ways) {
    my ($token, $jwt) = (token(), jwt());
    $as->script($token, $as->jwt_answer($jwt));
    $name_server->set('127.0.0.1');

    my $asked_at = sub { $as->last_request($token) ? $as->header($as->last_request($token), 'X-Address') : '' };
    my $response = call_until(sub { $asked_at->() eq '127.0.0.1' }, '/', $token, host => $way);
    is($response->status(), 200, "$way: the server is found by its name");
    is($api->authorization(), "Bearer $jwt", "$way: the JWT upstream");
    my $question = $as->last_request($token);
    is($question->{uri}, '/oauth/v2/oauth-introspect', "$way: path");
    like($as->header($question, 'Host'), qr/^as\.example\.com(?::\d+)?$/, "$way: Host");
    is($as->header($question, 'X-Server-Name'), 'as.example.com', "$way: the name in the TLS handshake");

    $name_server->set('127.0.0.2');
    $response = call_until(sub { $asked_at->() eq '127.0.0.2' }, '/', $token, host => $way);
    is($response->status(), 200, "$way: the name moves");
    is($asked_at->(), '127.0.0.2', "$way: the new address is asked");
}
