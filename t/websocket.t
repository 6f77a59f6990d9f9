#!/usr/bin/perl

# WebSocket (RFC 6455): the handshake is a request like any other, refused or translated; behind it the bytes are the
# client's and the API's.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::SHA qw(sha1);
use MIME::Base64 qw(encode_base64);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy map))->plan(34);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;

    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;

    server {
        listen 127.0.0.1:8080;

        location /header { phantom_token on; proxy_pass http://127.0.0.1:8082; }

        # A browser's script cannot set Authorization, but its handshake carries cookies.
        location /cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $key = encode_base64('a key of 16 byte', '');
my $accept = encode_base64(sha1($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'), '');
my @switch = (Upgrade => 'websocket', Connection => 'Upgrade', 'Sec-WebSocket-Accept' => $accept,
    'Sec-WebSocket-Protocol' => 'chat');
my @handshake = (Upgrade => 'websocket', Connection => 'keep-alive, Upgrade', 'Sec-WebSocket-Key' => $key,
    'Sec-WebSocket-Version' => 13, 'Sec-WebSocket-Protocol' => 'chat, superchat', Origin => 'https://client.example');

$api->script("/$_", { status => 101, headers => \@switch }) for qw(header cookie);

my $jwt = jwt();

sub known {
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt, @_));
    return $token;
}

sub credentials {
    my ($uri, $token) = @_;
    return $uri eq '/cookie' ? (Cookie => "a=b; session=$token") : (Authorization => "Bearer $token");
}

# A text frame, masked as a client's has to be.
sub frame {
    my ($text) = @_;
    my $masked = $text ^ substr 'mask' x (1 + length($text) / 4), 0, length $text;
    return pack('CC n', 0x81, 0xfe, length $text) . "mask$masked";
}

for my $uri ('/header', '/cookie') {
    my $token = known();

    for my $state (qw(miss hit)) {
        my $name = "$uri, $state";
        my $connection = http_connection();
        $connection->request('GET', $uri, headers => [@handshake, credentials($uri, $token)]);
        my $response = $connection->response();
        is($response->status(), 101, "$name: switched");
        is(join(' ', map { $response->header($_) } qw(Sec-WebSocket-Accept Sec-WebSocket-Protocol)), "$accept chat",
            "$name: the answer of the API");

        my $request = $api->last_request();
        is($api->header($request, 'Authorization') eq "Bearer $jwt", 1, "$name: the JWT upstream");
        unlike($request->{head}, qr/\Q$token/, "$name: not the token");
        is(join(' ', map { $api->header($request, $_) } qw(Upgrade Connection Sec-WebSocket-Key
            Sec-WebSocket-Version Sec-WebSocket-Protocol Origin)),
            "websocket upgrade $key 13 chat, superchat https://client.example", "$name: the handshake upstream");

        # The API sends back what it gets.
        my $frames = join '', map { frame(chr(97 + $_) x 60_000) } 0 .. 4;
        is($connection->send($frames)->read_bytes(length $frames) eq $frames, 1, "$name: frames both ways");
        $connection->close();
    }
}

# Who is refused gets a response, and the connection stays one of HTTP.

my $token = known();

for my $bearer (undef, token()) {
    my $name = defined $bearer ? 'inactive' : 'no token';
    my $connection = http_connection();
    my $before = $api->count('/header');
    $connection->request('GET', '/header',
        headers => [@handshake, defined $bearer ? (Authorization => "Bearer $bearer") : ()]);
    my $response = $connection->response();
    is($response->status(), 401, "$name: refused");
    like($response->header('WWW-Authenticate'), qr/^Bearer /, "$name: the challenge");
    is($api->count('/header'), $before, "$name: not upstream");
    $connection->request('GET', '/header', headers => [@handshake, Authorization => "Bearer $token"]);
    is($connection->response()->status(), 101, "$name: and then with a token");
    $connection->close();
}

# Bytes that come before the answer wait for it.

my $held = known(hold => 1);
my $connection = http_connection();
$connection->request('GET', '/header', headers => [@handshake, Authorization => "Bearer $held"]);
$connection->send(frame('early'));
$as->wait_for_question($held, 1);
$as->release($held);
is($connection->response()->status(), 101, 'bytes before the answer: switched');
is($connection->read_bytes(length frame('early')), frame('early'), 'bytes before the answer: arrive behind it');
$connection->close();
