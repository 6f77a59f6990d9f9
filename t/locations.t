#!/usr/bin/perl

# The ways in which NGINX finds a location, and what a location can be made of: the one in which the rewrite phase
# ends decides, and no way around it is open.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

# Requests that need a verdict: method and URI, and the URI that the API gets.
my @on = (
    [GET => '/exact', '/exact'],
    [GET => '/prefix/x', '/prefix/x'],
    [GET => '/regex/x.json', '/regex/x.json'],
    [GET => '/regex/named/17', '/items/17'],
    [GET => '/outer/x', '/outer/x'],
    [GET => '/outer/inner/x', '/inner/x'],
    [GET => '/outer/x.deep', '/outer/x.deep'],
    [GET => '/off/on/x', '/off/on/x'],
    [GET => '/if/x', '/if/x'],
    [GET => '/if/x?v=2', '/if/x?v=2'],
    [GET => '/if/x?set=1', '/if/x?set=1'],
    [GET => '/if_credentials', '/if_credentials'],
    [GET => '/limited', '/limited'],
    [POST => '/limited', '/limited'],
    [GET => '/rewrite/last', '/prefix/last'],
    [GET => '/rewrite/break', '/broken'],
    [GET => '/rewrite/off_to_on', '/prefix/from_off'],
    [GET => '/rewrite/chain', '/prefix/chain'],
    [GET => '/v1/x', '/prefix/v1/x'],
    [GET => '/returned', '/returned'],
    [POST => '/too_large', '/prefix/too_large'],
    [GET => '/accelerated', '/internal/accelerated'],
    [GET => '/variable', '/variable'],
);

my $t = Test::Nginx->new()->has(qw(http proxy rewrite access))->plan(5 * @on + 50);

mkdir $t->testdir() . '/files';
$t->write_file('files/page.txt', 'a page of text');
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    proxy_cache_path %%TESTDIR%%/cache keys_zone=responses:1m;

    server {
        listen 127.0.0.1:8080;

        phantom_token on;
        phantom_token_introspection_endpoint /introspect;

        rewrite ^/v1/(.*) /prefix/v1/$1;

        location = /exact { proxy_pass http://127.0.0.1:8082; }
        location ^~ /prefix/ { proxy_pass http://127.0.0.1:8082; }
        location ~* \.JSON$ { proxy_pass http://127.0.0.1:8082; }
        location ~ ^/regex/named/(?<id>\d+)$ { proxy_pass http://127.0.0.1:8082/items/$id; }

        location /outer/ {
            proxy_pass http://127.0.0.1:8082;

            location /outer/inner/ { proxy_pass http://127.0.0.1:8082/inner/; }
            location ~ \.deep$ { proxy_pass http://127.0.0.1:8082; }
            location /outer/header {
                phantom_token_header X-Access-Token;
                proxy_pass http://127.0.0.1:8082;
            }
            location /outer/off { phantom_token off; proxy_pass http://127.0.0.1:8082; }
        }
        location /off/ {
            phantom_token off;
            proxy_pass http://127.0.0.1:8082;
            location /off/on/ { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        }

        location /if/ {
            set $upstream_version 1;
            if ($arg_v = 2) { proxy_pass http://127.0.0.1:8082; }
            if ($arg_set) { set $upstream_version 2; }
            if ($arg_v = 3) { return 410; }
            proxy_set_header X-Version $upstream_version;
            proxy_pass http://127.0.0.1:8082;
        }
        location /if_credentials {
            if ($http_authorization !~ "^Bearer") { set $how "no "; }
            proxy_set_header X-How "${how}bearer";
            proxy_set_header Authorization $http_authorization;
            proxy_pass http://127.0.0.1:8082;
        }

        location /limited { limit_except GET { allow all; } proxy_pass http://127.0.0.1:8082; }
        location /limited_denied { limit_except GET { deny all; } proxy_pass http://127.0.0.1:8082; }

        location = /rewrite/last { rewrite ^ /prefix/last last; }
        location = /rewrite/break { rewrite ^ /broken break; proxy_pass http://127.0.0.1:8082; }
        location = /rewrite/off_to_on { phantom_token off; rewrite ^ /prefix/from_off last; }
        location = /rewrite/chain { rewrite ^ /rewrite/chain/2 last; }
        location = /rewrite/chain/2 { phantom_token off; rewrite ^ /rewrite/chain/3 last; }
        location = /rewrite/chain/3 { rewrite ^ /prefix/chain last; }

        # Errors from before the access phase lead to where it is run.
        location = /returned { error_page 418 = @on; return 418; }
        location = /too_large { client_max_body_size 1; error_page 413 = /prefix/too_large; }
        location @on { proxy_pass http://127.0.0.1:8082; }

        location = /accelerated { phantom_token off; proxy_pass http://127.0.0.1:8082; }
        location /internal/ { internal; proxy_pass http://127.0.0.1:8082; }

        location = /variable { set $api 127.0.0.1:8082; proxy_pass http://$api; }

        # What NGINX answers by itself.
        location = /says { return 200 "said\n"; }
        location /files/ { }
        location /listed/ { alias %%TESTDIR%%/files/; autoindex on; }
        location /tried/ { try_files /files/page.txt =404; }
        location /missing/ { try_files /nothing =404; }

        location /cached {
            proxy_cache responses;
            proxy_cache_valid 1m;
            proxy_cache_key $uri;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8083;

        phantom_token on;
        phantom_token_introspection_endpoint /introspect;
        return 301 https://api.example$uri;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # The question has no Host of the client's: a check of it can be the end of the question, too.
    server {
        listen 127.0.0.1:8084;

        phantom_token on;
        phantom_token_introspection_endpoint /introspect;
        if ($http_host !~ "^api[.]example$") { return 421; }

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
    server {
        listen 127.0.0.1:8085;
        server_name api.example;

        phantom_token on;
        phantom_token_introspection_endpoint /introspect;
        if ($host != api.example) { return 421; }

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

$api->script('/accelerated', { headers => ['X-Accel-Redirect' => '/internal/accelerated'] });

my $jwt = jwt();

sub known {
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt));
    return $token;
}

# What the API got of a call, or else the status.
sub outcome {
    my ($response) = @_;

    return $response->status() . ' ' . ($response->header('Slug') // '-') if $response->status() != 200;
    my $request = $api->last_request();
    my $jwt_there = ($api->header($request, 'Authorization') // '') eq "Bearer $jwt";
    return "$request->{uri} " . ($jwt_there ? 'JWT' : 'no JWT');
}

# Each of them is refused without a token, asks once, and takes the JWT upstream.

for my $case (@on) {
    my ($method, $uri, $upstream) = @$case;

    my $name = "$method $uri";
    my %args = (method => $method, $method eq 'POST' ? (body => 'a body') : ());
    my $token = known();
    my $path = $upstream =~ s/\?.*//r;
    my $before = $api->count($path);

    is(outcome(call($uri, undef, %args)), '401 no_credentials', "$name: no token");
    is($api->count($path), $before, "$name: no token: not upstream");
    is(outcome(call($uri, $token, %args)), "$upstream JWT", "$name: miss");
    is(outcome(call($uri, $token, %args)), "$upstream JWT", "$name: hit");
    is($as->questions($token), 1, "$name: one question");
}

my $token = known();
call('/exact', $token);

# What `if` and `set` have seen is what the client sent, what goes upstream is the JWT.

call('/if/x?set=1', $token);
is($api->header($api->last_request(), 'X-Version'), 2, 'if: its variable');
call('/if_credentials', $token);
is($api->header($api->last_request(), 'X-How'), 'bearer', 'if: it saw bearer credentials');
is(outcome(call('/if/x?v=3', $token)), '410 -', 'if: it returns');

# A nested location with rules of its own.

call('/outer/header', $token);
is($api->header($api->last_request(), 'X-Access-Token') eq $jwt, 1, 'nested, another header');
is($api->header($api->last_request(), 'Authorization'), undef, 'nested, another header: and no other');
is(call('/outer/off')->status(), 200, 'nested, off');
is(call('/off/x')->status(), 200, 'off, with a nested one that is on');

# NGINX's own decisions come first, and cause no question.

my $questions = $as->questions();
my $fresh = token();
is(outcome(call('/limited_denied', $fresh, method => 'POST', body => 'x')), '403 -', 'limit_except denies');
is(outcome(call('/internal/x', $fresh)), '404 -', 'internal');
is(outcome(call('/introspect', $fresh, method => 'POST', body => "token=$fresh")), '404 -',
    'the introspection location');
is(outcome(call('/if/x?v=3', $fresh)), '410 -', 'a return in the rewrite phase');
is(call('/says', $fresh)->body(), "said\n", 'a location that returns');
is(call('/limited_denied', undef, method => 'DELETE')->header('WWW-Authenticate'), undef,
    'limit_except denies: no challenge');

my $response = call('/x', $fresh, port => 8083);
is($response->status(), 301, 'a server that returns');
is($response->header('Location'), 'https://api.example/x', 'a server that returns: Location');
is($response->header('WWW-Authenticate'), undef, 'a server that returns: no challenge');
is($as->questions(), $questions, 'nobody was asked');

# A server block that would return on the question as well: fails, and says why.

is(call('/x', known(), port => 8084)->status(), 421, 'Host is checked');
$t->new_module_lines();
$response = call('/x', known(), port => 8084, host => 'api.example');
is(outcome($response), '500 internal', 'the question fails a check of $http_host');
like(join("\n", grep { !/\[debug\]/ } $t->new_module_lines()), qr/nothing .* in the server block returns/,
    'the question fails a check of $http_host: the log says why');
is($as->questions(), $questions, 'the question fails a check of $http_host: not asked');
is(outcome(call('/x', known(), port => 8085, host => 'api.example')), '/x JWT', 'and passes one of $host');
is(call('/x', known(), port => 8085, host => 'other.example')->status(), 421, 'which checks Host as well');

# Files: with a verdict NGINX does as it does without us, whether it was asked for or known.

$fresh = known();
for my $bearer (undef, $fresh, $fresh) {
    my $name = defined $bearer ? 'file, token' : 'file, no token';
    my $ok = defined $bearer;
    $response = call('/files/page.txt', $bearer);
    is($response->status(), $ok ? 200 : 401, $name);
    my $etag = $response->header('ETag') // '"none"';
    is(call('/files/page.txt', $bearer, headers => [Range => 'bytes=2-5'])->status(), $ok ? 206 : 401, "$name, Range");
    is(call('/files/page.txt', $bearer, headers => ['If-None-Match' => $etag])->status(), $ok ? 304 : 401,
        "$name, If-None-Match");
    is(call('/files', $bearer)->status(), $ok ? 301 : 401, "$name, a folder without a slash");
    is(call('/listed/', $bearer)->status(), $ok ? 200 : 401, "$name, a list of files");
    is(call('/tried/x', $bearer)->status(), $ok ? 200 : 401, "$name, try_files");
    is(call('/missing/x', $bearer)->status(), $ok ? 404 : 401, "$name, try_files =404");
}

$fresh = known();
is(call('/files/page.txt', $fresh, headers => [Range => 'bytes=2-5'])->body(), 'page', 'Range, miss');

# What NGINX has cached of the API is for those alone who have a verdict.

is(outcome(call('/cached', known())), '/cached JWT', 'proxy_cache, miss');
my $before = $api->count();
is(call('/cached', known())->status(), 200, 'proxy_cache, hit');
is(call('/cached')->status(), 401, 'proxy_cache, no token');
is(call('/cached', token())->status(), 401, 'proxy_cache, inactive');
is($api->count(), $before, 'proxy_cache: the API was asked once');
