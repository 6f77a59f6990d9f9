#!/usr/bin/perl

# Tokens that a variable of the configuration's own makes out of something: `from=` says what, so that it does not go
# upstream; and each location is decided by what the variable holds there.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy access rewrite map))->plan(32);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;

    map $http_cookie $pa_global { "~(?:^|; )PA\.global=(?<global>[^;]+)" $global; }
    map $http_x_token $x_token { "~*^bearer (?<bare>.+)$" $bare; }
    map $http_authorization $scheme_token { "~^Token (?<own>.+)$" $own; }

    server {
        listen 127.0.0.1:8080;

        location = /cookie { phantom_token on token=$pa_global from=cookie:PA.global; proxy_pass http://127.0.0.1:8082; }
        location = /header { phantom_token on token=$x_token from=header:X-Token; proxy_pass http://127.0.0.1:8082; }
        location = /scheme {
            phantom_token on token=$scheme_token from=header:Authorization;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /any {
            satisfy any;
            allow all;
            phantom_token on token=$scheme_token from=header:Authorization;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /again {
            phantom_token on token=$pa_global from=cookie:PA.global;
            error_page 502 = @again;
            proxy_set_header Seen $pa_global;
            proxy_pass http://127.0.0.1:8099;
        }
        location @again {
            phantom_token on token=$pa_global from=cookie:PA.global;
            proxy_pass http://127.0.0.1:8082;
        }

        # A token in each of two places, and a location for each.
        location = /two {
            set $tok $cookie_first;
            phantom_token on token=$tok;
            try_files /nothing @second;
        }
        location = /two_errors {
            set $tok $cookie_first;
            phantom_token on token=$tok;
            error_page 502 = @second;
            proxy_pass http://127.0.0.1:8099;
        }
        location = /one {
            set $tok $cookie_first;
            phantom_token on token=$tok;
            try_files /nothing @inherited;
        }
        location @second {
            set $tok $cookie_second;
            phantom_token on token=$tok;
            proxy_pass http://127.0.0.1:8082;
        }
        location @inherited { phantom_token on token=$tok; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
my ($other, $others) = (token(), jwt(sub => 'bob'));
$as->script($token, $as->jwt_answer($jwt));
$as->script($other, $as->jwt_answer($others));
my $bad = token();

sub seen {
    my ($path, @headers) = @_;
    my $before = $api->count($path);
    my $response = http_request('GET', $path, headers => \@headers);
    return ($response->status(), $api->count($path) > $before ? $api->last_request($path) : undef);
}

# What carried the token.

for my $case (
    ['/cookie', Cookie => "a=b; PA.global=$token; c=d"],
    ['/header', 'X-Token' => "Bearer $token", Cookie => 'a=b; c=d'],
    ['/scheme', Authorization => "Token $token", Cookie => 'a=b; c=d'],
    ['/again', Cookie => "a=b; PA.global=$token; c=d"],
) {
    my ($path, @headers) = @$case;
    for my $way (qw(miss hit)) {
        my ($status, $request) = seen($path, @headers);
        is($status, 200, "$path, $way");
        is(($api->header($request, 'Authorization') // '') eq "Bearer $jwt", 1, "$path, $way: the JWT alone");
        is("@{[$api->header($request, 'Cookie'), $api->header($request, 'X-Token')]}", 'a=b; c=d',
            "$path, $way: without what carried the token");
    }
}

{
    my ($status, $request) = seen('/any', Authorization => "Token $token");
    is($api->header($request, 'Authorization'), undef, 'nor is it there without a verdict');
}

# Each location is decided by its own.

for my $path (qw(/two /two_errors)) {
    my ($status) = seen($path, Cookie => "first=$token; second=$bad");
    is($status, 401, "$path: the second token is a bad one");
    ($status) = seen($path, Cookie => "first=$token");
    is($status, 401, "$path: there is no second token");
    my $request;
    ($status, $request) = seen($path, Cookie => "first=$token; second=$other");
    is(($api->header($request, 'Authorization') // '') eq "Bearer $others", 1, "$path: the second one's JWT");
}

{
    my ($status, $request) = seen('/one', Cookie => "first=$token");
    is(($api->header($request, 'Authorization') // '') eq "Bearer $jwt", 1, 'what nobody sets anew counts on');
}
