#!/usr/bin/perl

# Requests that pass without a verdict although a location is on: by `satisfy any`, or as a subrequest. These are all
# the ways there are, and on none of them does the opaque token, or what only we may assert, go upstream. Beside
# them, what NGINX makes of a request that has a verdict: it carries the JWT.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use MIME::Base64 qw(encode_base64);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $alice = 'Basic ' . encode_base64('alice:wonderland', '');

# URI, what the client's request carries beside the token, and the paths of the API where it is seen. T stands for
# the token.
my @without = (
    ['/any/allow', [Authorization => 'Bearer T'], '/any/allow'],
    ['/any/allow', [Authorization => 'bearer  T'], '/any/allow'],
    ['/any/allow', [Authorization => 'DPoP T'], '/any/allow'],
    ['/any/allow', [Authorization => 'Bearer T, T'], '/any/allow'],
    ['/any/header', [Authorization => 'Bearer T', 'X-Access-Token' => 'T'], '/any/header'],
    ['/any/cookie', [Cookie => 'a=b; session=T'], '/any/cookie'],
    ['/any/own', ['X-Token' => 'T', 'x-token' => 'T'], '/any/own'],
    ['/any/basic', [Authorization => $alice, 'X-Token' => 'T'], '/any/basic'],
    ['/any/basic_cookie', [Authorization => $alice, Cookie => 'session=T'], '/any/basic_cookie'],
    ['/any/mirror', [Authorization => 'Bearer T'], '/any/mirror', '/in/on/any', '/in/off/any'],
    ['/any/ssi/page.shtml', [Authorization => 'Bearer T'], '/in/on/ssi', '/in/off/ssi'],
    ['/any/post_action', [Authorization => 'Bearer T'], '/any/post_action', '/in/off/post_action'],
    ['/off/ssi/page.shtml', [Authorization => 'Bearer T'], '/in/on/ssi'],
    ['/off/ssi/header.shtml', [Authorization => 'Bearer T', 'X-Access-Token' => 'T'], '/in/header/ssi'],
    ['/off/ssi/cookie.shtml', [Authorization => 'Bearer T', Cookie => 'session=T'], '/in/cookie/ssi'],
    ['/off/request', [Authorization => 'Bearer T'], '/in/on/request'],
    ['/off/request_header', [Authorization => 'Bearer T', 'X-Access-Token' => 'T'], '/in/header/request'],
    ['/off/mirror', [Authorization => 'Bearer T'], '/in/on/mirror'],
);

# URI, and the paths where the request with its verdict is seen: with the JWT, whether the location is on or off.
my @with = (
    ['/on/ssi/page.shtml', '/in/on/ssi', '/in/off/ssi'],
    ['/on/request', '/in/on/request', '/on/request'],
    ['/on/request_off', '/in/off/request', '/on/request_off'],
    ['/on/mirror', '/in/on/mirror', '/in/off/mirror', '/on/mirror'],
    ['/on/post_action', '/on/post_action', '/in/on/post_action'],
    ['/on/post_action_off', '/on/post_action_off', '/in/off/post_action'],
);

# Requests that are refused: what NGINX makes of them carries nothing.
my @refused = (['/on/post_action_off', '/in/off/post_action']);

my $t = Test::Nginx->new()->has(qw(http proxy access auth_basic auth_request mirror ssi));
my $seen = 0;
$seen += @$_ - 1 for @with, @refused;
$seen += @$_ - 2 for @without;
$t->plan(@without + @with + 2 * @refused + 2 * $seen + 7);

my $slice = $t->has_module('slice') ? 'slice 10;' : 'set $slice_range "";';

mkdir $t->testdir() . "/$_" for qw(any any/ssi off off/ssi on on/ssi);
$t->write_file("$_/ssi/page.shtml", '<!--#include virtual="/in/on/ssi" --><!--#include virtual="/in/off/ssi" -->')
    for qw(any on);
$t->write_file('off/ssi/page.shtml', '<!--#include virtual="/in/on/ssi" -->');
$t->write_file('off/ssi/header.shtml', '<!--#include virtual="/in/header/ssi" -->');
$t->write_file('off/ssi/cookie.shtml', '<!--#include virtual="/in/cookie/ssi" -->');
$t->write_file('htpasswd', 'alice:{PLAIN}wonderland' . "\n");
$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%SLICE%%/$slice/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    proxy_cache_path %%TESTDIR%%/cache keys_zone=responses:1m;
    phantom_token_introspection_endpoint /introspect;
    default_type text/html;

    server {
        listen 127.0.0.1:8080;

        location /any/ {
            satisfy any;
            phantom_token on;
            allow all;
            proxy_pass http://127.0.0.1:8082;

            location /any/header { phantom_token_header X-Access-Token; proxy_pass http://127.0.0.1:8082; }
            location /any/cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
            location /any/own { phantom_token on token=$http_x_token; proxy_pass http://127.0.0.1:8082; }
            location /any/basic {
                phantom_token on token=$http_x_token;
                deny all;
                auth_basic "basic";
                auth_basic_user_file htpasswd;
                proxy_pass http://127.0.0.1:8082;
            }
            location /any/basic_cookie {
                phantom_token on token=$cookie_session;
                deny all;
                auth_basic "basic";
                auth_basic_user_file htpasswd;
                proxy_pass http://127.0.0.1:8082;
            }
            location /any/mirror {
                mirror /in/on/any;
                mirror /in/off/any;
                proxy_pass http://127.0.0.1:8082;
            }
            location /any/ssi/ { ssi on; }
            location /any/post_action { post_action /in/off/post_action; proxy_pass http://127.0.0.1:8082; }
        }

        location /off/ssi/ { ssi on; }
        location /off/request { auth_request /in/on/request; try_files /none =204; }
        location /off/request_header { auth_request /in/header/request; try_files /none =204; }
        location /off/mirror { mirror /in/on/mirror; empty_gif; }

        location /on/ {
            phantom_token on;
            proxy_pass http://127.0.0.1:8082;

            location /on/ssi/ { ssi on; }
            location /on/request { auth_request /in/on/request; proxy_pass http://127.0.0.1:8082; }
            location /on/request_off { auth_request /in/off/request; proxy_pass http://127.0.0.1:8082; }
            location /on/mirror { mirror /in/on/mirror; mirror /in/off/mirror; proxy_pass http://127.0.0.1:8082; }
            location /on/post_action { post_action /in/on/post_action; proxy_pass http://127.0.0.1:8082; }
            location /on/post_action_off { post_action /in/off/post_action; proxy_pass http://127.0.0.1:8082; }
            location /on/updated {
                proxy_cache responses;
                proxy_cache_key $uri;
                proxy_cache_valid 1s;
                proxy_cache_use_stale updating;
                proxy_cache_background_update on;
                proxy_pass http://127.0.0.1:8082;
            }
            location /on/sliced {
                %%SLICE%%
                proxy_set_header Range $slice_range;
                proxy_http_version 1.1;
                proxy_pass http://127.0.0.1:8082;
            }
        }

        location /in/on/ { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /in/off/ { proxy_pass http://127.0.0.1:8082; }
        location /in/header/ {
            phantom_token on;
            phantom_token_header X-Access-Token;
            proxy_pass http://127.0.0.1:8082;
        }
        location /in/cookie/ { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# Sends a request, and returns its response and what the API saw of it at each of the paths.
sub seen {
    my ($uri, $headers, @paths) = @_;

    my @before = map { $api->count($_) } @paths;
    my $response = http_request('GET', $uri, headers => $headers);
    $api->wait_for($paths[$_], $before[$_] + 1) for 0 .. $#paths;
    return ($response, map { $api->last_request($_) } @paths);
}

# Without a verdict.

for my $case (@without) {
    my ($uri, $headers, @paths) = @$case;

    my @headers = map { s/\bT\b/$token/gr } @$headers;
    my ($response, @requests) = seen($uri, \@headers, @paths);
    like($response->status(), qr/^20[04]$/, "$uri passes");

    for my $request (@requests) {
        my $name = "$uri at $request->{uri}";
        my $asserted = join ' ', grep { defined } map { scalar $api->header($request, $_) } qw(Authorization
            X-Access-Token Cookie X-Token);
        like($asserted, qr/^(?:a=b|\Q$alice\E)?$/, "$name: nothing that only a verdict may carry");
        unlike("$request->{head}\n$request->{body}", qr/\Q$token/, "$name: not the token");
    }
}

is($as->questions(), 0, 'and nobody was asked');

# With one.

my @bearer = (Authorization => "Bearer $token");

for my $case (@with) {
    my ($uri, @paths) = @$case;

    my ($response, @requests) = seen($uri, \@bearer, @paths);
    is($response->status(), 200, "$uri with a verdict");

    for my $request (@requests) {
        my $name = "$uri with a verdict at $request->{uri}";
        is(($api->header($request, 'Authorization') // '') eq "Bearer $jwt", 1, "$name: the JWT");
        unlike($request->{head}, qr/\Q$token/, "$name: not the token");
    }
}

# Refused.

my $unknown = token();

for my $case (@refused) {
    my ($uri, @paths) = @$case;

    my $before = $api->count($uri);
    my ($response, @requests) = seen($uri, [Authorization => "Bearer $unknown"], @paths);
    is($response->status(), 401, "$uri, refused");
    is($api->count($uri), $before, "$uri, refused: not upstream");

    for my $request (@requests) {
        my $name = "$uri, refused, at $request->{uri}";
        is($api->header($request, 'Authorization'), undef, "$name: no credentials");
        unlike($request->{head}, qr/\Q$unknown/, "$name: not the token");
    }
}

# What NGINX asks the API by itself, on behalf of a request: a cached response brought up to date in the background,
# and the next slice of one.

call('/on/updated', $token);
call_until(sub { $api->count('/on/updated') > 1 }, '/on/updated', $token);
my @updates = $api->requests('/on/updated');
is(scalar(grep { $api->header($_, 'Authorization') eq "Bearer $jwt" } @updates), scalar @updates,
    'an update in the background carries the JWT');

SKIP: {
    skip 'no slice', 2 unless $t->has_module('slice');

    $api->script('/on/sliced',
        { status => 206, headers => ['Content-Range' => 'bytes 0-9/15'], body => '0123456789' },
        { status => 206, headers => ['Content-Range' => 'bytes 10-14/15'], body => 'abcde' });
    is(call('/on/sliced', $token)->body(), '0123456789abcde', 'slices');
    is(scalar(grep { $api->header($_, 'Authorization') eq "Bearer $jwt" } $api->requests('/on/sliced')), 2,
        'each slice is asked for with the JWT');
}

my @opaque = grep { "$_->{head}\n$_->{body}" =~ /\Q$token\E|\Q$unknown/ } $api->requests();
is(scalar @opaque, 0, 'no opaque token went upstream');
is($as->questions($token), 1, 'the one was asked about once');
is($as->questions($unknown), 1, 'and the other');
