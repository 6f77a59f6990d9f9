#!/usr/bin/perl

# While the authorization server cannot be asked, a verdict with a known end is used past its time.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my @OUTAGES = (
    ['its own 500', { status => 500 }, 'server_unreachable'],
    ['502', { status => 502 }, 'server_unreachable'],
    ['429', { status => 429, headers => ['Retry-After' => 7] }, 'server_busy'],
    ['503', { status => 503 }, 'server_busy'],
    ['a reset', { reset => 1 }, 'server_unreachable'],
);
my @REFUSALS = (
    ['401', { status => 401 }, 502, 'server_refused_us'],
    ['403', { status => 403 }, 502, 'server_refused_us'],
    ['HTML', { type => 'text/html', body => '<html>' }, 502, 'server_bad_answer'],
    ['inactive', { status => 204 }, 401, 'inactive'],
);

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(31 + 3 * @OUTAGES + 2 * @REFUSALS);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect?$phantom_token_fingerprint;
    phantom_token_cache_max_ttl 1ms;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Error $phantom_token_error always;

    server {
        listen 127.0.0.1:8080;

        location /api {
            phantom_token on;
            phantom_token_cache_use_stale 10m;
            proxy_pass http://127.0.0.1:8082;
        }
        location /flapping {
            phantom_token on;
            phantom_token_cache_use_stale 10m;
            proxy_pass http://127.0.0.1:8082;
        }
        location /slow {
            phantom_token on;
            phantom_token_introspection_endpoint /slow-server?$phantom_token_fingerprint;
            phantom_token_cache_use_stale 10m;
            proxy_pass http://127.0.0.1:8082;
        }
        location /without { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /off {
            phantom_token on;
            phantom_token_cache_use_stale off;
            proxy_pass http://127.0.0.1:8082;
        }
        location /briefly {
            phantom_token on;
            phantom_token_cache_use_stale 1s;
            proxy_pass http://127.0.0.1:8082;
        }
        location /wait {
            phantom_token on;
            phantom_token_lock_timeout 100ms;
            phantom_token_cache_use_stale 10m;
            proxy_pass http://127.0.0.1:8082;
        }
        location /dead {
            phantom_token on;
            phantom_token_introspection_endpoint /dead-server?$phantom_token_fingerprint;
            phantom_token_cache_use_stale 10m;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /clock { return 200 $msec; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /slow-server { internal; proxy_read_timeout 300ms; proxy_pass http://127.0.0.1:8081; }
        location = /dead-server { internal; proxy_pass http://127.0.0.1:8099; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# A call whose verdict is past its time when this returns: NGINX's clock has gone on since.
sub known {
    my $response = call(@_);
    go_on();
    return $response;
}

sub go_on {
    my $then = http_request('GET', '/clock')->body();
    1 until http_request('GET', '/clock')->body() > $then;
    return;
}

# Outages.

for (@OUTAGES) {
    my ($name, $answer) = @$_;
    my ($token, $jwt) = (token(), jwt());
    $as->script($token, $as->jwt_answer($jwt), $answer);
    known('/api', $token);
    my $response = call('/api', $token);
    is($response->status(), 200, "$name: passes");
    is($response->header('Cache-Status'), 'STALE', "$name: by what was known");
    is($api->authorization($response), "Bearer $jwt", "$name: with its JWT");
}

# The server answers, or refuses us: that is no outage.

for (@REFUSALS) {
    my ($name, $answer, $status, $error) = @$_;
    my $token = token();
    $as->script($token, $as->jwt_answer(jwt()), $answer);
    known('/api', $token);
    my $response = call('/api', $token);
    is($response->status(), $status, "$name: refused");
    is($response->header('Error'), $error, "$name: the reason");
}

# A timeout, and a wait for another's question that takes too long.

my ($slow, $slow_jwt) = (token(), jwt());
$as->script($slow, $as->jwt_answer($slow_jwt));
call_until(sub { $_[0]->status() == 200 }, '/slow', $slow);
$as->script($slow, $as->jwt_answer($slow_jwt, hold => 1));
go_on();
my $response = call('/slow', $slow);
is($response->status(), 200, 'timeout: passes');
is($response->header('Cache-Status'), 'STALE', 'timeout: by what was known');
is($response->header('Error'), undef, 'timeout: no error');

# Another answer renews it.

my ($token, $first, $second) = (token(), jwt(), jwt());
$as->script($token, $as->jwt_answer($first), { status => 503 }, $as->jwt_answer($second), { status => 503 });
known('/api', $token);
is($api->authorization(call('/api', $token)), "Bearer $first", 'during the outage: the old one');
$response = known('/api', $token);
is($response->header('Cache-Status'), 'MISS', 'after the outage: asked');
is($api->authorization($response), "Bearer $second", 'after the outage: the new one');
is($api->authorization(call('/api', $token)), "Bearer $second", 'the next outage: the new one');

# Locations without it, or not any more.

for my $uri ('/without', '/off') {
    my $token = token();
    $as->script($token, $as->jwt_answer(jwt()), { status => 503 });
    known($uri, $token);
    is(call($uri, $token)->status(), 503, "$uri: refused");
}

my $brief = token();
$as->script($brief, $as->jwt_answer(jwt()), { status => 503 });
known('/briefly', $brief);
is(call('/briefly', $brief)->header('Cache-Status'), 'STALE', 'within its time');
$response = call_until(sub { $_[0]->status() != 200 }, '/briefly', $brief);
is($response->status(), 503, 'not longer than it says');

# Never past exp; not without exp; not where nothing was known, or what was known was inactive.

my $short = token();
$as->script($short, $as->jwt_answer(jwt(claims => { exp => time + 3 })), { status => 503 });
known('/api', $short);
is(call('/api', $short)->header('Cache-Status'), 'STALE', 'before exp');
$response = call_until(sub { $_[0]->status() != 200 }, '/api', $short);
is($response->status(), 401, 'after exp: refused');
is($response->header('Error'), 'expired', 'after exp: since it has expired');
is($response->header('Cache-Status'), 'EXPIRED', 'after exp: known');

my $endless = token();
$as->script($endless, $as->jwt_answer(jwt(claims => { exp => undef }), headers => ['Cache-Control' => 'max-age=60']),
    { status => 503 });
known('/api', $endless);
is(call('/api', $endless)->status(), 503, 'without exp: refused');

my $new = token();
$as->script($new, { status => 503 });
is(call('/api', $new)->status(), 503, 'nothing known: refused');

my $inactive = token();
$as->script($inactive, $as->jwt_answer(jwt()), { status => 204 }, { status => 503 });
known('/api', $inactive);
is(call('/api', $inactive)->status(), 401, 'revoked');
is(call('/api', $inactive)->status(), 401, 'revoked: what was known before is gone');

# The server is not there at all.

my $lost = token();
is(call('/dead', $lost)->status(), 502, 'no server: nothing is known');

# Those who wait are served, too.

my ($shared, $shared_jwt) = (token(), jwt());
$as->script($shared, $as->jwt_answer($shared_jwt), { status => 503, hold => 1 });
known('/wait', $shared);
my @clients = map { http_connection() } 1 .. 3;
$_->request('GET', '/wait', headers => [Authorization => "Bearer $shared"]) for @clients;
my @responses = map { $_->response() } @clients[1, 2];
is($_->header('Cache-Status'), 'STALE', 'a wait that takes too long') for @responses;
$as->release($shared);
is($clients[0]->response()->header('Cache-Status'), 'STALE', 'and who asked');
is($as->questions($shared), 2, 'with one question');

# Half of the server's machines are away.

my $half = token();
$as->script($half, $as->jwt_answer(jwt()), { status => 503 });
known('/flapping', $half);

for (1 .. 10) {
    call('/flapping', $half);
    my $other = token();
    $as->script($other, $as->jwt_answer(jwt()));
    call('/flapping', $other);
}

# The log says it when it begins and when it ends, per location.

$t->stop();
my $log = $t->read_file('error.log');
my @began = $log =~ /\[error\].*phantom_token: (\w+), verdicts past their time are used from now on, location "(\S+?)"/g;
my @ended = $log =~ /\[error\].*phantom_token: the authorization server answers again, location "(\S+?)"/g;
cmp_ok(@began / 2, '>=', 3, 'the beginning is logged');
is(scalar(grep { $_ eq '/wait' } @began), 1, 'once for two requests');
is(scalar(grep { $_ eq '/flapping' } @began), 1, 'and not each time that the server comes and goes');
cmp_ok(scalar(@ended), '>=', 1, 'the end is logged');
cmp_ok(@ended, '<=', @began / 2, 'and not more often than the beginning');
is($began[0], 'server_unreachable', 'with the reason');
is($began[1], '/api', 'and the location');
