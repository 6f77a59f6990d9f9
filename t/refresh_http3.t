#!/usr/bin/perl

# Background questions for clients of HTTP/3 and HTTP/2: what they say of the connection, a client that goes away
# meanwhile, and a reload while the connection is open.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx::HTTP2;
use Test::Nginx::HTTP3;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx::HTTP3::prepare(17, features => ['http_v2']);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 2s;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.2:%%PORT_8443%% quic;
        listen 127.0.0.1:8080;
        ssl_certificate localhost.crt;
        ssl_certificate_key localhost.key;
        http2 on;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect {
            internal;
            proxy_set_header X-Seen "$scheme $server_protocol $request_method $remote_addr $server_addr $server_port";
            proxy_set_header X-Session "$ssl_protocol $ssl_cipher $ssl_curve $ssl_session_id";
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my %client = (
    'HTTP/3' => Test::Nginx::HTTP3->new(),
    'HTTP/2' => Test::Nginx::HTTP2->new(),
);

sub get {
    my ($client, $token) = @_;
    return $client->response($client->request('GET', '/', headers => [Authorization => "Bearer $token"]));
}

my %scheme = ('HTTP/3' => 'https', 'HTTP/2' => 'http');
my %session = ('HTTP/3' => qr/^TLSv1\.3 TLS_\w+ \w/, 'HTTP/2' => qr/^ *$/);

for my $protocol (sort keys %client) {
    my $client = $client{$protocol};
    my $token = token();
    $as->script($token, $as->jwt_answer(jwt()), $as->jwt_answer(jwt(), hold => 1));
    is(get($client, $token)->header('Cache-Status'), 'MISS', "$protocol: asked");
    ok(eventually(sub { get($client, $token); return $as->questions($token) == 2 }), "$protocol: confirmed");
    is(get($client, $token)->header('Cache-Status'), 'HIT', "$protocol: hits go on");
    my ($first, $second) = map { scalar $as->header($_, 'X-Seen') } $as->requests($token);
    like($first, qr/^$scheme{$protocol} $protocol\.0 GET 127/, "$protocol: what the first question says");
    is($second, $first, "$protocol: and the second");
    my ($asked, $confirmed) = map { scalar $as->header($_, 'X-Session') } $as->requests($token);
    like($asked, $session{$protocol}, "$protocol: the TLS session");
    is($confirmed, $asked, "$protocol: also by the second");
    $as->release($token);
}

# The client goes, and the worker is replaced, while a background question is under way.

my ($gone, $open) = (token(), token());
$as->script($_, $as->jwt_answer(jwt()), $as->jwt_answer(jwt(), hold => 1)) for $gone, $open;
my $leaving = Test::Nginx::HTTP3->new();
get($leaving, $gone);
get($client{'HTTP/3'}, $open);
ok(eventually(sub {
    get($leaving, $gone) if $as->questions($gone) < 2;
    get($client{'HTTP/3'}, $open);
    return $as->questions($gone) == 2 && $as->questions($open) == 2;
}), 'under way for two clients');
my ($worker) = $t->workers();
$leaving->close();
$t->reload();
$as->release($_) for $gone, $open;
ok($t->wait_for_log(qr/worker process $worker exited with code 0$/m), 'the old worker exits');
unlike($t->read_file('error.log'), qr/open socket/, 'no connection is left');
