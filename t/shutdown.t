#!/usr/bin/perl

# Reload and graceful quit while tokens are being asked about: the requests that ask and those that wait get what they
# are owed, over HTTP/1.1 and HTTP/2, and the old workers exit.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy http_v2))->plan(45);

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

my $conf = <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr;
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone tokens:1m;
    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%

        location / { proxy_pass http://127.0.0.1:8082; }
        location /impatient { phantom_token_lock_timeout 200ms; proxy_pass http://127.0.0.1:8082; }
        location /timeout {
            phantom_token_introspection_endpoint /introspect_timeout;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /barrier { phantom_token off; return 204; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_timeout { internal; proxy_read_timeout 2s; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->write_file_expand('nginx.conf', $conf);

my $as = authorization_server($t);
my $api = api($t);
$t->run();

sub start {
    my ($h2, $uri, $token) = @_;
    my $client = $h2 ? Test::Nginx::HTTP2->new(port => 8083) : http_connection();
    my $stream = $client->request('GET', $uri, headers => [Authorization => "Bearer $token"]);
    return { h2 => $h2, client => $client, stream => $stream };
}

# The request that asks a question, which is held back, and one of either protocol that wait for it.
sub asked {
    my ($h2, $uri, $token) = @_;
    my $asking = start($h2, $uri, $token);
    $as->wait_for_question($token, 1);
    my @waiting = map { start($_, $uri, $token) } 0, 1;
    http_request('GET', '/barrier') for 1 .. 2;
    return ($asking, @waiting);
}

# What the requests get: "200 MISS, 200 WAIT".
sub outcomes {
    my (@requests) = @_;

    my @outcomes;

    for my $request (@requests) {
        my $response = $request->{client}->response($request->{h2} ? $request->{stream} : ());
        push @outcomes, join ' ', grep { defined && length }
            $response->status(), map { $response->header($_) } qw(Cache-Status Slug);
        $request->{client}->close();
    }

    return join ', ', sort @outcomes;
}

# Whether the request gets no response, or the beginning of one.
sub is_cut_off {
    my ($request) = @_;
    my $client = $request->{client};
    my $is_cut_off = $request->{h2} ? !$client->response($request->{stream})->complete() : $client->at_end();
    $client->close();
    return $is_cut_off;
}

# The worker that was started last.
sub newest {
    my @workers = $t->read_file('error.log') =~ /start worker process (\d+)/g;
    return $workers[-1];
}

# Replaces it, and returns when it accepts no more connections; others before it may still be at work.
sub reload {
    my ($text) = @_;
    my $old = newest();
    $t->write_file_expand('nginx.conf', $text // $conf);
    $t->signal('HUP');
    $t->wait_for_log(qr/\[notice\] $old#\d+: gracefully shutting down/) or die "worker $old does not stop";
    return $old;
}

# The worker that was replaced ends of itself.
sub exits {
    my ($worker, $name) = @_;
    ok($t->wait_for_log(qr/worker process $worker exited with code 0$/m), "$name: the old worker exits");
    return;
}

for my $h2 (0, 1) {
    my $protocol = $h2 ? 'HTTP/2' : 'HTTP/1.1';

    # The answer comes after the reload.

    my ($token, $jwt) = (token(), jwt());
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    my @requests = asked($h2, '/', $token);
    my $old = reload();
    my $new = start($h2, '/', $token);
    http_request('GET', '/barrier') for 1 .. 2;
    $as->release($token);
    is(outcomes(@requests), '200 MISS, 200 WAIT, 200 WAIT', "$protocol: the old worker's requests are served");
    is(outcomes($new), '200 WAIT', "$protocol: so is one of the new worker, which waited for the old one's answer");
    is($as->questions($token), 1, "$protocol: one question for both workers");
    exits($old, $protocol);

    # It is a refusal, or trouble.

    for my $case (
        ['401', 'inactive', $as->inactive_answer()],
        ['502', 'server_unreachable', { reset => 1 }],
    ) {
        my ($status, $slug, $answer) = @$case;
        $token = token();
        $as->script($token, { hold => 1, %$answer });
        @requests = asked($h2, '/', $token);
        $old = reload();
        $as->release($token);
        is(outcomes(@requests), "$status MISS $slug, " . join(', ', ("$status WAIT $slug") x 2),
            "$protocol, $slug: all are told");
        exits($old, "$protocol, $slug");
    }

    # The one who asks goes away meanwhile.

    $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    (my $asking, @requests) = asked($h2, '/', $token);
    $old = reload();
    $asking->{client}->abort();
    $as->release($token);
    is(outcomes(@requests), '200 WAIT, 200 WAIT', "$protocol, the asking client gone: the others are served");
    exits($old, "$protocol, the asking client gone");

    # All go away.

    $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    @requests = asked($h2, '/', $token);
    $old = reload();
    $_->{client}->abort() for @requests;
    $as->release($token);
    exits($old, "$protocol, all clients gone");
}

# A wait that is over before the answer comes.

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, hold => 1));
my @requests = asked(0, '/', $token);
my $impatient = start(1, '/impatient', $token);
http_request('GET', '/barrier') for 1 .. 2;
my $old = reload();
is(outcomes($impatient), '503 WAIT overload', 'a wait that is over');
$as->release($token);
is(outcomes(@requests), '200 MISS, 200 WAIT, 200 WAIT', 'a wait that is over: the others are served');
exits($old, 'a wait that is over');

# No answer comes.

$token = token();
$as->script($token, { hold => 1 });
@requests = asked(1, '/timeout', $token);
$old = reload();
is(outcomes(@requests), join(', ', map { "504 $_ server_timeout" } qw(MISS WAIT WAIT)), 'no answer: all are told');
exits($old, 'no answer');

# One reload after the other: each generation has a question of its own.

my (@tokens, @generations, @olds);

for (1 .. 3) {
    push @tokens, token();
    $as->script($tokens[-1], $as->jwt_answer($jwt, hold => 1));
    push @generations, [asked(1, '/', $tokens[-1])];
    push @olds, reload();
}

$as->release($_) for @tokens;
is(outcomes(map { @$_ } @generations), join(', ', ('200 MISS') x 3, ('200 WAIT') x 6), 'three generations: all served');
exits($_, 'three generations') for @olds;
is(scalar(grep { call('/', $_)->header('Cache-Status') eq 'HIT' } @tokens), 3, 'three generations: the fourth knows');

# The answer comes when the cache has moved to a zone of another size.

$token = token();
$as->script($token, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
@requests = asked(1, '/', $token);
$old = reload($conf =~ s/tokens:1m/tokens:2m/r);
$as->release($token);
is(outcomes(@requests), '200 MISS, 200 WAIT, 200 WAIT', 'another zone: the requests are served');
exits($old, 'another zone');
is($api->authorization(call('/', $token)), "Bearer $jwt", 'another zone: the new worker asks');

# NGINX does not wait for ever, if it is told so.

reload("worker_shutdown_timeout 200ms;\n$conf");

for my $h2 (0, 1) {
    my $name = 'shutdown timeout, ' . ($h2 ? 'HTTP/2' : 'HTTP/1.1');
    $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    my ($asking, @waiting) = asked($h2, '/', $token);
    $old = reload("worker_shutdown_timeout 200ms;\n$conf");
    is(scalar(grep { is_cut_off($_) } @waiting), 2, "$name: those that wait are cut off");
    # A question of an HTTP/2 client is still finished: to NGINX, only the client's connection is to be closed.
    $as->release($token);
    ok(is_cut_off($asking), "$name: so is the one who asks");
    exits($old, $name);
}

# Quit.

reload();
$token = token();
$as->script($token, $as->jwt_answer($jwt, hold => 1));
@requests = (asked(0, '/', $token), start(1, '/', $token));
http_request('GET', '/barrier') for 1 .. 2;
$old = newest();
$t->signal('QUIT');
ok($t->wait_for_log(qr/\[notice\] $old#\d+: gracefully shutting down/), 'quit: the worker is told');
$as->release($token);
is(outcomes(@requests), join(', ', '200 MISS', ('200 WAIT') x 3), 'quit: the requests are served');
exits($old, 'quit');
ok($t->wait_for_log(qr/\[notice\] \d+#\d+: exit$/m), 'quit: the master exits');
