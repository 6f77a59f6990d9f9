#!/usr/bin/perl

# A token in the query string (RFC 6750 section 2.3) counts only where the operator says so, with a configuration that
# keeps it from the API and the response from shared caches.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(28);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    log_format path '$status $uri';
    phantom_token_introspection_endpoint /introspect;

    upstream api { server 127.0.0.1:8082; }

    server {
        listen 127.0.0.1:8080;
        access_log path.log path;

        location / { phantom_token on; proxy_pass http://api; }
        location /argument/ {
            phantom_token on token=$arg_access_token;
            add_header Cache-Control private always;
            proxy_pass http://api$uri;
        }
        # Nobody listens there.
        location /loud/ {
            error_log %%TESTDIR%%/loud.log error;
            phantom_token on token=$arg_access_token;
            proxy_pass http://127.0.0.1:8099;
        }
        location /quiet/ {
            error_log %%TESTDIR%%/quiet.log crit;
            phantom_token on token=$arg_access_token;
            proxy_pass http://127.0.0.1:8099;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# Not by default.

my $response = call("/?access_token=$token");
is($response->status(), 401, 'by default: no credential');
is($response->header('WWW-Authenticate'), 'Bearer realm="api"', 'by default: none was presented');
is($as->questions(), 0, 'by default: no question');

# Where the operator wants it.

for my $state (qw(miss hit)) {
    $response = call("/argument/x?a=b&access_token=$token");
    my $request = $api->last_request();
    is($response->status(), 200, "$state: passes");
    is($api->authorization($response), "Bearer $jwt", "$state: the JWT upstream");
    is($request->{uri}, '/argument/x', "$state: not the query string");
    unlike($request->{head}, qr/\Q$token/, "$state: nor the token in any other place");
    is($response->header('Cache-Control'), 'private', "$state: not for shared caches");
}

$response = call("/argument/?access_token=$token", 'forged');
is($response->status(), 200, 'beside a header, the argument counts');
is($api->authorization($response), "Bearer $jwt", 'and the header does not go upstream');
is($as->questions($token), 1, 'one question');

for my $case (['', 'no argument'], ['?access_token=', 'an empty one'], ['?Access_token_=x', 'another name']) {
    my ($arguments, $name) = @$case;
    is(call("/argument/$arguments")->header('WWW-Authenticate'), 'Bearer realm="api"', "$name: none was presented");
}

is(call('/argument/?access_token=a%2Bb')->header('WWW-Authenticate'), 'Bearer realm="api", error="invalid_token"',
    'an argument is taken as it stands: percent-encoded it is malformed');
is(call('/argument/', $token)->status(), 401, 'the header alone does not count');

# The error log: what the documentation says of NGINX's own lines, and how to be without.

for my $path ('loud', 'quiet') {
    is(call("/$path/?access_token=$token")->status(), 502, "$path: the API is down");
}
$t->stop();
like($t->read_file('loud.log'), qr/connect\(\) failed.* request: "GET \/loud\/\?access_token=\Q$token\E/,
    'NGINX ends its lines with the request, query string and all');
unlike($t->read_file('loud.log'), qr/phantom_token: [^"]*\Q$token/, 'ours do not have the token');
is($t->read_file('quiet.log'), '', 'a log of its own at crit has none');
my $log = $t->read_file('path.log');
like($log, qr{^200 /argument/x$}m, 'the log has the path');
unlike($log, qr/\Q$token/, 'and no token');
