#!/usr/bin/perl

# limit_req and limit_conn: beside us they come first, and cause no question; in the introspection location they
# protect the authorization server, and a client that meets them is told to come again.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy limit_req limit_conn))->plan(44);

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

    # "rare" allows no second request as long as this test lasts, "frequent" delays it a little.
    limit_req_zone x$uri zone=rare:1m rate=1r/m;
    limit_req_zone x$uri zone=frequent:1m rate=20r/s;
    limit_conn_zone x$uri zone=connections:1m;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }

        # Beside us.
        location /rare { limit_req zone=rare; proxy_pass http://127.0.0.1:8082; }
        location /rare_status { limit_req zone=rare; limit_req_status 429; proxy_pass http://127.0.0.1:8082; }
        location /delayed { limit_req zone=frequent burst=5; proxy_pass http://127.0.0.1:8082; }
        location /connections { limit_conn connections 1; proxy_pass http://127.0.0.1:8082; }

        # In the introspection location.
        location /asks_rarely {
            phantom_token_introspection_endpoint /introspect_rarely;
            proxy_pass http://127.0.0.1:8082;
        }
        location /asks_rarely_429 {
            phantom_token_introspection_endpoint /introspect_rarely_429;
            proxy_pass http://127.0.0.1:8082;
        }
        location /asks_one_by_one {
            phantom_token_introspection_endpoint /introspect_one_by_one;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_rarely { internal; limit_req zone=rare nodelay; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_rarely_429 {
            internal;
            limit_req zone=rare nodelay;
            limit_req_status 429;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_one_by_one {
            internal;
            limit_conn connections 1;
            proxy_pass http://127.0.0.1:8081;
        }
    }

    # On the server's level, and so in the introspection location as well: a request is counted once.
    server {
        listen 127.0.0.1:8083;

        limit_req zone=frequent burst=5;
        limit_conn connections 1;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $jwt = jwt();

sub known {
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt, @_));
    return $token;
}

sub outcome {
    my ($response) = @_;
    return join ' ', grep { defined } $response->status(), map { $response->header($_) } qw(Cache-Status Slug);
}

# Sends a request without waiting for its response.
sub start {
    my ($uri, $token, %args) = @_;
    return http_connection(%args)->request('GET', $uri,
        headers => [Authorization => "Bearer $token", Connection => 'close']);
}

# limit_req beside us.

for my $case (['/rare', 503], ['/rare_status', 429]) {
    my ($uri, $status) = @$case;

    is(outcome(call($uri, known())), '200 MISS', "$uri, first");

    my $questions = $as->questions();
    my $response = call($uri, known());
    is(outcome($response), $status, "$uri, second: NGINX's own status, no slug");
    is($response->header('WWW-Authenticate'), undef, "$uri, second: no challenge");
    is(outcome(call($uri)), $status, "$uri, without a token");
    is($as->questions(), $questions, "$uri: not asked");
}

# limit_req that delays: each is asked about when its time has come.

my @delayed = map { start('/delayed', known()) } 1 .. 4;

for my $connection (@delayed) {
    my $response = $connection->response();
    is(outcome($response), '200 MISS', 'delayed');
    is($api->authorization($response), "Bearer $jwt", 'delayed: the JWT upstream');
    $connection->close();
}

# limit_conn beside us: a request that waits for its verdict counts.

my $first = known(hold => 1);
my $asking = start('/connections', $first);
$as->wait_for_question($first, 1);
my $questions = $as->questions();
is(outcome(call('/connections', known())), 503, 'limit_conn, second');
is($as->questions(), $questions, 'limit_conn, second: not asked');
$as->release($first);
is(outcome($asking->response()), '200 MISS', 'limit_conn, first');
$asking->close();
is(call_until(sub { $_[0]->status() == 200 }, '/connections', $first)->header('Cache-Status'), 'HIT',
    'limit_conn, afterwards');

# limit_req in the introspection location: junk is kept from the authorization server, hits are not touched.

my $hit = known();
is(outcome(call('/asks_rarely', $hit)), '200 MISS', 'limit_req of questions, first');
$questions = $as->questions();
my $response = call('/asks_rarely', token());
is(outcome($response), '503 MISS server_busy', 'limit_req of questions, second');
is($response->header('WWW-Authenticate'), undef, 'limit_req of questions, second: no challenge');
is($as->questions(), $questions, 'limit_req of questions, second: not asked');
is(outcome(call('/asks_rarely', $hit)), '200 HIT', 'limit_req of questions: what is known passes');
is(outcome(call('/asks_rarely')), '401 no_credentials', 'limit_req of questions: no token');

my $later = known();
is(outcome(call('/asks_rarely', $later)), '503 MISS server_busy', 'limit_req of questions: a valid token');
is(outcome(call('/', $later)), '200 MISS', 'limit_req of questions: is not held against it');

call('/asks_rarely_429', known());
is(outcome(call('/asks_rarely_429', known())), '503 MISS server_busy', 'limit_req of questions, its 429');

# limit_conn in the introspection location: one question at a time.

$first = known(hold => 1);
$asking = start('/asks_one_by_one', $first);
$as->wait_for_question($first, 1);
my $waiting = start('/asks_one_by_one', $first);
my $second = known();
is(outcome(call('/asks_one_by_one', $second)), '503 MISS server_busy', 'limit_conn of questions, second');
is($as->questions($second), 0, 'limit_conn of questions, second: not asked');
$as->release($first);
is(outcome($asking->response()), '200 MISS', 'limit_conn of questions, first');
is($waiting->response()->status(), 200, 'limit_conn of questions: who waits is not limited');
$_->close() for $asking, $waiting;
is(call_until(sub { $_[0]->status() == 200 }, '/asks_one_by_one', $second)->status(), 200,
    'limit_conn of questions, afterwards');

# Both on the server's level.

my $kept = known();

for my $case (['/one', $kept, 'MISS'], ['/one', $kept, 'HIT'], ['/two', known(), 'MISS']) {
    my ($uri, $token, $status) = @$case;
    my $response = call_until(sub { $_[0]->status() == 200 }, $uri, $token, port => 8083);
    is(outcome($response), "200 $status", "server-wide limits, $uri, $status");
    is($api->authorization($response), "Bearer $jwt", "server-wide limits, $uri, $status: the JWT upstream");
}

$first = known(hold => 1);
$asking = start('/three', $first, port => 8083);
$as->wait_for_question($first, 1);
is(outcome(call('/three', known(), port => 8083)), 503, 'server-wide limit_conn, second');
$as->release($first);
is(outcome($asking->response()), '200 MISS', 'server-wide limit_conn, first');
$asking->close();
