#!/usr/bin/perl

# HTTP/3 clients: translated, refused with and without a body, and told about trouble; streams that share a question.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::MD5 qw(md5_hex);

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP3;
use Test::PhantomToken;

my $t = Test::Nginx::HTTP3::prepare(113);

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

    server {
        listen 127.0.0.2:%%PORT_8443%% quic;
        listen 127.0.0.1:8080;
        ssl_certificate localhost.crt;
        ssl_certificate_key localhost.key;
        client_max_body_size 16m;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /streamed {
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:8082;
        }
        location /impatient { phantom_token_lock_timeout 200ms; proxy_pass http://127.0.0.1:8082; }
        location /down { phantom_token_introspection_endpoint /introspect_down; proxy_pass http://127.0.0.1:8082; }
        location /slow { phantom_token_introspection_endpoint /introspect_slow; proxy_pass http://127.0.0.1:8082; }
        location /denied { phantom_token_introspection_endpoint /introspect_denied; proxy_pass http://127.0.0.1:8082; }
        location = /barrier { phantom_token off; return 204; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_down { internal; proxy_pass http://127.0.0.1:8099; }
        location = /introspect_slow { internal; proxy_read_timeout 500ms; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_denied { internal; return 403; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $h3 = Test::Nginx::HTTP3->new();

sub bearer { return (headers => [Authorization => "Bearer $_[0]", @_[1 .. $#_]]) }

# Status, cache status and slug in one line.
sub outcome {
    my ($response) = @_;
    return join ' ', grep { defined && length }
        $response->status(), map { $response->header($_) } qw(Cache-Status Slug);
}

# Returns when the worker has taken up all that was sent on the connection before.
sub barrier { $h3->call('GET', '/barrier') for 1 .. 2; return }

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# Miss and hit.

for my $status (qw(MISS HIT)) {
    my $response = $h3->call('GET', '/x?y=z', bearer($token, 'X-Other' => 'kept'));
    is(outcome($response), "200 $status", $status);
    is($api->authorization($response), "Bearer $jwt", "$status: the JWT upstream");
    my $request = $api->last_request();
    is($request->{uri}, '/x?y=z', "$status: the URI upstream");
    is($api->header($request, 'X-Other'), 'kept', "$status: other headers upstream");
}

is($as->questions($token), 1, 'one question');
is(call('/', $token)->header('Cache-Status'), 'HIT', 'what was asked over HTTP/3 is known over HTTP/1.1');

# Methods.

for my $method (qw(HEAD OPTIONS)) {
    is($h3->call($method, '/', bearer($token))->status(), 200, $method);
    is($api->last_request()->{method}, $method, "$method: upstream");
    is($h3->call($method, '/')->status(), 401, "$method, refused");
}

is($h3->call('HEAD', '/')->body(), '', 'HEAD, refused: no body');

# Refused.

my $count = $api->count();
my $challenge = 'Bearer realm="api"';
my $response = $h3->call('GET', '/');
is(outcome($response), '401 no_credentials', 'no token');
is($response->header('WWW-Authenticate'), $challenge, 'no token: challenge');
$response = $h3->call('GET', '/', headers => [Authorization => 'Bearer a b']);
is(outcome($response), '401 malformed', 'malformed');
is($response->header('WWW-Authenticate'), "$challenge, error=\"invalid_token\"", 'malformed: challenge');
$response = $h3->call('GET', '/?access_token=x', bearer($token));
is(outcome($response), '400 several_tokens', 'two tokens');
is($response->header('WWW-Authenticate'), "$challenge, error=\"invalid_request\"", 'two tokens: challenge');
my $questions = $as->questions();
$response = $h3->call('GET', '/', bearer($token, Authorization => 'Bearer ' . token()));
is($response->status(), 400, 'two Authorization lines');
is($as->questions(), $questions, 'two Authorization lines: nobody is asked');

# What the authorization server says: outcome, error of the challenge, Retry-After.

for my $case (
    ['inactive', '/', $as->inactive_answer(), '401 MISS inactive', 'invalid_token'],
    ['expired', '/', $as->jwt_answer(jwt(claims => { exp => time - 60 })), '401 MISS expired', 'invalid_token'],
    ['bound', '/', $as->jwt_answer(jwt(claims => { cnf => { jkt => 'x' } })), '401 MISS binding', 'invalid_token'],
    ['our credentials', '/', { status => 401 }, '502 MISS server_refused_us'],
    ['HTML', '/', { type => 'text/html', body => '<p>' }, '502 MISS server_bad_answer'],
    ['server error', '/', { status => 500 }, '502 MISS server_unreachable'],
    ['reset', '/', { reset => 1 }, '502 MISS server_unreachable'],
    ['nobody listens', '/down', {}, '502 MISS server_unreachable'],
    ['busy, Retry-After', '/', { status => 429, headers => ['Retry-After' => 7] }, '503 MISS server_busy', undef, 7],
    ['busy', '/', { status => 503 }, '503 MISS server_busy'],
    ['no answer', '/slow', { hold => 1 }, '504 MISS server_timeout'],
    ['an endpoint that refuses by itself', '/denied', {}, '500 MISS internal'],
) {
    my ($name, $uri, $answer, $outcome, $error, $retry_after) = @$case;
    my $fresh = token();
    $as->script($fresh, $answer);
    $response = $h3->call('GET', $uri, bearer($fresh));
    is(outcome($response), $outcome, $name);
    is($response->header('WWW-Authenticate'), $error && "$challenge, error=\"$error\"", "$name: challenge");
    is($response->header('Retry-After'), $retry_after, "$name: Retry-After");
}

is($api->count(), $count, 'nothing of it went upstream');
is(outcome($h3->call('GET', '/', bearer($token))), '200 HIT', 'and the connection goes on');

# Bodies that are passed on.

for my $uri ('/', '/streamed') {
    for my $size (0, 1, 300_000) {
        my $fresh = token();
        $as->script($fresh, $as->jwt_answer($jwt));

        for my $status (qw(MISS HIT)) {
            my $body = substr join('', 'a' .. 'zzzz'), 0, $size;
            $response = $h3->call('POST', $uri, bearer($fresh), body => $body);
            is(outcome($response), "200 $status", "POST $uri, $size bytes, $status");
            my $digest = md5_hex($body);
            like($response->body(), qr/^body $size $digest$/m, "POST $uri, $size bytes, $status: the body");
        }
    }
}

like($h3->call('POST', '/', bearer($token), body => 'x' x 10_000_000)->body(), qr/^body 10000000 /m, 'POST, 10 MB');

my $held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1));
my $stream = $h3->request('POST', '/', bearer($held), body => 'abc', open => 1);
$as->wait_for_question($held, 1);
$h3->data($stream, 'def', 0);
barrier();
$as->release($held);
$h3->data($stream, 'ghi', 1);
like($h3->response($stream)->body(), qr/^body 9 ${\md5_hex('abcdefghi')}$/m, 'a body in pieces');

# Bodies that are refused: the next request on the connection is answered as itself.

for my $size (1, 100, 300_000) {
    for my $fresh (undef, token()) {
        my $name = (defined $fresh ? 'inactive' : 'no token') . ", body of $size";
        my $refused = $h3->request('POST', '/refused', defined $fresh ? bearer($fresh) : (), body => 'x' x $size);
        my $next = $h3->request('GET', '/next', bearer($token));
        is($h3->response($refused)->status(), 401, "$name: refused");
        like($h3->response($next)->body(), qr{^GET /next$}m, "$name: the next request");
    }
}

for my $fresh (undef, token()) {
    my $name = defined $fresh ? 'inactive' : 'no token';
    $stream = $h3->request('POST', '/refused', defined $fresh ? bearer($fresh) : (), body => 'abc', open => 1);
    is($h3->response($stream)->status(), 401, "$name: refused while the body is still coming");
    $h3->data($stream, 'x' x 1_000, 1);
    like($h3->call('GET', '/next', bearer($token))->body(), qr{^GET /next$}m, "$name: its rest is dropped");
}

is($api->count('/refused'), 0, 'nothing refused went upstream');

# A hundred streams at once, and a client of HTTP/1.1, share a question.

sub streams {
    my ($bearer, $number) = @_;
    my @streams = map { $h3->request('GET', '/', bearer($bearer)) } 1 .. $number;
    $as->wait_for_question($bearer, 1);
    barrier();
    return @streams;
}

sub outcomes {
    my %outcomes;
    $outcomes{ outcome($h3->response($_)) }++ for @_;
    return \%outcomes;
}

$held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1));
my @streams = streams($held, 100);
my $http = http_connection()->request('GET', '/', bearer($held));
http_request('GET', '/barrier') for 1 .. 2;
$as->release($held);
is_deeply(outcomes(@streams), { '200 MISS' => 1, '200 WAIT' => 99 }, 'a hundred streams');
is(outcome($http->response()), '200 WAIT', 'and one over HTTP/1.1');
is($as->questions($held), 1, 'share one question');
$http->close();

$held = token();
$as->script($held, { hold => 1, status => 500 });
@streams = streams($held, 20);
$as->release($held);
is_deeply(outcomes(@streams), { '502 MISS server_unreachable' => 1, '502 WAIT server_unreachable' => 19 },
    'they share trouble as well');

$held = token();
$as->script($held, $as->jwt_answer($jwt, hold => 1));
my ($asking) = streams($held, 1);
$response = $h3->call('GET', '/impatient', bearer($held));
is(outcome($response), '503 WAIT overload', 'a wait that is over');
is($response->header('Retry-After'), '1', 'a wait that is over: Retry-After');
$as->release($held);
is(outcome($h3->response($asking)), '200 MISS', 'a wait that is over: the one who asks is served');

$h3->close();
