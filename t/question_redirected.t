#!/usr/bin/perl

# X-Accel-Redirect of the authorization server is not followed: the question's credentials and the opaque token stay
# out of other locations.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(6);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway secret-of-the-gateway;

    server {
        listen 127.0.0.1:8080;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /protected { internal; proxy_pass http://127.0.0.1:8082; }
        location @protected { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
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
