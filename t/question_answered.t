#!/usr/bin/perl

# An introspection location that answers by itself, at whatever length: the client is owed its refusal all the same.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy rewrite))->plan(3);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_max_response 16;

    server {
        listen 127.0.0.1:8080;

        location /long { phantom_token_introspection_endpoint /answer_long; proxy_pass http://127.0.0.1:8082; }
        location /short { phantom_token_introspection_endpoint /answer_short; proxy_pass http://127.0.0.1:8082; }
        location /refusing { phantom_token_introspection_endpoint /refuse; proxy_pass http://127.0.0.1:8082; }

        location = /answer_long { internal; return 200 "an answer that is longer than sixteen bytes"; }
        location = /answer_short { internal; return 200 "short"; }
        location = /refuse { internal; return 403; }
    }
}
CONF

$t->run();

is(call('/long', token())->status(), 500, 'longer than what is accepted');
is(call('/short', token())->status(), 502, 'short');
is(call('/refusing', token())->status(), 500, 'a refusal of its own');
