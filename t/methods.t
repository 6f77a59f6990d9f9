#!/usr/bin/perl

# Methods and bodies over HTTP/0.9, 1.0, 1.1 and 2, with and without proxy_request_buffering: what passes arrives
# whole, what is refused leaves the connection to the next request, also while its body is still coming.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::MD5 qw(md5_hex);

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my @protocols = ('HTTP/1.0', 'HTTP/1.1', 'HTTP/1.1 chunked', 'HTTP/2');
my @locations = ('/buffered', '/streamed');

# What is sent: a method, and the size of a body, none if undef.
my @small = (['GET'], ['HEAD'], ['OPTIONS'], ['POST', 0], ['POST', 1], ['PUT', 1_000], ['GET', 1]);
my $large = 10 * 1024 * 1024;

my $t = Test::Nginx->new()->has(qw(http proxy http_v2));

$t->plan(@protocols * @locations * (2 * @small + 1) + 2 * @protocols * (@small + 1) + @locations * 16 + 11);

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    client_max_body_size 10m;
    keepalive_requests 10000;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8443%%LISTEN%%;
        %%H2%%

        location /buffered { proxy_pass http://127.0.0.1:8082; }
        location /streamed {
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $jwt = jwt();

sub known {
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt, @_));
    return $token;
}

# One connection per protocol, for all requests.
my %connection = map { $_ => http_connection() } grep { $_ ne 'HTTP/2' } @protocols;
my $h2 = Test::Nginx::HTTP2->new(port => 8443);

sub chunked {
    my ($body) = @_;
    return length $body ? sprintf("%x\r\n%s\r\n0\r\n\r\n", length $body, $body) : "0\r\n\r\n";
}

sub answer {
    my ($protocol, $method, $uri, $token, $body) = @_;

    my @headers = defined $token ? (Authorization => "Bearer $token") : ();
    return $h2->call($method, $uri, headers => \@headers, body => $body) if $protocol eq 'HTTP/2';

    my %version = $protocol eq 'HTTP/1.0' ? (version => '1.0') : ();
    push @headers, Connection => 'keep-alive' if %version;

    if (defined $body && $protocol =~ /chunked/) {
        push @headers, 'Transfer-Encoding' => 'chunked';
        $body = chunked($body);
    }

    my $connection = $connection{$protocol};
    $connection->request($method, $uri, headers => \@headers, body => $body, %version);
    return $connection->response(method => $method);
}

# A URI that no other request has, so that one request alone is looked at.
my $number = 0;

sub unique { return shift . '/' . ++$number }

# What the client got, and what the API did.
sub passed {
    my ($protocol, $location, $token, $method, $body) = @_;

    my $uri = unique($location);
    my $response = answer($protocol, $method, $uri, $token, $body);
    my $request = $api->last_request($uri) // return $response->status() . ' not upstream';
    my $jwt_there = ($api->header($request, 'Authorization') // '') eq "Bearer $jwt" ? 'JWT' : 'no JWT';

    return join ' ', $response->status(), $request->{method}, length $request->{body}, md5_hex($request->{body}),
        $jwt_there;
}

sub expected {
    my ($method, $body) = @_;
    return join ' ', 200, $method, length($body // ''), md5_hex($body // ''), 'JWT';
}

sub body {
    my ($size) = @_;
    return defined $size ? substr('body' x (1 + $size / 4), 0, $size) : undef;
}

sub name {
    my ($protocol, $method, $size) = @_;
    return "$protocol $method" . (defined $size ? " of $size bytes" : '');
}

# Passed on.

my $token = known();
passed('HTTP/1.1', '/buffered', $token, 'GET');

for my $protocol (@protocols) {
    for my $location (@locations) {
        for my $kind (@small) {
            my ($method, $size) = @$kind;
            my $body = body($size);
            my $name = name($protocol, $method, $size) . " to $location";
            is(passed($protocol, $location, known(), $method, $body), expected($method, $body), "$name, miss");
            is(passed($protocol, $location, $token, $method, $body), expected($method, $body), "$name, hit");
        }

        my $body = body($large);
        is(passed($protocol, $location, known(), 'POST', $body), expected('POST', $body),
            name($protocol, 'POST', $large) . " to $location");
    }
}

# Refused, and the next request on the same connection.

for my $protocol (@protocols) {
    for my $kind (@small, ['POST', $large]) {
        my ($method, $size) = @$kind;

        for my $bearer (undef, token()) {
            my $name = name($protocol, $method, $size) . (defined $bearer ? ', inactive' : ', no token');
            my $refused = answer($protocol, $method, '/streamed/refused', $bearer, body($size))->status();
            is("$refused, " . passed($protocol, '/buffered', $token, 'GET'), '401, ' . expected('GET'), $name);
        }
    }
}

is($api->count('/streamed/refused'), 0, 'nothing refused went upstream');

# Without keep-alive NGINX closes, refused or not. HTTP/0.9 has no headers, and so no token.

like(http_post('/buffered', 'abc'), qr{^HTTP/1\.1 401 .*Connection: close}s, 'HTTP/1.0 without keep-alive');
like(http("GET /buffered\r\n"), qr/^<html>.*401 Authorization Required/s, 'HTTP/0.9');
$_->close() for values %connection;

# The body comes while the question is open, and after its answer.

my @part = map { $_ x 50_000 } qw(a b c);
my $body = join '', @part;

for my $location (@locations) {
    for my $framing ('Content-Length: ' . length $body, 'Transfer-Encoding: chunked') {
        my $frame = sub { $framing =~ /chunked/ ? sprintf("%x\r\n%s\r\n", length $_[0], $_[0]) : $_[0] };
        my $end = $framing =~ /chunked/ ? "0\r\n\r\n" : '';

        for my $case (['passes', known(hold => 1)], ['is refused', token()]) {
            my ($fate, $bearer) = @$case;
            my $name = "a body that comes late to $location, $framing, $fate";
            $as->script($bearer, $as->inactive_answer(hold => 1)) if $fate eq 'is refused';

            my $uri = unique($location);
            my $connection = http_connection();
            $connection->send("POST $uri HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $bearer\r\n"
                . "$framing\r\n\r\n" . $frame->($part[0]));
            $as->wait_for_question($bearer, 1);
            $connection->send($frame->($part[1]));
            $as->release($bearer);

            if ($fate eq 'passes') {
                $connection->send($frame->($part[2]) . $end);
                is($connection->response()->status(), 200, $name);
                is($api->last_request($uri)->{body} eq $body, 1, "$name: whole");
            } else {
                is($connection->response()->status(), 401, $name);
                $connection->send($frame->($part[2]) . $end);
                is($api->count($uri), 0, "$name: not upstream");
            }

            $connection->request('GET', '/buffered/next', headers => [Authorization => "Bearer $token"]);
            like($connection->response()->body(), qr{^GET /buffered/next$}m, "$name: the next request");
            $connection->close();
        }
    }

    # HTTP/2: as much as NGINX takes before the body is read.
    for my $case (['passes', known(hold => 1)], ['is refused', token()]) {
        my ($fate, $bearer) = @$case;
        my $name = "a body that comes late to $location, HTTP/2, $fate";
        $as->script($bearer, $as->inactive_answer(hold => 1)) if $fate eq 'is refused';

        my $uri = unique($location);
        my $stream = $h2->request('POST', $uri, headers => [Authorization => "Bearer $bearer"], body => $part[0],
            open => 1);
        $as->wait_for_question($bearer, 1);
        $h2->data($stream, substr($part[1], 0, 10_000))->ping();
        $as->release($bearer);

        if ($fate eq 'passes') {
            $h2->data($stream, substr($part[1], 10_000) . $part[2], 1);
            is($h2->response($stream)->status(), 200, $name);
            is($api->last_request($uri)->{body} eq $body, 1, "$name: whole");
        } else {
            is($h2->response($stream)->status(), 401, $name);
            $h2->data($stream, $part[2], 1);
        }
    }

    like($h2->call('GET', '/buffered/next', headers => [Authorization => "Bearer $token"])->body(),
        qr{^GET /buffered/next$}m, "HTTP/2 to $location: the next request");
}

# Expect: 100-continue. Who is refused is not told to go on.

for my $case (['miss', known(hold => 1), 1], ['hit', $token], ['inactive', token(), 1], ['no token', undef]) {
    my ($name, $bearer, $asked) = @$case;
    my $refused = $name =~ /^[in]/;
    $as->script($bearer, $as->inactive_answer(hold => 1)) if $name eq 'inactive';

    my $connection = http_connection();
    $connection->send("POST /streamed HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
        . (defined $bearer ? "Authorization: Bearer $bearer\r\n\r\n" : "\r\n"));
    $as->wait_for_question($bearer, 1)->release($bearer) if $asked;

    if ($refused) {
        is($connection->read_bytes(12), 'HTTP/1.1 401', "Expect, $name");
    } else {
        is($connection->read_bytes(25), "HTTP/1.1 100 Continue\r\n\r\n", "Expect, $name");
        like($connection->send('abcde')->response()->body(), qr/^body 5 /m, "Expect, $name: the body");
    }
    $connection->close();
}

# Expect: 100-continue of a client that sends its body all the same.

my $connection = http_connection();
$connection->send("POST /buffered HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
is($connection->response()->status(), 401, 'Expect, refused');
$connection->send('GET /')->request('GET', '/buffered/next', headers => [Authorization => "Bearer $token"]);
like($connection->response()->body(), qr{^GET /buffered/next$}m, 'Expect, refused: the next request');
$connection->close();
$h2->close();
