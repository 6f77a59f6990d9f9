#!/usr/bin/perl

# Requests with bodies: what is refused leaves the connection to the next request, what passes is whole.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::MD5 qw(md5_hex);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my @smuggled = ("GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n", 'x' x 300_000);

my $t = Test::Nginx->new()->has(qw(http proxy map))->plan(12 * @smuggled + 37);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;

    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }

    server {
        listen 127.0.0.1:8080;

        location / { proxy_http_version 1.1; proxy_pass http://127.0.0.1:8082; }
        location /streamed {
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:8082;
        }
        location /upgrade {
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_pass http://127.0.0.1:8082;
        }
        location /limited { client_max_body_size 10; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));
call('/', $token);

sub chunked {
    my ($body) = @_;
    return sprintf("%x\r\n%s\r\n0\r\n\r\n", length $body, $body);
}

# Refused: the body is never taken for a request.

for my $body (@smuggled) {
    my $size = length $body;

    for my $case (
        ["$size bytes, Content-Length", [], $body],
        ["$size bytes, chunked", ['Transfer-Encoding' => 'chunked'], chunked($body)],
    ) {
        my ($name, $headers, $bytes) = @$case;

        for my $credentials (undef, token()) {
            my @authorization = defined $credentials ? (Authorization => "Bearer $credentials") : ();
            my $which = "$name, " . (defined $credentials ? 'inactive' : 'no token');

            my $connection = http_connection();
            $connection->request('POST', '/refused', headers => [@authorization, @$headers], body => $bytes);
            $connection->request('GET', "/next", headers => [Authorization => "Bearer $token"]);
            is($connection->response()->status(), 401, "$which: refused");
            my $response = $connection->response();
            is($response->status(), 200, "$which: the next request");
            like($response->body(), qr{^GET /next$}m, "$which: is answered as itself");
            $connection->close();
        }
    }
}

is($api->count('/smuggled'), 0, 'no body was taken for a request');
is($api->count('/refused'), 0, 'nothing refused went upstream');

# Refused while the answer is awaited: the body comes meanwhile.

my $late = token();
$as->script($late, $as->inactive_answer(hold => 1));
my $connection = http_connection();
$connection->send("POST /refused HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $late\r\n"
    . "Content-Length: 20\r\n\r\n");
$as->wait_for_question($late, 1);
$connection->send('x' x 10);
$as->release($late);
is($connection->response()->status(), 401, 'refused before the body has come');
$connection->send('x' x 10);
$connection->request('GET', '/next', headers => [Authorization => "Bearer $token"]);
like($connection->response()->body(), qr{^GET /next$}m, 'its rest is dropped');
$connection->close();

# Expect: 100-continue.

$connection = http_connection();
$connection->send("POST /refused HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
is($connection->response()->status(), 401, 'Expect: 100-continue, refused');
$connection->close();

$connection = http_connection();
$connection->send("POST /expect HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $token\r\n"
    . "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
like($connection->read_bytes(25), qr{^HTTP/1\.1 100 Continue\r\n\r\n$}, 'Expect: 100-continue, passed on');
like($connection->send('abcde')->response()->body(), qr/^body 5 /m, 'Expect: 100-continue, the body');
$connection->close();

# Passed on: hit and miss, with and without buffering.

my $large = join '', map { chr(65 + $_ % 26) } 1 .. 300_000;

for my $uri ('/', '/streamed') {
    for my $case (
        ['Content-Length', [], 'abc', 'abc'],
        ['chunked', ['Transfer-Encoding' => 'chunked'], chunked('abc'), 'abc'],
        ['large, Content-Length', [], $large, $large],
        ['large, chunked', ['Transfer-Encoding' => 'chunked'], chunked($large), $large],
    ) {
        my ($name, $headers, $bytes, $body) = @$case;

        my $fresh = token();
        $as->script($fresh, $as->jwt_answer($jwt));

        for my $state (qw(miss hit)) {
            my $response = call($uri, $fresh, method => 'POST', headers => $headers, body => $bytes);
            my ($length, $digest) = (length $body, md5_hex($body));
            like($response->body(), qr/^body $length $digest$/m, "$uri, $name, $state");
        }
    }
}

# While the question is open, the body arrives in pieces.

my $fresh = token();
$as->script($fresh, $as->jwt_answer($jwt, hold => 1));
$connection = http_connection();
$connection->send("POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $fresh\r\nContent-Length: 6\r\n\r\nab");
$as->wait_for_question($fresh, 1);
$connection->send('cd');
$as->release($fresh);
$connection->send('ef');
like($connection->response()->body(), qr/^body 6 ${\md5_hex('abcdef')}$/m, 'a body in pieces');

# Pipelined behind a question.

$fresh = token();
$as->script($fresh, $as->jwt_answer($jwt, hold => 1));
$connection->request('GET', '/first', headers => [Authorization => "Bearer $fresh"]);
$connection->request('GET', '/second', headers => [Authorization => "Bearer $token"]);
$connection->request('GET', '/third');
$as->wait_for_question($fresh, 1);
$as->release($fresh);
like($connection->response()->body(), qr{^GET /first$}m, 'pipelined, first');
like($connection->response()->body(), qr{^GET /second$}m, 'pipelined, second');
is($connection->response()->status(), 401, 'pipelined, third: each stands for itself');
$connection->close();

# HEAD.

$connection = http_connection();
$connection->request('HEAD', '/', headers => [Authorization => "Bearer $token"]);
is($connection->response(method => 'HEAD')->status(), 200, 'HEAD');
$connection->request('HEAD', '/');
is($connection->response(method => 'HEAD')->status(), 401, 'HEAD, refused');
$connection->request('GET', '/next', headers => [Authorization => "Bearer $token"]);
like($connection->response()->body(), qr{^GET /next$}m, 'no body behind it');
$connection->close();

# Upgrade.

$fresh = token();
$as->script($fresh, $as->jwt_answer($jwt));

for my $state (qw(miss hit)) {
    $connection = http_connection();
    $connection->request('GET', '/upgrade',
        headers => [Authorization => "Bearer $fresh", Upgrade => 'echo', Connection => 'upgrade']);
    is($connection->response()->status(), 101, "Upgrade, $state");
    is($connection->send('hello')->read_bytes(5), 'hello', "Upgrade, $state: both ways");
    $connection->close();
}

is($api->authorization(), "Bearer $jwt", 'Upgrade: the JWT upstream');

# NGINX's own limits come first.

my $questions = $as->questions();
is(call('/limited', token(), method => 'POST', body => 'x' x 11)->status(), 413, 'client_max_body_size');
is($as->questions(), $questions, 'client_max_body_size: not asked');
