#!/usr/bin/perl

# Responses that tell a client a nonce (RFC 9449 section 8.2): nobody keeps one for later, neither another cache nor
# that of the same location, and there is one nonce in each.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Timeout qw($TIMEOUT);
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt proof);
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(17);

$t->write_file('nonce.key', 'x' x 32);
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    proxy_cache_path %%TESTDIR%%/cache keys_zone=responses:1m;
    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_dpop_nonce 10s;
    large_client_header_buffers 4 32k;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /expires { expires 1h; proxy_pass http://127.0.0.1:8082; }
        location /cached {
            proxy_cache responses;
            proxy_cache_valid 1m;
            add_header Response $upstream_cache_status;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /led { phantom_token off; proxy_pass http://127.0.0.1:8082; }
        location /first { error_page 401 = /second; proxy_pass http://127.0.0.1:8082; }
        location /second { phantom_token_dpop_nonce 10s file=nonce.key; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $key = Test::PhantomToken::Keys->new($t, 'EdDSA');
my ($token, $jwt) = (token(), jwt(claims => { cnf => { jkt => jkt($key) } }));
$as->script($token, $as->jwt_answer($jwt));
$api->script('/max-age', { headers => ['Cache-Control' => 'max-age=60'], body => 'x' });
$api->script('/led', { headers => ['X-Accel-Redirect' => '/expires', 'Cache-Control' => 'no-store'] });

sub ask {
    my ($uri, $nonce) = @_;
    my $proof = proof($key, $token, "http://localhost$uri", claims => { nonce => $nonce });
    return http_request('GET', $uri, headers => [Authorization => "DPoP $token", DPoP => $proof]);
}

sub values_of {
    my ($response, $name) = @_;
    return map { s/^[^:]+: *//r } $response->header_lines($name);
}

sub cache_control { return join ', ', values_of($_[0], 'Cache-Control') }

my $refused = ask('/', undef);
is($refused->status() . ' ' . values_of($refused, 'DPoP-Nonce'), '401 1', 'a nonce with a refusal');
is(cache_control($refused), 'no-store', 'the refusal is not to be kept');

# A nonce that is young, and the same one when the next one comes.

my %cache_control = (
    '/' => ['', 'no-store'],
    '/max-age' => ['max-age=60', 'no-store, max-age=60'],
    '/expires' => ['max-age=3600', 'no-store, max-age=3600'],
);
my ($nonce) = values_of($refused, 'DPoP-Nonce');
for my $uri (sort keys %cache_control) {
    is(cache_control(ask($uri, $nonce)), $cache_control{$uri}[0], "$uri: as without a nonce");
}
is(ask('/cached', $nonce)->header('Response'), 'MISS', 'for proxy_cache to keep');

my $deadline = time + 10 + $TIMEOUT;
while (time < $deadline) {
    last if values_of(ask('/', $nonce), 'DPoP-Nonce');
}
for my $uri (sort keys %cache_control) {
    my $response = ask($uri, $nonce);
    is($response->status() . ' ' . values_of($response, 'DPoP-Nonce'), '200 1', "$uri: the next nonce");
    is(cache_control($response), $cache_control{$uri}[1], "$uri: not to be kept");
}

# What proxy_cache keeps is the response of the API.

my $renewed = ask('/cached', $nonce);
is($renewed->status() . ' ' . $renewed->header('Response') . ' ' . values_of($renewed, 'DPoP-Nonce'), '200 HIT 1',
    'a nonce with a response of proxy_cache');
my ($next) = values_of($renewed, 'DPoP-Nonce');
my $hit = ask('/cached', $next);
is($hit->header('Response') . ' ' . values_of($hit, 'DPoP-Nonce'), 'HIT 0', 'which does not keep it');

# NGINX takes what the API says along with X-Accel-Redirect, and "expires" writes over it.

like(cache_control(ask('/led', $nonce)), qr/^(max-age=3600, no-store|no-store, max-age=3600)\z/, 'led to "expires"');

# One refusal after another.

my $led = ask('/first', undef);
is($led->status() . ' ' . values_of($led, 'DPoP-Nonce') . ' ' . cache_control($led), '401 1 no-store', 'one of two locations');
is(ask('/second', (values_of($led, 'DPoP-Nonce'))[0])->status(), 200, 'that of the second one');
