#!/usr/bin/perl

# What an operator must know is in a log of the level "error", which is NGINX's default, and once for each change of state.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(9);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/default.log;

    phantom_token_cache_zone large:4m;
    phantom_token_cache_zone small:128k;
    phantom_token_cache large;
    phantom_token_max_response 256k;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;
    large_client_header_buffers 4 256k;

    server {
        listen 127.0.0.1:8080;

        location /small { phantom_token on; phantom_token_cache small; proxy_set_header Authorization ""; proxy_pass http://127.0.0.1:8082; }
        location /stale {
            phantom_token on;
            phantom_token_cache_max_ttl 1ms;
            phantom_token_cache_use_stale 10m;
            proxy_pass http://127.0.0.1:8082;
        }
        location /down { phantom_token on; phantom_token_introspection_endpoint /unreachable; proxy_pass http://127.0.0.1:8082; }
        location /claims {
            phantom_token on;
            phantom_token_forward claims;
            proxy_set_header X-Subject $phantom_token_claim_sub;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /unreachable { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# What the log has had to say since this was asked last: our lines, without what NGINX adds.
my $read = 0;
sub said {
    my $log = substr $t->read_file('default.log'), $read;
    $read += length $log;
    return $log =~ /^\S+ \S+ \[error\] .*?phantom_token: (.*?)(?:,? (?:while \w+ [^,]*)?, client:.*)?$/mg;
}

# A verdict that no zone of this size can keep.

my $large = token();
$as->script($large, $as->jwt_answer(jwt(size => 110_000)));
is(call('/small', $large)->header('Cache-Status'), 'MISS', 'too large for the zone: asked') for 1, 2;
is(scalar(grep { m{too large for the cache zone.* make the zone larger, location "/small"} } said()), 1,
    'the log says so once, and where');

# A server that cannot be asked, and can again.

my $token = token();
$as->script($token, $as->jwt_answer(jwt()), { status => 500 }, { status => 500 }, $as->jwt_answer(jwt()));
call('/stale', $token);
is(call_until(sub { $_[0]->header('Cache-Status') eq 'STALE' }, '/stale', $token)->status(), 200, 'used past its time');
call_until(sub { $_[0]->header('Cache-Status') eq 'MISS' }, '/stale', $token);
my @said = said();
is(scalar(grep { m{verdicts past their time are used from now on, location "/stale"} } @said), 1, 'the log says when it begins');
is(scalar(grep { m{the authorization server answers again, location "/stale"} } @said), 1, 'and when it ends');

# A server that fails many times in a row.

my @tokens = map { token() } 1 .. 40;
$as->script($_, { reset => 1 }) for @tokens;
call('/down', $_) for @tokens;
my $answered = token();
$as->script($answered, $as->jwt_answer(jwt()));
call_until(sub { $_[0]->status() == 200 }, '/down', $answered);
@said = said();
is(scalar(grep { m{failed many times in a row: it is asked now and then only, endpoint "/unreachable"} } @said), 1,
    'a server that is left alone');
is(scalar(grep { m{the authorization server answers again, endpoint "/unreachable"} } @said), 1, 'and found again');

# A claim that cannot be sent.

my $odd = token();
$as->script($odd, $as->json_answer('{"active":true,"sub":"a\\u0001b","exp":4000000000}'));
call('/claims', $odd);
is(scalar(grep { /the claim "sub" .*its variable is empty/ } said()), 1, 'a claim that cannot be in a header');
