#!/usr/bin/perl

# Several workers: one question per token and machine, a bound on the questions in flight, and workers that die.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(62);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events { accept_mutex on; accept_mutex_delay 5ms; }
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Error $phantom_token_error always;
    add_header Worker $pid always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache_max_ttl 0; proxy_pass http://127.0.0.1:8082; }
        location /uncached.txt { phantom_token_cache_max_ttl 0; root %%TESTDIR%%; }
        location /impatient { phantom_token_lock_timeout 300ms; proxy_pass http://127.0.0.1:8082; }
        location /patient { phantom_token_lock_timeout 2s; proxy_pass http://127.0.0.1:8082; }
        location /few { phantom_token_max_introspections 2; proxy_pass http://127.0.0.1:8082; }
        location /failing {
            phantom_token_introspection_endpoint /introspect?failing;
            proxy_pass http://127.0.0.1:8082;
        }
        location /busy {
            phantom_token_introspection_endpoint /introspect?busy;
            proxy_pass http://127.0.0.1:8082;
        }
        location /own-trouble {
            phantom_token_introspection_endpoint /introspect?own;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /none { phantom_token off; return 204; }

        location = /introspect {
            internal;
            proxy_set_header Worker $pid;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

$t->write_file('uncached.txt', 'A file: who asks for it again need not wait for the API.');

my $as = authorization_server($t);
my $api = api($t);
$t->run();
$t->wait_for_workers(2);

# A connection to each worker, which stays with it.
sub to_each_worker {
    my %connections;

    for (1 .. 1_000) {
        my $connection = http_connection();
        $connection->request('GET', '/none');
        my $worker = $connection->response()->header('Worker');
        if ($connections{$worker}) { $connection->close() } else { $connections{$worker} = $connection }
        last if keys %connections == 2;
    }

    return %connections;
}

sub ask {
    my ($connection, $token, $uri) = @_;
    $connection->request('GET', $uri // '/', headers => [Authorization => "Bearer $token"]);
    return;
}

sub outcome {
    my ($response) = @_;
    return join ' ', $response->status(), grep { defined } map { $response->header($_) } qw(Cache-Status Error);
}

my %worker = to_each_worker();
my ($first, $second) = values %worker;
is(scalar(keys %worker), 2, 'two workers');

# Another one to the second worker, which says when that has taken up what was sent before.

my ($worker_of_second) = grep { $worker{$_} == $second } keys %worker;
my $third = http_connection();
for (1 .. 1_000) {
    last if $third->request('GET', '/none')->response()->header('Worker') eq $worker_of_second;
    $third->close();
    $third = http_connection();
}

sub barrier { return map { $third->request('GET', '/none')->response()->status() } 1, 2 }

# One question for both workers.

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, hold => 1));
ask($first, $token);
$as->wait_for_question($token);
ask($second, $token);
my @more = map { http_connection() } 1 .. 20;
ask($_, $token) for @more;
is($_, 204, 'nobody is held up') for barrier();
$as->release($token);
my @responses = map { $_->response() } $first, $second, @more;
is(outcome($responses[0]), '200 MISS', 'who asked');
is(outcome($responses[1]), '200 WAIT', 'who waited in the other worker');
is(scalar(grep { $_->status() == 200 && $api->authorization($_) eq "Bearer $jwt" } @responses), 22, 'all have the JWT');
is($as->questions($token), 1, 'one question');
$_->close() for @more;

# A failure is for those who waited, not for those who come later.

my $failed = token();
$as->script($failed, { status => 503, headers => ['Retry-After' => 17], hold => 1 }, $as->jwt_answer($jwt));
ask($first, $failed);
$as->wait_for_question($failed);
ask($second, $failed);
barrier();
$as->release($failed);
@responses = map { $_->response() } $first, $second;
is(join(', ', map { outcome($_) } @responses), '503 MISS server_busy, 503 WAIT server_busy', 'both learn of the failure');
is(join(', ', map { $_->header('Retry-After') } @responses), '17, 17', 'with what the server says of it');
is($as->questions($failed), 1, 'one question');
is(outcome(call('/', $failed)), '200 MISS', 'the next one asks');

# Not even in the other worker, before that has looked.

for my $round (1 .. 3) {
    my $once = token();
    $as->script($once, { status => 503, hold => 1 }, $as->jwt_answer($jwt));
    ask($first, $once);
    $as->wait_for_question($once);
    ask($second, $once);
    barrier();
    # The looks are 8 ms apart by then.
    $as->release($once);
    is(outcome($first->response()), '503 MISS server_busy', "round $round: a failure");
    ask($third, $once);
    is(outcome($third->response()), '200 MISS', "round $round: not for who comes right after");
    is(outcome($second->response()), '503 WAIT server_busy', "round $round: for who waited");
}

# A verdict that may not be kept: each worker asks for those who wait there.

my $uncached = token();
$as->script($uncached, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
ask($first, $uncached, '/uncached');
$as->wait_for_question($uncached);
ask($second, $uncached, '/uncached');
barrier();
$as->release($uncached);
is(join(', ', map { outcome($_->response()) } $first, $second), '200 MISS, 200 MISS', 'not kept: both are served');
is($as->questions($uncached), 2, 'not kept: by two questions');

# Nor does a worker wait for one question of a busier one after the other.

for my $round (1 .. 3) {
    my $busy = token();
    $as->script($busy, ($as->jwt_answer($jwt, hold => 1)) x 2, $as->jwt_answer($jwt));
    ask($first, $busy, '/uncached.txt') for 1, 2;
    $as->wait_for_question($busy);
    ask($second, $busy, '/uncached.txt');
    barrier();
    $as->release($busy);
    # Most often the first one asks again before.
    my $asks = sub { return grep { $as->header($_, 'Worker') eq $worker_of_second } $as->requests($busy) };
    ok(eventually(sub { return $asks->() == 1 }), "not kept, round $round: the second worker asks");
    $as->release($busy);
    is(join(', ', map { outcome($_->response()) } $first, $first, $second), join(', ', ('200 MISS') x 3),
        "not kept, round $round: all are served");
}

# An asker that is late is replaced.

my $late = token();
$as->script($late, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
ask($first, $late, '/impatient');
$as->wait_for_question($late);
ask($second, $late);
is(outcome($second->response()), '200 MISS', 'who waits for a late one asks');
$as->release($late);
is(outcome($first->response()), '200 MISS', 'the late answer is good for who asked');
is($as->questions($late), 2, 'two questions');

# Who waits for it in its own worker is served by what the other one has learned meanwhile.

my $stuck = token();
$as->script($stuck, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
ask($second, $stuck, '/impatient');
$as->wait_for_question($stuck);
ask($third, $stuck, '/patient');
is(outcome($first->request('GET', '/', headers => [Authorization => "Bearer $stuck"])->response()), '200 MISS',
    'the other worker asks');
is(outcome($third->response()), '200 WAIT', 'at the end of a wait what is known by then counts');
$as->release($stuck);
is(outcome($second->response()), '200 MISS', 'and who asked is served at last');

my $slow = token();
$as->script($slow, $as->jwt_answer($jwt, hold => 1));
ask($first, $slow);
$as->wait_for_question($slow);
ask($second, $slow, '/impatient');
is(outcome($second->response()), '503 WAIT overload', 'nobody waits longer than the own location says');
$as->release($slow);
is(outcome($first->response()), '200 MISS', 'who asked is answered');
is($as->questions($slow), 1, 'one question');

# The questions in flight are bounded.

my @held = map { token() } 1 .. 2;
my ($known, $beyond) = (token(), token());
$as->script($_, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt)) for @held;
$as->script($_, $as->jwt_answer($jwt)) for $known, $beyond;
call('/few', $known);
my @asking = ($first, $second);
ask($asking[$_], $held[$_], '/few') for 0, 1;
$as->wait_for_question($_) for @held;
my $response = call('/few', $beyond);
is($response->status() . ' ' . $response->header('Error'), '503 overload', 'beyond the bound');
is($response->header('Retry-After'), 1, 'told when to try again');
is(outcome(call('/few', $known)), '200 HIT', 'hits are not bounded');
is($as->questions($beyond), 0, 'the server was not asked');
$as->release($held[0]);
is(outcome($asking[0]->response()), '200 MISS', 'one is answered');
is(outcome(call('/few', $beyond)), '200 MISS', 'and another one can be asked');
$as->release($held[1]);
is(outcome($asking[1]->response()), '200 MISS', 'the other one is answered');

# A worker that dies with questions: those in the other one go on, and the bound is not used up.

my ($orphan, @orphans) = map { token() } 1 .. 3;
$as->script($_, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt)) for $orphan, @orphans;
ask($first, $orphan, '/few');
$as->wait_for_question($orphan);
my ($victim) = grep { $worker{$_} == $first } keys %worker;
is($as->header($as->last_request($orphan), 'Worker'), $victim, 'the worker that asks');
ask($second, $orphan, '/few');
is($_, 204, 'the other one waits') for barrier();
$t->expect_alerts(qr/worker process $victim exited on signal 9/);
kill KILL => $victim;
$response = $second->response();
is(outcome($response), '200 MISS', 'one who waited asks instead');
is($api->authorization($response), "Bearer $jwt", 'with the JWT');
is($as->questions($orphan), 2, 'two questions');
$t->wait_for_workers(2);
is(outcome(call('/few', $_)) =~ /^200/ ? 1 : 0, 1, 'the dead one\'s questions do not count') for do {
    my @tokens = map { token() } 1 .. 3;
    $as->script($_, $as->jwt_answer($jwt)) for @tokens;
    @tokens;
};

# A server that fails again and again is left alone, and found again.

my $answered = token();
$as->script($answered, $as->jwt_answer($jwt));
for my $case (['failing', { reset => 1 }, 502], ['busy', { status => 429 }, 503]) {
    my ($uri, $answer, $status) = @$case;
    my @tokens = map { token() } 1 .. 40;
    $as->script($_, $answer) for @tokens;
    is(scalar(grep { call("/$uri", $_)->status() == $status } @tokens), 40, "$uri: all are refused");
    my $asked = 0;
    $asked += $as->questions($_) for @tokens;
    cmp_ok($asked, '<', 40, "$uri: not all are asked about");
    $response = call_until(sub { $_[0]->status() == 200 }, "/$uri", $answered);
    is($response->status(), 200, "$uri: the server is found again");
}

# What the server says of single tokens holds back no others.

my @poison = map { token() } 1 .. 40;
$as->script($_, { status => 500 }) for @poison;
call('/own-trouble', $_) for @poison;
my $asked = 0;
$asked += $as->questions($_) for @poison;
is($asked, 40, 'a server that answers is asked, whatever it answers');

my $log = $t->read_file('error.log');
like($log, qr/\[error\].*phantom_token: server_unreachable, the authorization server has failed many times in a row/, 'logged');
like($log, qr/\[error\].*phantom_token: the authorization server answers again/, 'and its end');
