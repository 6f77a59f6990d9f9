#!/usr/bin/perl

# X-Accel-Redirect of the authorization server is not followed, be it new or in proxy_cache: the question's credentials
# and the opaque token stay out of other locations.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(6 + 3 * 9 + 3);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway secret-of-the-gateway;

    proxy_cache_path %%TESTDIR%%/cache keys_zone=answers:1m;

    server {
        listen 127.0.0.1:8080;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /protected { internal; proxy_pass http://127.0.0.1:8082; }
        location @protected { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }

        location /cached {
            phantom_token on;
            phantom_token_cache off;
            phantom_token_introspection_endpoint /introspect_cached;
            proxy_pass http://127.0.0.1:8082;
        }
        location /intercepted {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect_intercepted;
            add_header Slug $phantom_token_error always;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect_intercepted {
            internal;
            proxy_intercept_errors on;
            error_page 401 500 503 /protected;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_cached {
            internal;
            proxy_cache answers;
            proxy_cache_methods POST;
            proxy_cache_key $request_body;
            proxy_cache_valid 1h;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

for my $target ('/protected', '/', '@protected') {
    my $token = token();
    $as->script($token, $as->jwt_answer(jwt(), headers => ['X-Accel-Redirect' => $target]));
    my $before = $api->count();
    my $response = call('/x', $token);
    my @seen = splice @{ [$api->requests()] }, $before;
    is(scalar(grep { "$_->{head}\n$_->{body}" =~ /\Q$token\E|Basic / } @seen), 0,
        "$target: no location gets the token or our credentials");

    # Ignored, as the connection that is shipped has it, or an answer that makes no sense.
    like($response->status(), qr/^(?:200|502)$/, "$target: status");
}

# What an error says is not changed by it.

for my $case ([503, '503 server_busy'], [401, '502 server_refused_us'], [500, '502 server_unreachable']) {
    my ($status, $outcome) = @$case;
    my $token = token();
    $as->script($token, { status => $status, headers => ['X-Accel-Redirect' => '/protected'] });
    my $response = call('/intercepted', $token);
    is($response->status() . ' ' . $response->header('Slug'), $outcome, "an error $status: what it says counts");
}

# The server's answer in NGINX's cache. After a reload it is the first one that a worker sees.

for my $target ('/protected', '/', '@protected') {
    my $token = token();
    $as->script($token, $as->jwt_answer(jwt(), headers => ['X-Accel-Redirect' => $target]));

    for my $when ('new', 'in the cache', 'in the cache, after a reload') {
        $t->reload() if $when =~ /reload/;
        my $before = $api->count();
        my $response = call('/cached', $token);
        my @seen = splice @{ [$api->requests()] }, $before;
        is(scalar(grep { "$_->{head}\n$_->{body}" =~ /\Q$token\E|Basic / } @seen), 0,
            "$target, $when: no location gets the token or our credentials");
        like($response->status(), $when =~ /reload/ ? qr/^(?:200|502)$/ : qr/^200$/, "$target, $when: status");
        is($as->questions($token), 1, "$target, $when: one question");
    }
}
