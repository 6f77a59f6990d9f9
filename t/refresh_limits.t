#!/usr/bin/perl

# A background question is no request of the client's: limits that have counted the request that it is made for do not count
# it once more.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy limit_req limit_conn))->plan(9);
my $BURST = 300;

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%BURST%%/$BURST/r);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 1s;
    add_header Slug $phantom_token_error always;

    # Of one client, and so slow that none of the burst comes back as long as this test lasts.
    limit_req_zone $binary_remote_addr zone=requests:1m rate=1r/m;
    limit_conn_zone $binary_remote_addr zone=connections:1m;

    server {
        listen 127.0.0.1:8080;
        limit_req zone=requests burst=%%BURST%% nodelay;
        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8083;
        limit_conn connections 1;
        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# The whole burst is there for the client's requests.

my $token = token();
$as->script($token, $as->jwt_answer(jwt()));
is(call('/', $token)->status(), 200, 'limit_req: asked');
my $passed = 1;
my $status = call_until(sub { $passed++; $as->questions($token) >= 2 }, '/', $token)->status();
is($status, 200, 'limit_req: confirmed');
$passed++ while $passed <= 2 * $BURST && call('/', $token)->status() == 200;
is($passed, $BURST + 1, 'limit_req: the client is counted, and nobody else');
unlike($t->read_file('error.log'), qr/phantom_token: server/, 'limit_req: and the server is not blamed');

# And the one connection, while a background question is on its way.

my $slow = token();
$as->script($slow, $as->jwt_answer(jwt()), $as->jwt_answer(jwt(), hold => 1));
is(call('/', $slow, port => 8083)->status(), 200, 'limit_conn: asked');
$status = call_until(sub { $as->questions($slow) >= 2 || $_[0]->status() != 200 }, '/', $slow, port => 8083)->status();
is($status, 200, 'limit_conn: confirmed');
is($as->questions($slow), 2, 'limit_conn: by a question that was asked');
is(call('/', $slow, port => 8083)->status(), 200, 'limit_conn: hits go on meanwhile');
$as->release($slow);
is(call('/', $slow, port => 8083)->status(), 200, 'limit_conn: and after it');
