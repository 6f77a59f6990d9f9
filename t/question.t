#!/usr/bin/perl

# What the authorization server receives: our question, and nothing that is the client's.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use MIME::Base64 qw(encode_base64);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy map))->plan(54);

my $secret = 'p%ss:w/+rd &=';
my $file_secret = 'an other secret';

$t->write_file('secret', "$file_secret\n");
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_cache off;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;

    proxy_cache_path %%TESTDIR%%/cache keys_zone=answers:1m;

    map $http_authorization $before { default $http_authorization; }

    upstream server {
        server 127.0.0.1:8081;
        keepalive 4;
    }

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /basic {
            phantom_token_client_credential "the id+1" "p%ss:w/+rd &=";
            proxy_pass http://127.0.0.1:8082;
        }
        location /file {
            phantom_token_client_credential gateway file=secret;
            proxy_pass http://127.0.0.1:8082;
        }
        location /own_headers {
            phantom_token_client_credential gateway ignored-secret;
            phantom_token_introspection_endpoint /introspect_own_headers;
            proxy_pass http://127.0.0.1:8082;
        }
        location /no_headers {
            phantom_token_introspection_endpoint /introspect_no_headers;
            proxy_pass http://127.0.0.1:8082;
        }
        location /parameters {
            phantom_token_introspection_parameter token_type_hint access_token;
            phantom_token_introspection_parameter "re source" https://api.example/$arg_x;
            proxy_pass http://127.0.0.1:8082;
        }
        location /accept {
            phantom_token_accept application/json;
            proxy_pass http://127.0.0.1:8082;
        }
        location /keepalive {
            phantom_token_introspection_endpoint /introspect_keepalive;
            proxy_pass http://127.0.0.1:8082;
        }
        location /cached {
            phantom_token_introspection_endpoint /introspect_cached;
            proxy_pass http://127.0.0.1:8082;
        }
        location /variables {
            phantom_token_client_credential gateway variable-secret;
            phantom_token_introspection_endpoint /introspect_variables;
            proxy_set_header X-Authorization $http_authorization;
            proxy_set_header X-Accept $http_accept;
            proxy_pass http://127.0.0.1:8082;
        }
        location /before {
            phantom_token_client_credential gateway variable-secret;
            set $seen $before;
            proxy_set_header X-Authorization $http_authorization;
            proxy_pass http://127.0.0.1:8082;
        }
        location /body {
            phantom_token_introspection_endpoint /introspect_body;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_own_headers {
            internal;
            proxy_set_header Authorization "Basic own";
            proxy_set_header Host as.example;
            proxy_set_header X-Own own;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_no_headers {
            internal;
            proxy_pass_request_headers off;
            proxy_set_header Authorization "Basic own";
            proxy_set_header Accept "application/jwt";
            proxy_set_header Content-Type "application/x-www-form-urlencoded";
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_keepalive {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://server;
        }
        location = /introspect_cached {
            internal;
            proxy_cache answers;
            proxy_cache_methods POST;
            proxy_cache_key $request_body;
            proxy_cache_valid 200 1m;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_variables {
            internal;
            proxy_set_header X-Authorization $http_authorization;
            proxy_set_header X-Accept $http_accept;
            proxy_set_header X-Cookie $http_cookie;
            proxy_set_header X-Host $host;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_body {
            internal;
            client_max_body_size 1k;
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

$t->secrets($secret, $file_secret, 'ignored-secret', 'variable-secret', encode_base64("gateway:variable-secret", ''));

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# The question of one call with a new token: the request that the authorization server got, and the response.
sub question {
    my ($uri, %args) = @_;

    my ($token, $jwt) = (token(), jwt());
    $as->script($token, $as->jwt_answer($jwt));
    my $response = call($uri, $token, %args);
    return ($as->last_request($token), $response, $token, $jwt);
}

sub header_names {
    my ($question) = @_;
    return join ' ', sort map { lc $_->[0] } @{ $question->{headers} };
}

# All of a client's headers that could do harm, and a body.

my $body = 'client=body&token=forged' x 5_000;
my @headers = (
    'Accept' => 'text/html', 'Accept-Encoding' => 'gzip, br', 'Content-Type' => 'application/json',
    'Content-Encoding' => 'gzip', 'Cookie' => 'a=b', 'If-Match' => '"a"', 'If-None-Match' => '"b"',
    'If-Modified-Since' => 'Fri, 31 Dec 1999 23:59:59 GMT', 'If-Range' => '"c"', 'Range' => 'bytes=0-1',
    'TE' => 'trailers', 'Upgrade' => 'websocket', 'Via' => '1.1 client', 'X-Forwarded-For' => '192.0.2.1',
    'Forwarded' => 'for=192.0.2.1', 'Origin' => 'https://client.example', 'Referer' => 'https://client.example/',
    'User-Agent' => 'client', 'X-Custom' => 'client', 'Expect' => '100-continue',
);
my $jwt;

my ($question, $response, $token) = question('/', method => 'PUT', headers => [@headers], body => $body,
    host => 'client.example');
is($response->status(), 200, 'the call passes');
like($response->body(), qr/^body ${\length $body} /m, 'its body reaches the API');
is($question->{method}, 'POST', 'method');
is($question->{uri}, '/introspect', 'URI');
is($question->{body}, "token=$token", 'body');
is(header_names($question), sent($t, qw(accept content-length content-type host)), 'header names');
is($as->header($question, 'Accept'), 'application/jwt', 'Accept');
is($as->header($question, 'Content-Type'), 'application/x-www-form-urlencoded', 'Content-Type');
is($as->header($question, 'Content-Length'), length $question->{body}, 'Content-Length');
is($as->header($question, 'Host'), '127.0.0.1:' . port(8081), 'Host is the server');
unlike($question->{head}, qr/client/, 'nothing of the client');

# Chunked body.

($question, $response) = question('/', method => 'POST', headers => ['Transfer-Encoding' => 'chunked'],
    body => "5\r\nabcde\r\n0\r\n\r\n");
like($response->body(), qr/^body 5 /m, 'a chunked body reaches the API');
is(header_names($question), sent($t, qw(accept content-length content-type host)), 'chunked: header names');
is($as->header($question, 'Content-Length'), length $question->{body}, 'chunked: Content-Length');

($question, $response) = question('/body', method => 'POST', body => 'x' x 10_000,
    headers => ['Content-Type' => 'text/plain']);
is($response->status(), 200, "client_max_body_size of the internal location does not see the client's body");

# Every byte that a token can have.

my $special = '-._~+/aZ09+/==';
$t->secrets($special);
$as->script($special, $as->jwt_answer(jwt()));
is(call('/', $special)->status(), 200, 'a token with all special characters');
like($as->last_request($special)->{body}, qr{^token=-\._(?:~|%7E)%2B%2FaZ09%2B%2F%3D%3D$}i, 'is percent-encoded');

# Credentials.

($question, $response, $token, $jwt) = question('/basic');
is($as->header($question, 'Authorization'),
    'Basic ' . encode_base64('the+id%2B1:p%25ss%3Aw%2F%2Brd+%26%3D', ''), 'Basic, form-encoded');
is($api->authorization($response), "Bearer $jwt", 'and not upstream');

($question) = question('/file');
is($as->header($question, 'Authorization'), 'Basic ' . encode_base64('gateway:an+other+secret', ''),
    'Basic, from a file');

# The operator's own lines.

($question, $response) = question('/own_headers', headers => \@headers);
is($response->status(), 200, 'own headers');
is(join(',', $as->header($question, 'Authorization')), 'Basic own', 'proxy_set_header Authorization wins');
is($as->header($question, 'Host'), 'as.example', 'proxy_set_header Host');
is($as->header($question, 'X-Own'), 'own', 'proxy_set_header X-Own');
is($as->header($question, 'Accept'), 'application/jwt', 'ours stay');

($question, $response, $token) = question('/no_headers', headers => \@headers);
is($response->status(), 200, 'proxy_pass_request_headers off');
is(header_names($question), sent($t, qw(accept authorization content-length content-type host)),
    'proxy_pass_request_headers off: header names');
is($question->{body}, "token=$token", 'proxy_pass_request_headers off: body');

# Parameters and Accept.

($question, $response, $token) = question('/parameters?x=a/b%20c');
is($response->status(), 200, 'parameters');
is_deeply([$as->form($question->{body})],
    [['token', $token], ['token_type_hint', 'access_token'], ['re source', 'https://api.example/a/b%20c']],
    'further form fields');
unlike($question->{body}, qr/[ :]/, 'are encoded');

($question) = question('/accept');
is(join(',', $as->header($question, 'Accept')), 'application/json', 'Accept is exactly the configured value');

# Kept connections to the server.

my ($first) = question('/keepalive');
my ($second) = question('/keepalive');
is($second->{connection}, $first->{connection}, 'one connection for two questions');
is($second->{version}, 'HTTP/1.1', 'HTTP/1.1');

# The operator's proxy_cache.

($question, $response, $token, $jwt) = question('/cached');
is($response->status(), 200, 'proxy_cache, first');
is($api->authorization(call('/cached', $token)), "Bearer $jwt", 'proxy_cache, second');
is($as->questions($token), 1, 'proxy_cache answers');

my ($another, $another_response, undef, $another_jwt) = question('/cached');
is($api->authorization($another_response), "Bearer $another_jwt", 'proxy_cache, another token');

# Variables: those of the question and those of the request do not mix.

for my $uri ('/variables', '/before') {
    ($question, $response, $token, $jwt) = question($uri, headers => [Accept => 'text/x', Cookie => 'a=b'],
        host => 'client.example');
    my $request = $api->last_request();
    is($response->status(), 200, "$uri: passes");
    is($api->header($request, 'X-Authorization'), "Bearer $jwt", "$uri: \$http_authorization is the JWT upstream");
    unlike($question->{head}, qr/\Q$token\E|client\.example|a=b|text\/x/, "$uri: nothing of the client");
}

($question) = question('/variables', headers => [Accept => 'text/x', Cookie => 'a=b']);
is($as->header($question, 'X-Authorization'), 'Basic ' . encode_base64('gateway:variable-secret', ''),
    '$http_authorization in the internal location');
is($as->header($question, 'X-Accept'), 'application/jwt', '$http_accept in the internal location');
is($api->header($api->last_request(), 'X-Accept'), 'text/x', '$http_accept of the request');
is($as->header($question, 'X-Cookie'), undef, '$http_cookie in the internal location');

# A method of its own, a request without a body, and HEAD.

for my $method (qw(GET HEAD DELETE)) {
    ($question, $response) = question('/', method => $method);
    is($response->status(), 200, "$method passes");
    is("$question->{method} " . $as->header($question, 'Content-Length'), "POST " . length $question->{body},
        "$method: the question is a POST");
}
