#!/usr/bin/perl

# The rules of a location hold for a verdict that a request brings along from another location.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(8);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect/$arg_tenant;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Error $phantom_token_error always;

    server {
        listen 127.0.0.1:8080;

        # A verdict past its time, brought to a location that wants none.
        location /lenient {
            phantom_token_cache_max_ttl 1ms;
            phantom_token_cache_use_stale 10m;
            try_files /none /strict$is_args$args;
        }
        location /strict { phantom_token_cache_max_ttl 1ms; proxy_pass http://127.0.0.1:8082; }

        # A verdict that is old, brought to a location whose verdicts are young.
        location /long { try_files /none /short$is_args$args; }
        location /short { phantom_token_cache_max_ttl 1ms; proxy_pass http://127.0.0.1:8082; }

        # The verdict of one tenant, brought to another that anybody may see.
        location /one { try_files /none /open?tenant=two; }
        location /open { satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }

        location /introspect/ { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # A verdict past its time, brought to a location that anybody may see and that wants none.
    server {
        listen 127.0.0.1:8083;
        phantom_token_introspection_endpoint /introspect;
        phantom_token_cache_max_ttl 1ms;
        location /lenient { phantom_token_cache_use_stale 10m; try_files /none /strict; }
        location /strict { satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# A response that is made of no verdict of this very millisecond.
sub call_later {
    my (@call) = @_;
    return call_until(sub { ($_[0]->header('Cache-Status') // '') ne 'HIT' }, @call);
}

my $token = token();
$as->script($token, $as->jwt_answer(jwt()), { status => 503 });
call('/lenient', $token);
is(call_later('/strict', $token)->status(), 503, 'a location without use_stale refuses');
my $response = call_later('/lenient', $token);
is($response->status(), 503, 'and so it does when the request comes from one that has it');
is($response->header('Error'), 'server_busy', 'for the same reason');

my $old = token();
$as->script($old, $as->jwt_answer(jwt()), $as->inactive_answer());
call('/long', $old);
my $questions = $as->questions($old);
is(call_later('/long', $old)->status(), 401, 'a verdict older than max_ttl is asked about, wherever it comes from');

my $tenant = token();
my $jwt = jwt();
$as->script($tenant, $as->jwt_answer($jwt));
$response = call('/one?tenant=one', $tenant);
is($response->status(), 200, 'open to all');
is($api->authorization($response), undef, 'the verdict of another endpoint is not forwarded');
my $stale = token();
$as->script($stale, $as->jwt_answer(jwt()), { status => 503 });
call('/lenient', $stale, port => 8083);
$response = call_later('/lenient', $stale, port => 8083);
is($api->authorization($response), undef, 'nor is a verdict past its time, where nothing permits that');
unlike($t->read_file('error.log'), qr/panicked/, 'no panic');
