#!/usr/bin/perl

# A verdict is confirmed again in the background while it is still served.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(31);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 2s;
    limit_req_zone $binary_remote_addr zone=delaying:1m rate=2r/s;
    add_header Cache-Status $phantom_token_cache_status always;
    log_format all '$uri $status';
    access_log clients.log all;

    server {
        listen 127.0.0.1:8080;

        location /api { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /off { phantom_token on; phantom_token_cache_refresh off; proxy_pass http://127.0.0.1:8082; }
        location /tenant {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect/$arg_tenant;
            phantom_token_introspection_parameter path $request_uri;
            proxy_pass http://127.0.0.1:8082;
        }

        location /delayed {
            phantom_token on;
            phantom_token_introspection_endpoint /delaying;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /delaying {
            internal;
            limit_req zone=delaying burst=5;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location /introspect/ {
            internal;
            proxy_set_header X-Address $remote_addr:$server_port;
            proxy_set_header X-Request $request_uri;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# Confirmed again, once, while hits go on.

my ($token, $first, $second) = (token(), jwt(), jwt());
$as->script($token, $as->jwt_answer($first), $as->jwt_answer($second, hold => 1));
is(call('/api', $token)->header('Cache-Status'), 'MISS', 'the first call asks');

my $connection = http_connection();
my $statuses = sub {
    my ($count) = @_;
    my %found;
    for (1 .. $count) {
        $connection->request('GET', '/api', headers => [Authorization => "Bearer $token"]);
        my $response = $connection->response();
        $found{ $response->header('Cache-Status') . ($api->authorization($response) eq "Bearer $first" ? '' : ' other') }++;
    }
    return join ',', map { "$_ $found{$_}" } sort keys %found;
};

is($statuses->(5), 'HIT 5', 'young: hits');
is($as->questions($token), 1, 'young: nobody asks');

call_until(sub { $as->questions($token) == 2 }, '/api', $token);
is($statuses->(20), 'HIT 20', 'hits on one connection while the question is on its way');
is($as->questions($token), 2, 'it is asked once');

$as->release($token);
my $response = call_until(sub { $api->authorization($_[0]) eq "Bearer $second" }, '/api', $token);
is($api->authorization($response), "Bearer $second", 'the confirmed verdict is used');
is($response->header('Cache-Status'), 'HIT', 'and is a hit');
is($as->questions($token), 2, 'nobody else asked');

# Revoked meanwhile.

my $revoked = token();
$as->script($revoked, $as->jwt_answer(jwt()), $as->inactive_answer());
is(call('/api', $revoked)->status(), 200, 'active');
$response = call_until(sub { $_[0]->status() != 200 }, '/api', $revoked);
is($response->status(), 401, 'the server says inactive: refused');
is($response->header('Cache-Status'), 'NEGATIVE', 'and known');
is($as->questions($revoked), 2, 'by the background question');

# A failure changes nothing; the next one confirms.

my ($failed, $kept) = (token(), jwt());
$as->script($failed, $as->jwt_answer($kept), { status => 500 }, $as->jwt_answer($second));
is(call('/api', $failed)->status(), 200, 'before the failure');
$response = call_until(sub { $as->questions($failed) >= 2 }, '/api', $failed);
is($response->status(), 200, 'a failure of the confirmation is no refusal');
$response = call_until(sub { $api->authorization($_[0]) eq "Bearer $second" }, '/api', $failed);
is($api->authorization($response), "Bearer $second", 'and it is tried again');

# While it fails, hits do not try again each.

my $failing = token();
$as->script($failing, $as->jwt_answer($kept), { status => 500 });
call('/api', $failing);
call_until(sub { $as->questions($failing) >= 2 }, '/api', $failing);
call('/api', $failing) for 1 .. 20;
cmp_ok($as->questions($failing), '<', 12, 'a failure is not repeated with every hit');

# Past twice the time, in the foreground: a request that comes then waits for the answer.

my $late = token();
$as->script($late, $as->jwt_answer($first), $as->jwt_answer($second));
call('/api', $late);
my $twice = time() + 5;
my $asked = call_until(sub { $_[0]->header('Cache-Status') eq 'HIT' && time() > $twice }, '/off', $late);
is($asked->header('Cache-Status'), 'HIT', 'a location without refresh goes on with what it knows');
is($as->questions($late), 1, 'and asks nobody');
$response = call('/api', $late);
is($response->header('Cache-Status'), 'MISS', 'past twice the time: asked first');
is($api->authorization($response), "Bearer $second", 'and answered by that');

# The question is that of the client's request: endpoint, fields, address.

my $tenant = token();
$as->script($tenant, $as->jwt_answer($first));
call('/tenant?tenant=one', $tenant);
call_until(sub { $as->questions($tenant) == 2 }, '/tenant?tenant=one', $tenant);
my ($foreground, $background) = $as->requests($tenant);
is($background->{uri}, $foreground->{uri}, 'the same endpoint');
is($background->{body}, $foreground->{body}, 'the same form');
is_deeply([map { $as->header($background, $_) } qw(X-Address X-Request Host)],
    [map { $as->header($foreground, $_) } qw(X-Address X-Request Host)], 'the same variables');
like($as->header($background, 'X-Address'), qr/^127\.0\.0\.1:\d+$/, 'the address is the client\'s');

# The question may be delayed.

my ($one, $two) = map { my $token = token(); $as->script($token, $as->jwt_answer($first)); $token } 1 .. 2;
call('/delayed', $_) for $one, $two;
$response = call_until(sub { call('/delayed', $two); $as->questions($one) == 2 && $as->questions($two) == 2 }, '/delayed', $one);
is($response->status(), 200, 'limit_req delays questions');
is_deeply([map { $as->questions($_) } $one, $two], [2, 2], 'and each is asked');

# The client may be gone before the answer.

my $gone = token();
$as->script($gone, $as->jwt_answer($first), $as->jwt_answer($second, hold => 1));
call('/api', $gone);
call_until(sub { $as->questions($gone) == 2 }, '/api', $gone);
$connection->close();
$as->release($gone);
$response = call_until(sub { $api->authorization($_[0]) eq "Bearer $second" }, '/api', $gone);
is($api->authorization($response), "Bearer $second", 'the question outlives its client');

# A worker that ends lets the question end before.

my $ending = token();
$as->script($ending, $as->jwt_answer($first), $as->jwt_answer($second, hold => 1));
call('/api', $ending);
call_until(sub { $as->questions($ending) == 2 }, '/api', $ending);
my $failures = 1 + ($as->questions($failing) - 1);
$t->signal('QUIT');
$as->release($ending);
$t->stop();

my @lines = split /\n/, $t->read_file('clients.log');
is(scalar(grep { m{^/introspect} } @lines), 0, 'background questions are not in the access log');
is(scalar(grep { !m{^/(api|off|tenant|delayed)} } @lines), 0, 'nor are their requests');
my $log = $t->read_file('error.log');
unlike($log, qr/open socket #\d+ left/, 'no connection is left');
is(scalar(() = $log =~ /phantom_token: server_unreachable/g), $failures, 'each failure is logged once');
