#!/usr/bin/perl

# The variables: what operators log and pass on.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::SHA qw(sha256_hex);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy map rewrite))->plan(40);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    log_format phantom '$uri $status cache=$phantom_token_cache_status error=$phantom_token_error '
        'fingerprint=$phantom_token_fingerprint time=$phantom_token_introspection_time';
    access_log %%TESTDIR%%/phantom.log phantom;

    map $phantom_token_error $why { default other; '' none; inactive gone; }
    map $phantom_token_jwt $has_jwt { default yes; '' no; }

    phantom_token_introspection_endpoint /introspect;
    add_header Why $why always;
    add_header Has-JWT $has_jwt always;

    server {
        listen 127.0.0.1:8080;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /off { return 204; }
        location /jwt {
            phantom_token on;
            proxy_set_header Authorization "";
            proxy_set_header X-JWT $phantom_token_jwt;
            proxy_set_header X-Fingerprint $phantom_token_fingerprint;
            proxy_pass http://127.0.0.1:8082;
        }
        location /early {
            phantom_token on;
            set $before "$phantom_token_cache_status$phantom_token_error$phantom_token_jwt";
            if ($phantom_token_error) { return 418; }
            add_header Before "<$before>" always;
            proxy_set_header X-JWT $phantom_token_jwt;
            proxy_pass http://127.0.0.1:8082;
        }
        location /header {
            phantom_token on;
            phantom_token_header X-Access-Token;
            proxy_set_header X-JWT $phantom_token_jwt;
            proxy_pass http://127.0.0.1:8082;
        }
        location /page {
            phantom_token on;
            error_page 401 /error_page;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /error_page { phantom_token off; return 200 "$phantom_token_error"; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
my $fingerprint = substr sha256_hex($token), 0, 8;
$as->script($token, $as->jwt_answer($jwt));

# The last line of the log: NGINX writes it when the response has been sent.
my $lines = 0;

sub logged {
    $lines++;
    $t->wait_for_file_lines('phantom.log', $lines);
    my @logged = split /\n/, $t->read_file('phantom.log');
    return $logged[$lines - 1];
}

# Miss, hit, off.

my $response = call('/', $token);
is($response->header('Has-JWT'), 'yes', 'miss: there is a JWT');
is($response->header('Why'), 'none', 'miss: no error');
my $line = logged();
like($line, qr{^/ 200 cache=MISS error=- }, 'miss: status and error');
like($line, qr/ fingerprint=$fingerprint /, 'miss: fingerprint');
like($line, qr/ time=\d+\.\d{3}$/, 'miss: time');

is(call('/', $token)->header('Has-JWT'), 'yes', 'hit: there is a JWT');
$line = logged();
like($line, qr{^/ 200 cache=HIT error=- }, 'hit: status and error');
like($line, qr/ fingerprint=$fingerprint /, 'hit: fingerprint');
like($line, qr/ time=(?:-|0\.000)$/, 'hit: no time');

$response = call('/off', $token);
is($response->header('Has-JWT'), 'no', 'off: no JWT');
like(logged(), qr{^/off 204 cache=- error=- fingerprint=- time=-$}, 'off: nothing');

# Refused.

$response = call('/');
is($response->header('Why'), 'other', 'no credentials: error in a map');
is($response->header('Has-JWT'), 'no', 'no credentials: no JWT');
like(logged(), qr{^/ 401 cache=- error=no_credentials fingerprint=- time=-$}, 'no credentials: log');

my $unknown = token();
my $unknown_fingerprint = substr sha256_hex($unknown), 0, 8;
$response = call('/', $unknown);
is($response->header('Why'), 'gone', 'inactive: error in a map');
is($response->header('Has-JWT'), 'no', 'inactive: no JWT');
$line = logged();
like($line, qr{^/ 401 cache=MISS error=inactive fingerprint=$unknown_fingerprint }, 'inactive: log');
like($line, qr/ time=\d+\.\d{3}$/, 'inactive: time');

call('/', $unknown);
like(logged(), qr{^/ 401 cache=NEGATIVE error=inactive fingerprint=$unknown_fingerprint }, 'negative: log');

call('/', 'not a token');
like(logged(), qr{^/ 401 cache=- error=malformed fingerprint=}, 'malformed: log');

my $down = token();
$as->script($down, { status => 500 });
$response = call('/', $down);
is($response->header('Has-JWT'), 'no', 'server down: no JWT');
$line = logged();
like($line, qr{^/ 502 cache=MISS error=server_unreachable }, 'server down: log');
like($line, qr/ fingerprint=${\substr sha256_hex($down), 0, 8} time=\d+\.\d{3}$/, 'server down: fingerprint and time');

# The time is that of the question.

my $slow = token();
$as->script($slow, $as->jwt_answer(jwt(), hold => 1));
my $connection = http_connection()->request('GET', '/',
    headers => [Authorization => "Bearer $slow", Connection => 'close']);
$as->wait_for_question($slow, 1);
select undef, undef, undef, 0.05;
$as->release($slow);
$connection->response();
$connection->close();
my ($time) = logged() =~ / time=([\d.]+)$/;
cmp_ok($time, '>=', 0.04, 'the time of a slow question');

# Passed on by the operator.

call('/jwt', $token);
my $request = $api->last_request();
is($api->header($request, 'X-JWT'), $jwt, 'the JWT in a header of the operator');
is($api->header($request, 'Authorization'), undef, 'and in no other');
is($api->header($request, 'X-Fingerprint'), $fingerprint, 'the fingerprint');
logged();

call('/header', $token);
$request = $api->last_request();
is($api->header($request, 'X-JWT'), $jwt, 'the variable beside phantom_token_header');
is($api->header($request, 'X-Access-Token'), $jwt, 'and phantom_token_header');
logged();

# Evaluated before there is a verdict.

for my $state (qw(miss hit)) {
    my ($fresh, $fresh_jwt) = $state eq 'miss' ? (token(), jwt()) : ($token, $jwt);
    $as->script($fresh, $as->jwt_answer($fresh_jwt));
    $response = call('/early', $fresh);
    is($response->status(), 200, "early, $state");
    is($response->header('Before'), '<>', "early, $state: empty before");
    is($api->header($api->last_request(), 'X-JWT'), $fresh_jwt, "early, $state: there afterwards");
    like(logged(), qr{ cache=${\uc $state} error=- }, "early, $state: log");
}

# In an error page.

my $gone = token();
$response = call('/page', $gone);
is($response->body(), 'inactive', 'error page: error');
like(logged(), qr{^/error_page 401 cache=MISS error=inactive fingerprint=${\substr sha256_hex($gone), 0, 8} },
    'error page: log');
is($as->questions($gone), 1, 'error page: one question');
