#!/usr/bin/perl

# Clients that go away at every stage of a request, in every way that HTTP/1.1, HTTP/2 and HTTP/3 have: others are
# served, the authorization server is not asked more than it has to be, and nothing is left behind.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::Nginx::HTTP3;
use Test::Nginx::Pools;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy limit_req http_v2));

# How a client goes away: what it does with its connection and its stream. Where NGINX ends the question with the
# request that asks, another one asks again; as a rule the question goes on.
my @ways = (
    { protocol => 'HTTP/1.1', how => 'closed', leave => sub { $_[0]->close() } },
    { protocol => 'HTTP/1.1', how => 'reset', leave => sub { $_[0]->abort() } },
    { protocol => 'HTTP/2', how => 'RST_STREAM', leave => sub { $_[0]->reset($_[1]) } },
    { protocol => 'HTTP/2', how => 'closed', leave => sub { $_[0]->close() } },
    { protocol => 'HTTP/2', how => 'reset', leave => sub { $_[0]->abort() } },
);

my $quic = '';

# http3.t says what is missing.
if ($t->has_module('http_v3') && !Test::Nginx::HTTP3::missing()) {
    Test::Nginx::HTTP3::write_certificate($t);
    $quic = 'listen 127.0.0.2:%%PORT_8443%% quic; ssl_certificate localhost.crt; ssl_certificate_key localhost.key;';
    push @ways, (
        { protocol => 'HTTP/3', how => 'reset', leave => sub { $_[0]->reset($_[1]) } },
        { protocol => 'HTTP/3', how => 'closed', ends_question => 1, leave => sub { $_[0]->close() } },
    );
}

$t->plan(37 * @ways + 3);

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr =~ s/%%H3%%/$quic/r);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    log_format outcome '$status $phantom_token_cache_status $uri';
    limit_req_zone $arg_key zone=limit:1m rate=1r/m;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%
        %%H3%%
        access_log %%TESTDIR%%/outcome.log outcome;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /delayed { limit_req zone=limit burst=5; proxy_pass http://127.0.0.1:8082; }
        location /impatient { phantom_token_lock_timeout 200ms; proxy_pass http://127.0.0.1:8082; }
        location /small { phantom_token_max_response 1k; proxy_pass http://127.0.0.1:8082; }
        location = /barrier { phantom_token off; access_log off; return 204; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $pools = $t->has_module('debug') ? Test::Nginx::Pools->new($t) : undef;

my %connect = (
    'HTTP/1.1' => sub { http_connection() },
    'HTTP/2' => sub { Test::Nginx::HTTP2->new(port => 8083) },
    'HTTP/3' => sub { Test::Nginx::HTTP3->new() },
);

# Clients that stay.
my @stay = ({ protocol => 'HTTP/1.1' }, { protocol => 'HTTP/2' });

# Sends a request of a client of its own.
sub start {
    my ($way, $uri, $token, %args) = @_;

    my $method = delete $args{method} // 'GET';
    my @headers = (@{ delete $args{headers} // [] }, Authorization => "Bearer $token");
    my $client = $connect{ $way->{protocol} }->();
    my $stream = $client->request($method, $uri, %args, headers => \@headers);
    # Datagrams are taken up one at a time, between connections: a barrier over TCP may overtake them.
    $client->ping() if $way->{protocol} eq 'HTTP/3';
    return { way => $way, client => $client, stream => $stream };
}

# Returns when the worker has taken up all that was sent before: it accepts connections, and turns to those that have
# bytes, in their order.
sub barrier {
    http_request('GET', '/barrier') for 1 .. 2;
    return;
}

# The request that asks, and others that wait for its question, which is held back.
sub asked {
    my ($uri, $token, @ways) = @_;
    my @requests = start(shift @ways, $uri, $token);
    $as->wait_for_question($token, 1);
    push @requests, map { start($_, $uri, $token) } @ways;
    barrier();
    return @requests;
}

# The client goes away, and the worker has been told so.
sub leave {
    my ($request) = @_;
    $request->{way}{leave}->($request->{client}, $request->{stream});
    barrier();
    return;
}

# What those that stay get: "200 WAIT, 200 WAIT".
sub outcomes {
    my (@requests) = @_;

    my @outcomes;

    for my $request (@requests) {
        my $response = $request->{client}->response($request->{way}{protocol} eq 'HTTP/1.1' ? () : $request->{stream});
        push @outcomes, join ' ', grep { defined && length }
            $response->status(), map { $response->header($_) } qw(Cache-Status Slug);
        $request->{client}->close();
    }

    return join ', ', sort @outcomes;
}

# How many requests have ended because their client was gone.
sub gone {
    return scalar(() = $t->read_file('outcome.log') =~ /^(?:499|000) /mg);
}

# Nothing is left of the clients that went away.
sub all_is_freed {
    my ($name) = @_;

    ok(eventually(sub { $as->connections() + $api->connections() == 0 }), "$name: no connection to a server is left");

    SKIP: {
        skip 'no debug log', 1 unless $pools;
        is($pools->left(), 0, "$name: nothing is left in memory");
    }

    return;
}

for my $way (@ways) {
    my $name = "$way->{protocol}, $way->{how}";
    my $others = join ', ', map { "200 $_" } $way->{ends_question} ? 'MISS' : 'WAIT', 'WAIT';
    my ($token, $jwt) = (token(), jwt());

    # Before the question.

    my $delayed = '/delayed?key=' . ($name =~ s/\W//gr);
    $as->script($token, $as->jwt_answer($jwt));
    call($delayed, $token);
    my ($before, $fresh) = (gone(), token());
    my $request = start($way, $delayed, $fresh);
    ok($t->wait_for_log(qr/delaying request.*\Q$delayed/), "$name, before the question: the request is delayed");
    leave($request);
    ok(eventually(sub { gone() == $before + 1 }), "$name, before the question: the request ends");
    is($as->questions($fresh), 0, "$name, before the question: nobody is asked");
    $request->{client}->close();

    # The one who asks, while others wait.

    $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
    my ($asking, @waiting) = asked('/', $token, $way, @stay);
    leave($asking);
    $as->release($token);
    is(outcomes(@waiting), $others, "$name, asking: the others are served");
    is($as->questions($token), $way->{ends_question} ? 2 : 1, "$name, asking: so many questions");
    is(call('/', $token)->header('Cache-Status'), 'HIT', "$name, asking: the answer is kept");
    $asking->{client}->close();

    # The one who asks, alone.

    $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
    $before = gone();
    ($asking) = asked('/', $token, $way);
    leave($asking);
    $as->release($token);
    ok(eventually(sub { gone() == $before + 1 }), "$name, asking alone: the request ends");
    is(call('/', $token)->header('Cache-Status'), $way->{ends_question} ? 'MISS' : 'HIT',
        "$name, asking alone: the next request");
    $asking->{client}->close();

    # One who waits.

    $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    $before = gone();
    ($asking, my $waits, @waiting) = asked('/', $token, $stay[0], $way, @stay);
    leave($waits);
    ok(eventually(sub { gone() == $before + 1 }), "$name, waiting: the request ends at once");
    $as->release($token);
    is(outcomes($asking, @waiting), '200 MISS, 200 WAIT, 200 WAIT', "$name, waiting: the others are served");
    is($as->questions($token), 1, "$name, waiting: one question");
    $waits->{client}->close();

    # All but the last one.

    $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    my @leaving = asked('/', $token, ($way) x 4);
    my $last = start($stay[1], '/', $token);
    barrier();

    for my $number (1 .. @leaving) {
        leave($leaving[$number - 1]);
        $as->wait_for_question($token, $number + 1) if $way->{ends_question};
    }

    $as->release($token);
    is(outcomes($last), $way->{ends_question} ? '200 MISS' : '200 WAIT', "$name, all but one: it is served");
    is($as->questions($token), $way->{ends_question} ? 5 : 1, "$name, all but one: so many questions");
    $_->{client}->close() for @leaving;

    # After the answer, while the API works.

    for my $role (0, 1) {
        my $uri = "/held/$role/" . ($name =~ s/\W//gr);
        $token = token();
        $as->script($token, $as->jwt_answer($jwt, hold => 1));
        $api->script($uri, { hold => 1 });
        my @requests = asked($uri, $token, $role ? ($stay[0], $way) : ($way, $stay[1]));
        $as->release($token);
        $api->wait_for($uri, 2);
        my ($leaves) = splice @requests, $role, 1;
        leave($leaves);
        my $which = "$name, " . ($role ? 'waited' : 'asked') . ', while the API works';
        ok(eventually(sub { $api->connections() == 1 }), "$which: NGINX hangs up on the API");
        $api->release($uri);
        is(outcomes(@requests), $role ? '200 MISS' : '200 WAIT', "$which: the other one is served");
        $leaves->{client}->close();
    }

    # In the middle of its body.

    $token = token();
    my $uri = '/posted/' . ($name =~ s/\W//gr);
    $as->script($token, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
    my $posts = start($way, $uri, $token, method => 'POST', headers => ['Content-Length' => 10], body => 'abc',
        open => 1);
    $as->wait_for_question($token, 1);
    @waiting = map { start($_, '/', $token) } @stay;
    barrier();
    leave($posts);
    $as->release($token);
    is(outcomes(@waiting), $others, "$name, with half a body: the others are served");
    $posts->{client}->close();

    # With a question that fails. If the server breaks off when an HTTP/2 client is gone, NGINX takes that for the
    # reason, and ends the question.

    for my $case (
        ['500', '/', 'server_unreachable', status => 500],
        ['401', '/', 'server_refused_us', status => 401],
        ['reset', '/', 'server_unreachable', reset => 1],
        ['cut off', '/', 'server_unreachable', body => $jwt, type => 'application/jwt', truncate => 100],
        ['too large', '/small', 'server_bad_answer', body => jwt(size => 2_000), type => 'application/jwt'],
    ) {
        my ($what, $location, $slug, %answer) = @$case;
        my $fails = token();
        my $again = $way->{ends_question} || $way->{protocol} eq 'HTTP/2' && $what eq 'reset';
        $as->script($fails, { hold => 1, %answer }, \%answer);
        ($asking, @waiting) = asked($location, $fails, $way, @stay);
        leave($asking);
        $as->release($fails);
        is(outcomes(@waiting), join(', ', map { "502 $_ $slug" } $again ? 'MISS' : 'WAIT', 'WAIT'),
            "$name, asking, $what: the others are told");
        is($as->questions($fails), $again ? 2 : 1, "$name, asking, $what: so many questions");
        $asking->{client}->close();
    }

    # Gone before its time to wait is up, which the other one's shows to be.

    $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    ($asking) = asked('/', $token, $stay[0]);
    my ($impatient, $other) = map { start($_, '/impatient', $token) } $way, $stay[1];
    leave($impatient);
    is(outcomes($other), '503 WAIT overload', "$name, waiting, timers: the time is up");
    $as->release($token);
    is(outcomes($asking), '200 MISS', "$name, waiting, timers: the one who asks is served");
    $impatient->{client}->close();

    # In the very moment of the answer: the worker sees both at once.

    for my $answer_first (0, 1) {
        for my $role (0, 1) {
            my $which = "$name, " . ($role ? 'waiting' : 'asking') . ', '
                . ($answer_first ? 'just after' : 'just before') . ' the answer';
            $token = token();
            $as->script($token, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt));
            my @requests = asked('/', $token, $role ? ($stay[0], $way, $stay[1]) : ($way, @stay));
            my ($leaves) = splice @requests, $role, 1;

            my @steps = (
                sub { $way->{leave}->($leaves->{client}, $leaves->{stream}) },
                sub { $as->release($token); eventually(sub { !$as->busy() }) },
            );
            my ($worker) = $t->workers();
            kill STOP => $worker;
            $_->() for $answer_first ? reverse @steps : @steps;
            kill CONT => $worker;

            like(outcomes(@requests), qr/^200 (?:MISS|WAIT), 200 WAIT$/, "$which: the others are served");
            $leaves->{client}->close();
        }
    }

    all_is_freed($name);
}

# Many of them, all at once.

my $jwt = jwt();

for my $way (@ways) {
    my @tokens = map { token() } 1 .. 10;
    $as->script($_, $as->jwt_answer($jwt, hold => 1), $as->jwt_answer($jwt)) for @tokens;
    my @requests = map { my $token = $_; map { start($way, '/', $token) } 1 .. 2 } @tokens;
    $as->wait_for_question($_, 1) for @tokens;
    $way->{leave}->($_->{client}, $_->{stream}) for @requests;
    barrier();
    $as->release($_) for @tokens;
    my $name = "$way->{protocol}, $way->{how}, many";
    is(scalar(grep { call('/', $_)->status() == 200 } @tokens), 10, "$name: all tokens still pass");
    $_->{client}->close() for @requests;
}

all_is_freed('many');
is(scalar(() = $t->read_file('error.log') =~ /start worker process \d+/g), 1, 'the worker lives');
