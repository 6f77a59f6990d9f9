#!/usr/bin/perl

# nginx-conf/cors.conf, together with errors.conf, as a browser sees it: what a page may send, and what it may read.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Browser;
use Test::PhantomToken::Shipped qw(ship);

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(53);

ship($t);
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    include phantom-token/cors-origins.conf;

    server {
        listen 127.0.0.1:8080;

        include phantom-token/cors.conf;
        include phantom-token/errors.conf;

        phantom_token_introspection_endpoint /introspect;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /files/ { root %%TESTDIR%%; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $app = 'https://app.example.com';
my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));
my %bearer = (Authorization => "Bearer $token");

# What a page of ours does.

my $count = 0;

for my $method (qw(GET POST PUT PATCH DELETE)) {
    my $body = $method =~ /^P/ ? '{}' : undef;
    my %type = defined $body ? ('Content-Type' => 'application/json') : ();
    my $seen = fetch($app, $method, '/things', headers => { %bearer, %type }, body => $body);
    is($seen->{status}, 200, "$method: the page sees the response");
    is($api->authorization(), "Bearer $jwt", "$method: the JWT upstream");
    is($api->last_request()->{method}, $method, "$method: upstream");
    is($api->count(), ++$count, "$method: the preflight does not go upstream");
}

is($as->count(), 1, 'one question, for the token');

# Refusals are read, not guessed from a failed network.

my $seen = fetch($app, 'GET', '/things');
is($seen->{status}, 401, 'no token: the page sees it');
is($seen->{headers}{'www-authenticate'}, 'Bearer realm="api"', 'with the challenge');
like($seen->{body}, qr/^\{"code":"unauthorized_request",/, 'and the JSON body');

my $unknown = token();
$seen = fetch($app, 'DELETE', '/things', headers => { Authorization => "Bearer $unknown" });
is($seen->{status}, 401, 'inactive: the page sees it');
is($seen->{headers}{'www-authenticate'}, 'Bearer realm="api", error="invalid_token"', 'inactive: with the challenge');

my $late = token();
$as->script($late, { status => 503, headers => ['Retry-After' => '7'] });
$seen = fetch($app, 'GET', '/things', headers => { Authorization => "Bearer $late" });
is($seen->{status}, 503, 'busy: the page sees it');
is($seen->{headers}{'retry-after'}, '7', 'busy: and when to come again');

is($api->count(), $count, 'none of these went upstream');

# An API that says something of its own about CORS.

$api->script('/talkative', { body => 'ok', headers => [
    'Access-Control-Allow-Origin' => '*', 'Access-Control-Allow-Credentials' => 'true',
    'Access-Control-Expose-Headers' => 'X-Secret', 'X-Secret' => '1', Vary => 'Accept',
] });
$seen = fetch($app, 'GET', '/talkative', headers => \%bearer);
is($seen->{status}, 200, 'the API\'s own CORS headers do not add to ours');
is($seen->{headers}{'x-secret'}, undef, 'nor what it exposes');
my $response = call('/talkative', $token, headers => [Origin => $app]);
is($response->header('Access-Control-Allow-Credentials'), undef, 'nor cookies');
is($response->header('Vary'), 'Accept, Origin', 'caches are told what the response depends on');
$count = $api->count();

# Pages of others.

for my $origin ('https://evil.example', 'https://app.example.com.evil.example', 'http://app.example.com', 'null') {
    is(fetch($origin, 'GET', '/things', headers => \%bearer), undef, "$origin may not send a token");
}

is($api->count(), $count, 'and nothing of theirs goes upstream');
is(fetch('https://evil.example', 'GET', '/things'), undef, 'nor read a refusal');
$response = call('/things', undef, headers => [Origin => 'https://evil.example']);
is(join(' ', grep { /^Access-Control/i } map { $_->[0] } @{ $response->{headers} }), '', 'strangers are told nothing');

# A preflight has no token; all else needs one.

is(call('/things', undef, method => 'OPTIONS', headers => [Origin => $app])->status(), 401,
    'OPTIONS that is no preflight is a request like any other');
is(call('/things', $token, method => 'OPTIONS')->status(), 200, 'which passes with a token');
$response = call('/things', undef, method => 'OPTIONS',
    headers => [Origin => $app, 'Access-Control-Request-Method' => 'GET', Cookie => 'a=b']);
is($response->status(), 204, 'a preflight is answered');
is($response->header('WWW-Authenticate'), undef, 'without a challenge');

# A path that no location has on: the page learns that there is nothing.

my %own = ('Content-Type' => 'application/json');
for my $path ('/files/nothing', '/files/') {
    my $seen = fetch($app, 'GET', $path, headers => \%own) // {};
    is($seen->{status}, 404, "$path: the page sees it");
    is(call($path, undef, method => 'OPTIONS', headers => [Origin => $app])->status(), 405,
        "$path: OPTIONS that is no preflight");
    is(call($path, undef, method => 'PUT', headers => [Origin => $app, 'Access-Control-Request-Method' => 'GET'],
        body => '')->status(), 405, "$path: nor is another method");
}
is(fetch('https://evil.example', 'GET', '/files/nothing', headers => \%own), undef, 'not a page of others');
$response = call('/files/nothing', undef, method => 'OPTIONS',
    headers => [Origin => 'https://evil.example', 'Access-Control-Request-Method' => 'GET']);
is(join(' ', grep { /^Access-Control/i } map { $_->[0] } @{ $response->{headers} }), '', 'who are told nothing');
$response = call('/files/nothing', undef, method => 'OPTIONS', headers => [
    Origin => $app, 'Access-Control-Request-Method' => 'GET', 'Access-Control-Request-Headers' => 'authorization']);
is($response->status() . ' ' . $response->body(), '204 ', 'a preflight there');
