#!/usr/bin/perl

# What counts as a bearer token (RFC 6750 section 2), and what the client is told otherwise (section 3).

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $none = 'Bearer realm="api"';
my $invalid = 'Bearer realm="api", error="invalid_token"';

# Authorization, what it is.
my @refused = (
    ['Bearer', 'malformed'],
    ['Bearer ', 'malformed'],
    ['bearer', 'malformed'],
    ['Bearer a b', 'malformed'],
    ['Bearer  a  b', 'malformed'],
    ['Bearer a&b=c', 'malformed'],
    ['Bearer =a', 'malformed'],
    ['Bearer a=b', 'malformed'],
    ['Bearer ==', 'malformed'],
    ['Bearer "a"', 'malformed'],
    ['Bearer a,b', 'malformed'],
    ['Bearer a, Basic b', 'malformed'],
    ['Bearer a:b', 'malformed'],
    ['Bearer a%20b', 'malformed'],
    ["Bearer a\x01", 'malformed'],
    ["Bearer \x7f", 'malformed'],
    ["Bearer a\xe4", 'malformed'],
    ["Bearer\ta", 'malformed'],
    ["Bearer \ta", 'malformed'],
    ['', 'no_credentials'],
    ['Basic x', 'no_credentials'],
    ['Basic x Bearer y', 'no_credentials'],
    ['XBearer y', 'no_credentials'],
    ['BearerX y', 'no_credentials'],
    ['Bear er', 'no_credentials'],
    ['Digest username="a", realm="b"', 'no_credentials'],
);

# Well-formed tokens.
my @tokens = (
    'a', 'a=', '-._~+/', 'aB0-._~+/b==', '~' x 22, 'x' x 870, '+/' x 1_000, '=a' =~ s/=//r . '=' x 5,
);

my @schemes = ('Bearer ', 'bearer ', 'BEARER ', 'bEaReR ', 'Bearer    ');

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(4 * @refused + 3 * @tokens + @schemes + 26);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;

    server {
        listen 127.0.0.1:8080;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /scopes {
            phantom_token on;
            phantom_token_realm "my \"realm\" \\ here";
            phantom_token_scopes "read write";
            proxy_pass http://127.0.0.1:8082;
        }
        location /scope {
            phantom_token on;
            phantom_token_scope read;
            phantom_token_scope write;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# Refused, without a question.

for my $case (@refused) {
    my ($value, $slug) = @$case;
    my $name = $value =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger;

    my $response = http_request('GET', '/', headers => [Authorization => $value]);
    is($response->status(), 401, "'$name': status");
    is(join("\n", $response->header_lines('WWW-Authenticate')), $slug eq 'malformed' ? $invalid : $none,
        "'$name': challenge");
    is($response->header('Slug'), $slug, "'$name': slug");
    is($as->questions(), 0, "'$name': no question");
}

my $response = http_request('GET', '/');
is($response->status(), 401, 'no Authorization: status');
is($response->header('WWW-Authenticate'), $none, 'no Authorization: challenge');
is($response->header('Slug'), 'no_credentials', 'no Authorization: slug');
is($api->count(), 0, 'nothing went upstream');

# Accepted.

for my $token (@tokens) {
    my $name = length $token > 22 ? substr($token, 0, 10) . ' ... of ' . length $token : $token;
    my $jwt = jwt();
    $t->secrets($token) if length $token > 22;
    $as->script($token, $as->jwt_answer($jwt));

    $response = call('/', $token);
    is($response->status(), 200, "$name: status");
    is($api->authorization($response), "Bearer $jwt", "$name: JWT");
    is($as->questions($token), 1, "$name: the question arrives decoded");
}

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

for my $scheme (@schemes) {
    http_request('GET', '/', headers => [Authorization => "$scheme$token"]);
    is($api->authorization(), "Bearer $jwt", "'$scheme'");
}

call('/', $token, headers => ['X-Before' => 'a']);
is($api->authorization(), "Bearer $jwt", 'a header before it');

http("GET / HTTP/1.1\r\nHost: localhost\r\nAUTHORIZATION:Bearer $token   \r\nConnection: close\r\n\r\n");
is($api->authorization(), "Bearer $jwt", 'upper case, no space before and some behind');

# More than one way.

sub twice {
    my ($uri, $bearer, $name) = @_;
    my $before = $api->count();

    my $response = call($uri, $bearer);
    is($response->status(), 400, "$name: status");
    is($response->header('WWW-Authenticate'), 'Bearer realm="api", error="invalid_request"', "$name: challenge");
    is($response->header('Slug'), 'several_tokens', "$name: slug");
    is($api->count(), $before, "$name: not upstream");
    return;
}

twice("/?access_token=$token", $token, 'header and query');
twice("/?a=b&access%5Ftoken=$token", $token, 'header and query, its name percent-encoded');

is(call("/?access_tokens=a&x_access_token=b&Access_Token=c", $token)->status(), 200, 'other parameters');

$response = http_request('GET', "/?access_token=$token");
is($response->status(), 401, 'the query alone is no credential');
is($response->header('WWW-Authenticate'), $none, 'the query alone: challenge');

is(http_request('GET', '/', headers => [Authorization => "Bearer $token", Authorization => "Bearer $token"])->status(),
    400, 'two Authorization lines');

# Challenges.

my $realm = 'realm="my \"realm\" \\\\ here"';
is(call('/scopes')->header('WWW-Authenticate'), qq(Bearer $realm, scope="read write"), 'realm and scopes');
is(call('/scopes', 'unknown')->header('WWW-Authenticate'),
    qq(Bearer $realm, scope="read write", error="invalid_token"), 'realm, scopes and error');
is(call('/scope')->header('WWW-Authenticate'), 'Bearer realm="api", scope="read write"', 'repeated scope');

# HEAD, and further methods.

$response = call('/', undef, method => 'HEAD');
is($response->status(), 401, 'HEAD is refused');
is($response->header('WWW-Authenticate'), $none, 'HEAD is refused: challenge');
is(call('/', $token, method => 'HEAD')->status(), 200, 'HEAD passes');
is(call('/', undef, method => 'OPTIONS')->status(), 401, 'OPTIONS is a request like any other');
is(call('/', undef, method => 'PROPFIND')->status(), 401, 'so is an unknown method');
