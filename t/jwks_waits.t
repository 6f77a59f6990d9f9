#!/usr/bin/perl

# Waits for keys (`phantom_token_jwks uri`): how long a request waits for keys and then for a verdict, and a worker that
# has keys when another one cannot get any.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;
use Test::PhantomToken::Keys;
use Test::PhantomToken::Workers qw(to_workers);

# The server of the keys: scripts go by the path.
package Test::Jwks {
    use parent -norequire, 'Test::PhantomToken::Peer';
    sub key { my ($class, $request) = @_; return $request->{uri} }
    sub default { return { status => 404 } }
}

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(20);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events { accept_mutex on; accept_mutex_delay 5ms; }
http {
    %%TEST_GLOBALS_HTTP%%

    # The second one has no room for the keys.
    phantom_token_cache_zone large:4m;
    phantom_token_cache_zone small:128k;
    phantom_token_cache large;
    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    log_format order '$request_uri $status';
    access_log %%TESTDIR%%/order.log order;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Worker $pid always;

    server {
        listen 127.0.0.1:8080;

        location /small/ { phantom_token_cache small; phantom_token_jwks /jwks/small; proxy_pass http://127.0.0.1:8082; }
        location /large/ { phantom_token_lock_timeout 1s; phantom_token_jwks /jwks/large; proxy_pass http://127.0.0.1:8082; }
        location /dies/ { phantom_token_jwks /jwks/dies; proxy_pass http://127.0.0.1:8082; }
        location /asks { phantom_token_lock_timeout 1m; proxy_pass http://127.0.0.1:8082; }
        location /waits { phantom_token_lock_timeout 1500ms; proxy_pass http://127.0.0.1:8082; }
        location = /free { phantom_token off; access_log off; return 204; }

        location /jwks/ { internal; proxy_pass http://127.0.0.1:8083; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
my $jwks = Test::Jwks->start($t, 8083);
my $key = Test::PhantomToken::Keys->new($t, 'ES256');
my $jwt = $key->jwt();

# Keys with the shortest life, which is 20 s. As large as chains of certificates make them.
sub keys_answer {
    my (%fields) = @_;
    my $set = Test::PhantomToken::Keys::set($key->jwk(x5c => ['x' x 200_000]));
    return { type => 'application/jwk-set+json', body => $set, headers => ['Cache-Control' => 'max-age=1'], %fields };
}

sub new_token {
    my (%fields) = @_;
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt, %fields));
    return $token;
}

sub ask {
    my ($connection, $uri, $token) = @_;
    return $connection->request('GET', $uri, headers => [Authorization => "Bearer $token"]);
}

sub outcome {
    my ($response) = @_;
    return join ' ', $response->status(), grep { defined } map { $response->header($_) } qw(Cache-Status Slug);
}

$t->run();
$t->wait_for_workers(2);
my ($mine, $others) = to_workers('/free', 7, 2);
is(@$mine . ' ' . @$others, '7 2', 'two workers');

# Says that a worker has taken up what was sent to it before.
sub barrier { my ($connection) = @_; return map { $connection->request('GET', '/free')->response() } 1, 2 }

$jwks->script('/jwks/small', keys_answer(), { status => 500, hold => 1 });
$jwks->script('/jwks/large', keys_answer(), keys_answer(hold => 1));
my $free = pop @$mine;
is(outcome(ask($free, '/small/', new_token())->response()), '200 MISS', 'keys of one worker alone');
is(outcome(ask($free, '/large/', new_token())->response()), '200 MISS', 'keys of both');
like(join('', $t->module_lines()), qr/keys of \d+ bytes are too large for the cache zone/, 'as the log says');

# Until they are old.

my $old_from = time + 20;
sleep 0.1 until time > $old_from;

# The other worker fetches keys in vain. It has none, and this one has: they go on.

ask($others->[0], '/small/', new_token());
$jwks->wait_for('/jwks/small', 2);
ask($mine->[0], '/small/', new_token());
barrier($free);
$jwks->release('/jwks/small');
is(outcome($others->[0]->response()), '502 MISS server_unreachable', 'the worker without keys');
is(outcome($mine->[0]->response()), '200 MISS', 'the worker with the last good ones, which waited for the other');
is($jwks->count('/jwks/small'), 2, 'by one question');
is(outcome(ask($mine->[0], '/small/', new_token())->response()), '200 MISS', 'and the next one');
is($jwks->count('/jwks/small'), 2, 'does not ask again so soon');

# One wait for keys in vain, and then one for the verdict: both together are not longer than one may be. What is longer
# than that, though not twice as long, ends later.

my ($fetches, @two, $asks, $waits);
($fetches, @two[0, 1], $asks, $waits) = @$mine;
my ($token, $other) = (new_token(hold => 1), new_token(hold => 1));
ask($fetches, '/large/0', new_token());
$jwks->wait_for('/jwks/large', 2);
ask($two[$_], '/large/' . ($_ + 1), $token) for 0, 1;
barrier($free);
ask($asks, '/asks', $other);
$as->wait_for_question($other);
ask($waits, '/waits', $other);
is(outcome($waits->response()), '503 WAIT overload', 'a wait of one and a half times');
$as->wait_for_question($token);
# NGINX logs a request when its response is sent.
my @order;
eventually(sub { (@order = grep { m{^/(?:large/[12]|waits)} } split /\n/, $t->read_file('order.log')) >= 2 });
like($order[0] // '', qr{^/large/[12] 503}, 'who waited for keys, and would wait on, is refused before');
is($order[1] // '', '/waits 503', 'and that is all so far');
$as->release($token);
is(join(', ', sort map { outcome($_->response()) } @two), '200 MISS, 503 overload', 'the other one has asked with the last good keys');
is($as->questions($token), 1, 'one question');
$jwks->release('/jwks/large');
is(outcome($fetches->response()), '200 MISS', 'who fetched the keys');
$as->release($other);
is(outcome($asks->response()), '200 MISS', 'and who asked for the other one');

# A worker that dies while it fetches keys: who waits in the other one fetches them.

$jwks->script('/jwks/dies', keys_answer(hold => 1), keys_answer());
my @orphans = (new_token(), new_token());
ask($others->[1], '/dies/', $orphans[0]);
$jwks->wait_for('/jwks/dies');
ask($two[0], '/dies/', $orphans[1]);
barrier($free);
my $victim = $others->[0]->request('GET', '/free')->response()->header('Worker');
$t->expect_alerts(qr/worker process $victim exited on signal 9/);
kill KILL => $victim;
is(outcome($two[0]->response()), '200 MISS', 'the keys of a worker that has died are fetched by another');
is($jwks->count('/jwks/dies'), 2, 'in a question of its own');
is($as->questions($orphans[0]), 0, 'nobody has asked about the token of the one that died');
$t->wait_for_workers(2);
is(outcome(call('/dies/', $orphans[0])), '200 MISS', 'and the next worker has them from the zone, or fetches them');
