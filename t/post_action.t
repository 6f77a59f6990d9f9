#!/usr/bin/perl

# An HTTP/2 client that resets its stream while the token is being asked about: the question must not be taken to
# post_action's location, with our credentials and the token in it.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy http_v2))->plan(3);
my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway hunter2;

    server {
        listen 127.0.0.1:8080%%LISTEN%%;
        listen 127.0.0.1:8083;
        %%H2%%
        post_action /done;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /done { internal; post_action ""; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $token = token();
$as->script($token, $as->jwt_answer(jwt(), hold => 1));
my $h2 = Test::Nginx::HTTP2->new();
my $stream = $h2->request('GET', '/', headers => [Authorization => "Bearer $token"]);
$as->wait_for_question($token, 1);
$h2->reset($stream);
$h2->ping();
$as->release($token);
is(call('/done-yet', token(), port => 8083)->status(), 401, 'the worker goes on');
is(scalar(grep { $_->{body} =~ /\Q$token/ } $api->requests()), 0, 'the token is not in what post_action sends');
is(scalar(grep { $_->{head} =~ /Basic/ } $api->requests()), 0, 'nor are our credentials');
