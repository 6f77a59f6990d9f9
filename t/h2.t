#!/usr/bin/perl

# HTTP/2 clients: translated, refused with a body, and gone while the token is being asked about.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2 qw(h2_abort h2_available h2_requests h2_start);
use Test::PhantomToken;

plan(skip_all => 'no curl with HTTP/2') unless h2_available();

my $t = Test::Nginx->new()->has(qw(http proxy http_v2))->plan(35);

my ($listen, $h2) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$h2/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080%%LISTEN%%;
        %%H2%%

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8084;

        location / { phantom_token off; return 204; }
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

my @results = h2_requests(map { { uri => "/$_", @authorization } } 1, 2);
is($results[0]{response}->status(), 200, 'miss');
is($results[0]{response}->header('Cache-Status'), 'MISS', 'miss: status');
is($api->authorization($results[0]{response}), "Bearer $jwt", 'miss: the JWT upstream');
is($results[1]{response}->header('Cache-Status'), 'HIT', 'hit: status');
is($api->authorization($results[1]{response}), "Bearer $jwt", 'hit: the JWT upstream');
ok($results[1]{reused}, 'on one connection');

# Refused with a body, next request on the same connection.

for my $size (1, 100, 70_000, 300_000) {
    @results = h2_requests(
        { method => 'POST', uri => '/refused', body => 'x' x $size },
        { uri => '/next', @authorization },
    );
    is($results[0]{response}->status(), 401, "refused with a body of $size");
    is($results[0]{response}->header('WWW-Authenticate'), 'Bearer realm="api"', "challenge, body of $size");
    like($results[1]{response}->body(), qr{^GET /next$}m, "the next request, body of $size");
}

is($api->count('/refused'), 0, 'nothing refused went upstream');

# Refused after a question.

@results = h2_requests(
    { method => 'POST', uri => '/refused', body => 'x' x 100_000, headers => [Authorization => 'Bearer ' . token()] },
    { uri => '/next', @authorization },
);
is($results[0]{response}->status(), 401, 'refused after a question');
like($results[1]{response}->body(), qr{^GET /next$}m, 'refused after a question: the next request');

# Passed on.

for my $state (qw(miss hit)) {
    my $fresh = $state eq 'miss' ? token() : $token;
    $as->script($fresh, $as->jwt_answer($jwt));
    @results = h2_requests({ method => 'POST', uri => '/', body => 'x' x 200_000,
        headers => [Authorization => "Bearer $fresh"] });
    like($results[0]{response}->body(), qr/^body 200000 /m, "a body passed on, $state");
    is($api->authorization($results[0]{response}), "Bearer $jwt", "a body passed on, $state: the JWT upstream");
}

@results = h2_requests({ method => 'HEAD', uri => '/', @authorization }, { method => 'HEAD', uri => '/' });
is($results[0]{response}->status(), 200, 'HEAD');
is($results[1]{response}->status(), 401, 'HEAD, refused');

# Streams of one connection share a question; the client goes away, another one gets the answer.

my $held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1));
my $client = h2_start(10, { uri => '/aborted', headers => [Authorization => "Bearer $held"] });
$as->wait_for_question($held, 1);

h2_abort($client);
http_request('GET', '/', port => 8084) for 1 .. 2;
$as->release($held);

@results = h2_requests({ uri => '/', headers => [Authorization => "Bearer $held"] });
is($results[0]{response}->status(), 200, 'after the client has gone: served');
is($api->authorization($results[0]{response}), "Bearer $jwt", 'after the client has gone: the JWT upstream');
is($as->questions($held), 1, 'after the client has gone: one question');

# Again and again: nothing is left behind.

for (1 .. 20) {
    my $fresh = token();
    $as->script($fresh, $as->jwt_answer($jwt, hold => 1));
    $client = h2_start(3, { uri => '/aborted', headers => [Authorization => "Bearer $fresh"] });
    $as->wait_for_question($fresh, 1);
    h2_abort($client);
    $as->release($fresh);
}

@results = h2_requests({ uri => '/', @authorization });
is($results[0]{response}->status(), 200, 'after many such clients');
is(scalar($t->workers()), 1, 'the worker lives');
is($t->read_file('error.log') =~ /exited on signal/, '', 'and always did');
