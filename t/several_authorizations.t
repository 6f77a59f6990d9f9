#!/usr/bin/perl

# Two Authorization lines are NGINX's own 400, before any phase. `error_page 400` takes such a request into a location
# that is on, with both lines: neither the token of one nor that of the other goes upstream.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy access ssi))->plan(17);

mkdir $t->testdir() . '/ssi';
$t->write_file('ssi/page.shtml', '<!--#include virtual="/on/included" -->');
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    default_type text/html;

    server {
        listen 127.0.0.1:8080;
        error_page 400 = /$arg_to;

        location /on { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /header {
            phantom_token on;
            phantom_token_header X-Access-Token;
            proxy_pass http://127.0.0.1:8082;
        }
        location /cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
        location /any {
            satisfy any;
            allow all;
            phantom_token on;
            proxy_pass http://127.0.0.1:8082;
        }
        location /ssi/ { ssi on; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
my $other = token();
$as->script($token, $as->jwt_answer($jwt));

# What NGINX takes to /TO, and what the API sees of it at the path, if anything.
sub led {
    my ($to, $path, @lines) = @_;

    my $before = $api->count($path);
    my $connection = http_connection();
    $connection->send(join "\r\n", "GET /?to=$to HTTP/1.1", 'Host: localhost', 'Connection: close', @lines, '', '');
    my $response = $connection->response();
    $connection->close();
    return ($response, $api->count($path) > $before ? $api->last_request($path) : undef);
}

my @both = ("Authorization: Bearer $token", "Authorization: Bearer $other");

for my $to (qw(on header)) {
    my ($response, $request) = led($to, "/$to", @both);
    is($response->status(), 400, "$to: the token in two ways");
    like($response->header('WWW-Authenticate') // '', qr/error="invalid_request"/, "$to: which the challenge says");
    is($request, undef, "$to: nothing goes upstream");
}

led('on', '/on', 'Authorization: Basic YTpi', "Authorization: Bearer $token");
is($api->count('/on'), 0, 'nor does it with another scheme before the token');

# Where the client's own Authorization does not count, it is dropped, all of it.
{
    my ($response, $request) = led('cookie', '/cookie', @both, "Cookie: session=$token");
    is($response->status(), 401, 'a cookie behind the line that NGINX refuses is not read');
    is($request, undef, 'and nothing goes upstream');

    ($response, $request) = led('cookie', '/cookie', "Cookie: session=$token", @both);
    is($response->status(), 200, 'the cookie alone counts');
    my @lines = ($request->{head} // '') =~ /^authorization: *(.*?)\r?$/gim;
    is(scalar @lines, 1, 'one line goes upstream');
    is($lines[0] eq "Bearer $jwt", 1, 'which is the JWT');
}

for my $case (['any', '/any'], ['ssi/page.shtml', '/on/included']) {
    my ($to, $path) = @$case;
    for my $lines ([@both], ['Authorization: Basic YTpi', "Authorization: Bearer $token"]) {
        my ($response, $request) = led($to, $path, @$lines);
        unlike($request->{head} // "$token", qr/\Q$token\E|\Q$other/, "$to: no token of a request without a verdict");
    }
}

is(scalar(grep { $_->{head} =~ /\Q$token\E|\Q$other/ } $api->requests()), 0, 'no opaque token went upstream');
