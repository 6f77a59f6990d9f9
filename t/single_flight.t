#!/usr/bin/perl

# Requests for one token that come while it is being asked about share the question, its answer and its failure;
# also if the answer may not be cached, and if the client whose request asks goes away.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(61);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
worker_rlimit_nofile 4096;
events { worker_connections 2048; }
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080 backlog=1024;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /obey { phantom_token_cache_control obey; proxy_pass http://127.0.0.1:8082; }
        location /off { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /impatient { phantom_token_lock_timeout 1s; proxy_pass http://127.0.0.1:8082; }
        location /uncached {
            phantom_token_lock_timeout 1s;
            phantom_token_cache_max_ttl 0;
            proxy_pass http://127.0.0.1:8082;
        }
        location /few {
            phantom_token_lock_timeout 1s;
            phantom_token_max_introspections 2;
            proxy_pass http://127.0.0.1:8082;
        }
        location /timeout {
            phantom_token_introspection_endpoint /introspect_timeout;
            proxy_pass http://127.0.0.1:8082;
        }
        location /bound { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        location = /barrier { phantom_token off; return 204; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_timeout {
            internal;
            proxy_read_timeout 500ms;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# Sends a request without waiting for its response.
sub start {
    my ($uri, $token) = @_;
    return http_connection()->request('GET', $uri,
        headers => [Authorization => "Bearer $token", Connection => 'close']);
}

# Returns when the worker has taken up all requests sent before: it accepts connections, and turns to those
# that have bytes, in their order.
sub barrier {
    http_request('GET', '/barrier') for 1 .. 2;
    return;
}

# Sends so many requests and returns them when they all wait for the one question, which is held back.
sub waiting {
    my ($count, $uri, $token) = @_;
    my @requests = start($uri, $token);
    $as->wait_for_question($token, 1);
    push @requests, map { start($uri, $token) } 2 .. $count;
    barrier();
    return @requests;
}

# The responses, counted: { '200 MISS' => 1, ... }
sub outcomes {
    my (@requests) = @_;

    my %outcomes;

    for my $request (@requests) {
        my $response = $request->response();
        $outcomes{ join ' ', grep { length } $response->status(), $response->header('Cache-Status') // '',
            $response->header('Slug') // '' }++;
        $request->close();
    }

    return \%outcomes;
}

# How many of the requests to the API carried this JWT.
sub delivered {
    my ($jwt) = @_;
    return scalar grep { ($api->header($_, 'Authorization') // '') eq "Bearer $jwt" } $api->requests();
}

# 500 simultaneous requests.

my ($token, $jwt) = (token(), jwt(size => 1_200));
$as->script($token, $as->jwt_answer($jwt, hold => 1));
my @requests = waiting(500, '/', $token);
is($as->questions($token), 1, '500 requests, one question');
is($api->count(), 0, 'which all wait for its answer');
is($as->release($token), 1, 'released');
is_deeply(outcomes(@requests), { '200 MISS' => 1, '200 WAIT' => 499 }, 'all get the verdict');
is($as->questions($token), 1, 'and there was one question');
is(delivered($jwt), 500, 'all take the JWT upstream');
is(call('/', $token)->header('Cache-Status'), 'HIT', 'it is cached');

# An answer that may not be cached is shared all the same.

for my $case (
    ['/obey', headers => ['Cache-Control' => 'no-store']],
    ['/off'],
) {
    my ($uri, %fields) = @$case;
    ($token, $jwt) = (token(), jwt());
    $as->script($token, $as->jwt_answer($jwt, hold => 1, %fields), $as->jwt_answer($jwt, %fields));
    @requests = waiting(20, $uri, $token);
    $as->release($token);
    my $outcomes = outcomes(@requests);
    is(scalar(grep { !/^200 / } keys %$outcomes), 0, "$uri: all get the verdict");
    is(delivered($jwt), 20, "$uri: all take the JWT upstream");
    is($as->questions($token), 1, "$uri: one question");
    is(call($uri, $token)->status(), 200, "$uri: afterwards");
    is($as->questions($token), 2, "$uri: asked again");
}

# A verdict against the token is shared.

$token = token();
$as->script($token, $as->inactive_answer(hold => 1));
@requests = waiting(20, '/', $token);
$as->release($token);
is_deeply(outcomes(@requests), { '401 MISS inactive' => 1, '401 WAIT inactive' => 19 }, 'inactive for all');
is($as->questions($token), 1, 'inactive: one question');

# A failure is shared, and only by those that waited.

for my $case (
    [{ hold => 1, status => 500 }, '502', 'server_unreachable'],
    [{ hold => 1, status => 401 }, '502', 'server_refused_us'],
    [{ hold => 1, reset => 1 }, '502', 'server_unreachable'],
    [{ hold => 1, status => 429, headers => ['Retry-After' => 3] }, '503', 'server_busy'],
) {
    my ($answer, $status, $slug) = @$case;
    ($token, $jwt) = (token(), jwt());
    $as->script($token, $answer, $as->jwt_answer($jwt));
    @requests = waiting(5, '/', $token);
    $as->release($token);
    is_deeply(outcomes(@requests), { "$status MISS $slug" => 1, "$status WAIT $slug" => 4 }, "$slug for all");
    is($as->questions($token), 1, "$slug: one question");
    is(call('/', $token)->status(), 200, "$slug: the next request asks again");
}

$token = token();
$as->script($token, { hold => 1 });
is_deeply(outcomes(waiting(5, '/timeout', $token)),
    { '504 MISS server_timeout' => 1, '504 WAIT server_timeout' => 4 }, 'a timeout for all');

# The client whose request asks goes away.

($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, hold => 1));
@requests = waiting(10, '/', $token);
(shift @requests)->abort();
barrier();
$as->release($token);
is_deeply(outcomes(@requests), { '200 WAIT' => 9 }, 'the others get its answer');
is($as->questions($token), 1, 'and nobody asks again');
is(call('/', $token)->header('Cache-Status'), 'HIT', 'it is cached');

# Clients that wait go away.

($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, hold => 1));
@requests = waiting(10, '/', $token);
$_->abort() for splice @requests, 1, 8;
barrier();
$as->release($token);
is_deeply(outcomes(@requests), { '200 MISS' => 1, '200 WAIT' => 1 }, 'those that stay get the answer');

# All of them go away.

($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
$_->abort() for waiting(10, '/', $token);
barrier();
$as->release($token);
is(call_until(sub { $_[0]->status() == 200 }, '/', $token)->status(), 200, 'nobody left: the next request is served');

# Whoever waits too long is told so; the question goes on.

($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, hold => 1));
my $first = start('/', $token);
$as->wait_for_question($token, 1);
my $response = call('/impatient', $token);
is($response->status() . ' ' . $response->header('Slug'), '503 overload', 'lock_timeout');
is($response->header('Retry-After'), '1', 'lock_timeout: Retry-After');
$as->release($token);
is_deeply(outcomes($first), { '200 MISS' => 1 }, 'lock_timeout: the one that asks gets its answer');

# A question that is late holds up only those who have waited: the next request asks. The late answer is for who asked,
# and does not take the place of the later one.

my ($late_jwt, @late) = (jwt());
($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($late_jwt, hold => 1), $as->jwt_answer($jwt));
@late = waiting(1, '/impatient', $token);
is(call('/impatient', $token)->status(), 503, 'late: who has waited is refused');
is($api->authorization(call('/', $token)), "Bearer $jwt", 'late: the next one asks');
is($as->questions($token), 2, 'late: two questions');
is(call('/', $token)->header('Cache-Status'), 'HIT', 'late: the answer is known');
$as->release($token);
is_deeply(outcomes(@late), { '200 MISS' => 1 }, 'late: the first one is answered');
is(delivered($late_jwt), 1, 'late: with what it asked for');
is($api->authorization(call('/', $token)), "Bearer $jwt", 'late: the later answer stays');
is($as->questions($token), 2, 'late: and nobody has asked again');

# Nor does one that may not be kept.

my $stays = token();
$as->script($stays, $as->jwt_answer($late_jwt, hold => 1), $as->jwt_answer($jwt));
@late = waiting(1, '/uncached', $stays);
is(call('/uncached', $stays)->status(), 503, 'late, not kept: who has waited is refused');
is(call('/', $stays)->status(), 200, 'late, not kept: the next one asks');
$as->release($stays);
is_deeply(outcomes(@late), { '200 MISS' => 1 }, 'late, not kept: the first one is answered');
is(call('/', $stays)->header('Cache-Status'), 'HIT', 'late, not kept: the later answer stays');

# Those who wait share what is asked anew, and late questions count for what may be asked.

($token, $jwt) = (token(), jwt());
$as->script($token, ($as->jwt_answer($jwt, hold => 1)) x 2, $as->jwt_answer($jwt));
@late = waiting(1, '/few', $token);
is(call('/few', $token)->status(), 503, 'late again: who has waited is refused');
push @late, start('/few', $token);
$as->wait_for_question($token, 2);
is(call('/few', $token)->status(), 503, 'late again: so is who has waited for the second one');
$response = call('/few', $token);
is($response->status() . ' ' . $response->header('Slug'), '503 overload', 'late again: no third one');
is($as->questions($token), 2, 'late again: where two are allowed');
$as->release($token) for 1 .. 2;
is_deeply(outcomes(@late), { '200 MISS' => 2 }, 'late again: both are answered at last');

# Those that share a question keep the rules of their own location.

($token, $jwt) = (token(), jwt(claims => { cnf => { jkt => 'x' } }));
$as->script($token, $as->jwt_answer($jwt, hold => 1));
@requests = waiting(1, '/bound', $token);
push @requests, start('/', $token);
barrier();
$as->release($token);
is_deeply(outcomes(@requests), { '200 MISS' => 1, '401 WAIT binding' => 1 }, 'each by its own rules');

# Different tokens do not wait for each other.

($token, $jwt) = (token(), jwt());
my $other = token();
$as->script($token, $as->jwt_answer($jwt, hold => 1));
$as->script($other, $as->jwt_answer(my $other_jwt = jwt()));
$first = start('/', $token);
$as->wait_for_question($token, 1);
is($api->authorization(call('/', $other)), "Bearer $other_jwt", 'another token passes meanwhile');
$as->release($token);
is_deeply(outcomes($first), { '200 MISS' => 1 }, 'and then the first');
is(delivered($jwt), 1, 'with its own JWT');
