#!/usr/bin/perl

# An answer that NGINX's filters cannot take, being too large or not what it says it is, fails the question alone: the client
# gets its 502, and one whose stream or connection is broken already gets nothing more.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::SHA qw(sha256_hex);

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy http_v2 gunzip))->plan(34);

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%HTTP2%%;/$t->has_version('1.25.1') ? '; http2 on;' : 'http2;'/er);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_max_response 1k;
    gunzip on;
    proxy_cache_path cache keys_zone=answers:1m;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8084 %%HTTP2%%;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /cached { phantom_token_introspection_endpoint /ask_cached; proxy_pass http://127.0.0.1:8082; }
        location /alone { phantom_token_introspection_endpoint /ask_alone; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /ask_cached {
            internal;
            proxy_cache answers;
            proxy_cache_methods POST;
            proxy_cache_key $request_body;
            proxy_cache_valid 200 1h;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /ask_alone { internal; return 200 %%LONG%%; }
    }
}
CONF

{
    my $conf = $t->read_file('nginx.conf');
    my $long = 'x' x 2_000;
    $t->write_file('nginx.conf', $conf =~ s/%%LONG%%/$long/r);
}

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $large = sub { $as->jwt_answer('e30.e30.' . 'x' x 4_000, @_) };
my %answer = (
    'too large' => $large,
    'no gzip' => sub { $as->jwt_answer(jwt(), headers => ['Content-Encoding' => 'gzip'], @_) },
);

# The connection is as good as before.

for my $name (sort keys %answer) {
    for my $uri ('/', '/cached') {
        my ($token, $good) = (token(), token());
        $as->script($token, $answer{$name}->());
        $as->script($good, $as->jwt_answer(jwt()));

        my $http1 = http_connection();
        my $get = sub { $http1->request('GET', $uri, headers => [Authorization => "Bearer $_[0]"])->response() };
        is($get->($token)->status(), 502, "$name, $uri, HTTP/1.1: refused");
        is($get->($good)->status(), 200, "$name, $uri, HTTP/1.1: the connection goes on");

        my $http2 = Test::Nginx::HTTP2->new(port => 8084);
        my $call = sub { $http2->call('GET', $uri, headers => [Authorization => "Bearer $_[0]"]) };
        is($call->($token)->status(), 502, "$name, $uri, HTTP/2: refused");
        is($call->($good)->status(), 200, "$name, $uri, HTTP/2: the connection goes on");
    }
}

is(call('/alone', token())->status(), 500, 'a long answer of the location itself');
is($t->workers(), 1, 'the worker lives');

# A client that is broken by its own fault gets no response on a stream that was reset, and others theirs.

for my $name (sort keys %answer) {
    for my $uri ('/', '/cached') {
        my ($token, $good) = (token(), token());
        $as->script($token, $answer{$name}->(hold => 1));
        $as->script($good, $as->jwt_answer(jwt()));

        my $http2 = Test::Nginx::HTTP2->new(port => 8084);
        my $stream = $http2->request('GET', $uri, headers => [Authorization => "Bearer $token"]);
        $as->wait_for_question($token);
        $http2->violate($stream)->ping();
        ok(!$http2->response($stream)->complete(), "$name, $uri: the stream is reset");

        $as->release($token);
        my $fingerprint = substr sha256_hex($token), 0, 8;
        my $lines = $t->wait_for_log(qr/phantom_token: server_bad_answer.*fingerprint $fingerprint/);
        ok($lines, "$name, $uri: the answer has come");
        $http2->ping();
        is($http2->response($stream)->status(), '000', "$name, $uri: no response on that stream");
        is($http2->call('GET', $uri, headers => [Authorization => "Bearer $good"])->status(), 200,
            "$name, $uri: one on another");
    }
}
