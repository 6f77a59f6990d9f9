#!/usr/bin/perl

# HTTP/3 clients that end one direction of a stream, lose their connection with many streams, or fall silent, while a
# token is being asked about; and a graceful quit. What HTTP/3 has in common with other protocols is in aborts.t.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP3;
use Test::Nginx::Pools;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx::HTTP3::prepare(28);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    ssl_certificate localhost.crt;
    ssl_certificate_key localhost.key;

    server {
        listen 127.0.0.2:%%PORT_8443%% quic;
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /barrier { phantom_token off; return 204; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # Gives up silent clients after a second.
    server {
        listen 127.0.0.2:%%PORT_8444%% quic;
        listen 127.0.0.1:8083;
        keepalive_timeout 1s;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $pools = $t->has_module('debug') ? Test::Nginx::Pools->new($t) : undef;

sub connect_h3 { return Test::Nginx::HTTP3->new(@_) }

sub get {
    my ($client, $uri, $token) = @_;
    return $client->request('GET', $uri, headers => [Authorization => "Bearer $token"]);
}

# Returns when the worker has taken up all that was sent before.
sub barrier { http_request('GET', '/barrier') for 1 .. 2; return }

# Streams of one connection: the first one asks a question, which is held back, the others wait for it.
sub asked {
    my ($client, $uri, $token, $count) = @_;
    my @streams = get($client, $uri, $token);
    $as->wait_for_question($token, 1);
    push @streams, map { get($client, $uri, $token) } 2 .. $count;
    # Datagrams are taken up one at a time, between connections: a barrier over TCP may overtake them.
    $client->ping();
    barrier();
    return @streams;
}

sub outcomes {
    my ($client, @streams) = @_;
    my @responses = map { $client->response($_) } @streams;
    return join ', ', sort map { join ' ', grep { defined } $_->status(), $_->header('Cache-Status') } @responses;
}

sub held {
    my $token = token();
    my $jwt = jwt();
    $as->script($token, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
    return $token;
}

my $h3 = connect_h3();

# One direction of a stream: RESET_STREAM (send), STOP_SENDING (receive).

for my $direction (qw(send receive)) {
    my $token = held();
    my @streams = asked($h3, '/', $token, 4);
    $h3->reset(shift @streams, $direction);
    barrier();
    $as->release($token);
    is(outcomes($h3, @streams), '200 WAIT, 200 WAIT, 200 WAIT', "$direction, the one who asks: the others are served");
    is($as->questions($token), 1, "$direction, the one who asks: one question");

    $token = held();
    @streams = asked($h3, '/', $token, 4);
    $h3->reset($_, $direction) for splice @streams, 1, 2;
    barrier();
    $as->release($token);
    is(outcomes($h3, @streams), '200 MISS, 200 WAIT', "$direction, some who wait: the others are served");
    is($as->questions($token), 1, "$direction, some who wait: one question");

    $token = held();
    $h3->reset($_, $direction) for asked($h3, '/', $token, 4);
    barrier();
    $as->release($token);
    ok(eventually(sub { $as->connections() == 0 }), "$direction, all: the question ends");
    is(outcomes($h3, get($h3, '/', $token)), '200 HIT', "$direction, all: the answer is kept");

    $token = held();
    my $posting = $h3->request('POST', '/posted',
        headers => [Authorization => "Bearer $token"], body => 'abc', open => 1);
    $as->wait_for_question($token, 1);
    @streams = map { get($h3, '/', $token) } 1 .. 2;
    barrier();
    $h3->reset($posting, $direction);
    barrier();
    $as->release($token);
    is(outcomes($h3, @streams), '200 WAIT, 200 WAIT', "$direction, with half a body: the others are served");
}

is($api->count('/posted'), 0, 'no half body goes upstream');

# A client that wants no response is gone; one that has reset what it sends may still want it.

for my $case (['receive', 0], ['send', 1]) {
    my ($direction, $is_served) = @$case;
    my $uri = "/held/$direction";
    my $token = held();
    $api->script($uri, { hold => 1 });
    my ($stream) = asked($h3, $uri, $token, 1);
    $as->release($token);
    $api->wait_for($uri, 1);
    $h3->reset($stream, $direction);
    barrier();

    if ($is_served) {
        $api->release($uri);
        is(outcomes($h3, $stream), '200 MISS', "$direction, while the API works: it is served");
    } else {
        ok(eventually(sub { $api->connections() == 0 }), "$direction, while the API works: NGINX hangs up on the API");
    }
}

# A connection with many streams is lost, the one who asks among them: a client of another one asks.

my $token = held();
my $lost = connect_h3();
asked($lost, '/', $token, 10);
my @waiting = map { get($h3, '/', $token) } 1 .. 2;
barrier();
$lost->close();
is(outcomes($h3, @waiting), '200 MISS, 200 WAIT', 'a connection is lost: the others are served');
is($as->questions($token), 2, 'a connection is lost: asked once more');

$token = held();
my ($asking) = asked($h3, '/', $token, 1);
$lost = connect_h3();
get($lost, '/', $token) for 1 .. 10;
barrier();
$lost->close();
barrier();
$as->release($token);
is(outcomes($h3, $asking), '200 MISS', 'a connection of those who wait is lost: the one who asks is served');
is($as->questions($token), 1, 'a connection of those who wait is lost: one question');

my @tokens = map { held() } 1 .. 30;
$lost = connect_h3();
get($lost, '/', $_) for @tokens;
$as->wait_for_question($_, 1) for @tokens;
$lost->close();
ok(eventually(sub { $as->connections() == 0 }), 'a connection with many questions is lost: they end');
is(outcomes($h3, map { get($h3, '/', $_) } @tokens), join(', ', ('200 MISS') x 30), 'and are asked again');

# A client falls silent.

$token = held();
my $silent = connect_h3(port => 8444);
asked($silent, '/', $token, 2);
my $patient = http_connection(port => 8083)->request('GET', '/', headers => [Authorization => "Bearer $token"]);
$silent->vanish();
is($patient->response()->header('Cache-Status'), 'MISS', 'a client falls silent: another one asks');
is($as->questions($token), 2, 'a client falls silent: asked once more');
$patient->close();

$_->close() for $h3, $lost;

SKIP: {
    skip 'no debug log', 1 unless $pools;
    is($pools->left(), 0, 'nothing is left in memory');
}

# Quit.

$h3 = connect_h3();
$token = held();
my @streams = asked($h3, '/', $token, 3);
my ($worker) = $t->workers();
$t->signal('QUIT');
$t->wait_for_log(qr/\[notice\] $worker#\d+: gracefully shutting down/);
$as->release($token);
is(outcomes($h3, @streams), '200 MISS, 200 WAIT, 200 WAIT', 'quit: the requests are served');
ok($t->wait_for_log(qr/worker process $worker exited with code 0$/m), 'quit: the worker exits');
