#!/usr/bin/perl

# worker_shutdown_timeout ends background questions as it ends those of clients; and what is left of them does not
# disturb NGINX's counters. A server-level rewrite that looks at the client's request sees it in both questions.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(8);

my $stub = $t->has_module('stub_status') ? 'stub_status;' : 'return 204;';
$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%STUB%%/$stub/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 1s;

    server {
        listen 127.0.0.1:8080;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /status { %%STUB%% }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
    proxy_cache_path cache keys_zone=answers:1m;

    server {
        listen 127.0.0.1:8084;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect {
            internal;
            proxy_cache answers;
            proxy_cache_methods POST;
            proxy_cache_key one;
            proxy_cache_lock on;
            proxy_cache_lock_timeout 1m;
            proxy_pass http://127.0.0.1:8081;
        }
    }
    server {
        listen 127.0.0.1:8083;
        if ($request_method !~ ^(GET|HEAD|POST)$) { return 405; }

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# The common line against other methods.

my $odd = token();
$as->script($odd, $as->jwt_answer(jwt()));
my $at = time;
call('/', $odd, port => 8083);
call_until(sub { $as->questions($odd) >= 2 || time > $at + 1.9 }, '/', $odd, port => 8083);
is($as->questions($odd), 2, 'asked in the background behind a check of the method');

# A background question that waits for another one's answer (proxy_cache_lock) when the time is up.

my ($blocked, $blocking) = (token(), token());
$as->script($blocked, $as->jwt_answer(jwt(), headers => ['Cache-Control' => 'no-store']));
$as->script($blocking, $as->jwt_answer(jwt(), hold => 1));
my $asked_at = time;
call('/', $blocked, port => 8084);
my $asking = http_connection(port => 8084)->request('GET', '/', headers => [Authorization => "Bearer $blocking"]);
$as->wait_for_question($blocking);
my $hit = sub { return call('/', $blocked, port => 8084)->status() == 200 };
ok(eventually(sub { return $hit->() && time > $asked_at + 1.2 }), 'hits go on');
is($as->questions($blocked), 1, 'while the background question waits');
my ($blocked_worker) = $t->workers();
$t->reload();
ok($t->wait_for_log(qr/worker process $blocked_worker exited with code 0/), 'the old worker exits');
$as->release($blocking);

my $token = token();
$as->script($token, $as->jwt_answer(jwt()), $as->jwt_answer(jwt(), hold => 1));
call('/', $token);
call_until(sub { $as->questions($token) == 2 }, '/', $token);

my ($old) = $t->workers();
$t->reload();
ok($t->wait_for_log(qr/worker process $old exited with code 0/), 'the old worker exits');
$as->release($token);
$t->wait_old_workers();
my $status = http_request('GET', '/status')->body();
unlike($status, qr/Active connections: (?!1\b)/, 'nobody is counted out twice');
unlike($t->read_file('error.log'), qr/open socket/, 'no connection is left');
unlike($t->read_file('error.log'), qr/answered by itself/, 'no question is answered here');
