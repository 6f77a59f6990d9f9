#!/usr/bin/perl

# HTTP/2 clients: translated, refused with a body, and gone while the token is being asked about.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy http_v2))->plan(40);

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;

    server {
        listen 127.0.0.1:8080%%LISTEN%%;
        %%H2%%

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
my @authorization = (headers => [Authorization => "Bearer $token"]);
$as->script($token, $as->jwt_answer($jwt));

# Miss and hit on one connection.

my $h2 = Test::Nginx::HTTP2->new();

for my $state (qw(miss hit)) {
    my $response = $h2->call('GET', "/$state", @authorization);
    is($response->status(), 200, $state);
    is($api->authorization($response), "Bearer $jwt", "$state: the JWT upstream");
}

is($as->questions($token), 1, 'one question');
is($h2->call('HEAD', '/', @authorization)->status(), 200, 'HEAD');
is($h2->call('HEAD', '/')->status(), 401, 'HEAD, refused');

# Refused with a body, next request on the same connection.

for my $size (1, 100, 70_000, 300_000) {
    for my $fresh (undef, token()) {
        my $name = (defined $fresh ? 'inactive' : 'no token') . ", body of $size";
        my @headers = defined $fresh ? (headers => [Authorization => "Bearer $fresh"]) : ();

        my $refused = $h2->request('POST', '/refused', @headers, body => 'x' x $size);
        my $next = $h2->request('GET', '/next', @authorization);
        is($h2->response($refused)->status(), 401, "$name: refused");
        like($h2->response($next)->body(), qr{^GET /next$}m, "$name: the next request");
    }
}

# Refused before the body has come.

my $stream = $h2->request('POST', '/refused', open => 1);
is($h2->response($stream)->status(), 401, 'refused at once');
$h2->data($stream, 'x' x 1_000, 1);
like($h2->call('GET', '/next', @authorization)->body(), qr{^GET /next$}m, 'refused at once: the next request');
is($api->count('/refused'), 0, 'nothing refused went upstream');

# Passed on.

for my $state (qw(miss hit)) {
    my $fresh = $state eq 'miss' ? token() : $token;
    $as->script($fresh, $as->jwt_answer($jwt));
    my $response = $h2->call('POST', '/', headers => [Authorization => "Bearer $fresh"], body => 'x' x 200_000);
    like($response->body(), qr/^body 200000 /m, "a body passed on, $state");
    is($api->authorization($response), "Bearer $jwt", "a body passed on, $state: the JWT upstream");
}

# Passed on, while the question is open.

my $held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1));
$stream = $h2->request('POST', '/', headers => [Authorization => "Bearer $held"], body => 'abc', open => 1);
$as->wait_for_question($held, 1);
$h2->data($stream, 'def', 0)->ping();
$as->release($held);
$h2->data($stream, 'ghi', 1);
like($h2->response($stream)->body(), qr/^body 9 /m, 'a body in pieces');

# Streams of one connection share a question.

sub streams {
    my ($connection, $count, $bearer) = @_;
    my @streams = map { $connection->request('GET', '/', headers => [Authorization => "Bearer $bearer"]) } 1 .. $count;
    $as->wait_for_question($bearer, 1);
    $connection->ping();
    return @streams;
}

$held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1));
my @streams = streams($h2, 20, $held);
$as->release($held);
is(scalar(grep { $api->authorization($h2->response($_)) eq "Bearer $jwt" } @streams), 20, 'all streams get the JWT');
is($as->questions($held), 1, 'and share one question');

# The stream whose request asks is cancelled.

$held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1));
@streams = streams($h2, 5, $held);
$h2->reset(shift @streams)->ping();
$as->release($held);
is(scalar(grep { $api->authorization($h2->response($_)) eq "Bearer $jwt" } @streams), 4,
    'a stream is cancelled, the others get the JWT');
is($as->questions($held), 1, 'a stream is cancelled: one question');

# All of them are.

$held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
$h2->reset($_) for streams($h2, 5, $held);
$h2->ping();
$as->release($held);
is($h2->call('GET', '/', headers => [Authorization => "Bearer $held"])->status(), 200, 'all streams are cancelled');
$h2->close();

# The connection is lost.

$held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1));
my $other = Test::Nginx::HTTP2->new();
my ($waiting) = streams($other, 1, $held);
my $lost = Test::Nginx::HTTP2->new();
streams($lost, 5, $held);
$lost->abort();
$other->ping();
$as->release($held);
is($api->authorization($other->response($waiting)), "Bearer $jwt", 'another connection is lost: JWT');
is($as->questions($held), 1, 'another connection is lost: one question');

# Again and again: nothing is left behind.

for (1 .. 20) {
    my $fresh = token();
    $as->script($fresh, $as->jwt_answer($jwt, hold => 1));
    my $gone = Test::Nginx::HTTP2->new();
    streams($gone, 3, $fresh);
    $gone->abort();
    $as->release($fresh);
}

is($other->call('GET', '/', @authorization)->status(), 200, 'after many such clients');
$other->close();
is(scalar(() = $t->read_file('error.log') =~ /start worker process \d+/g), 1, 'the worker lives');
