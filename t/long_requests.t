#!/usr/bin/perl

# A request that goes on after its verdict (WebSocket, server-sent events) holds no more memory when the server was asked
# than when the verdict was known, but for what NGINX itself keeps of a subrequest.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy));
plan(skip_all => 'no debug log') unless $t->has_module('debug');
$t->plan(12);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;

    server {
        listen 127.0.0.1:8080;
        location / { phantom_token on; add_header Connection-Number $connection always; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my @switch = (Upgrade => 'websocket', Connection => 'Upgrade', 'Sec-WebSocket-Accept' => 'whatever');
$api->script('/socket', { status => 101, headers => \@switch });

# NGINX says in its debug log what a connection takes, and what is given back.
sub held {
    my ($number) = @_;
    my %held;

    for my $line (split /\n/, $t->read_file('error.log')) {
        my ($client, $address, $size) = $line =~ /\*(\d+) (?:malloc|posix_memalign): ([0-9A-F]+):(\d+)/;
        if (defined $size) {
            $held{$address} = [$client, $size];
        } elsif ($line =~ /\bfree: ([0-9A-F]+)/) {
            delete $held{$1};
        }
    }

    my $sum = 0;
    $sum += $$_[1] for grep { $$_[0] == $number } values %held;
    return $sum;
}

# Opens a WebSocket, and returns it with the number that NGINX has given its connection.
sub long {
    my ($token) = @_;
    my $socket = http_connection();
    $socket->request('GET', '/socket',
        headers => [Upgrade => 'websocket', Connection => 'Upgrade', Authorization => "Bearer $token"]);
    my $response = $socket->response();
    is($response->status(), 101, 'a long request');
    return ($socket, $response->header('Connection-Number'));
}

# JSON is read with as much memory beside it.
my $jwt = jwt();
my %answer = (
    'a JWT' => $as->jwt_answer($jwt),
    'much JSON' => { status => 200, headers => ['Content-Type' => 'application/json'],
        body => qq({"active":true,"phantom_token":"$jwt","x":") . 'x' x 50_000 . '"}' },
);

for my $name (sort keys %answer) {
    my $token = token();
    $as->script($token, $answer{$name});
    my ($asked, $asked_number) = long($token);
    my ($known, $known_number) = long($token);
    is($as->questions($token), 1, "$name: one was asked about");
    my ($after_miss, $after_hit) = map { held($_) } $asked_number, $known_number;
    cmp_ok($after_hit, '>', 0, "$name: a hit holds something");
    # The buffer of the question's upstream, and its headers.
    cmp_ok($after_miss - $after_hit, '<', 20_000, "$name: a miss not much more");
    $_->close() for $asked, $known;
    ok(eventually(sub { held($asked_number) == 0 }), "$name: and nothing is left");
}
