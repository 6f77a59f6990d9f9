#!/usr/bin/perl

# The question stays apart from the request that it is asked for: whatever the client sends and the server block hands
# down, the authorization server sees the question; the API and the client see of it nothing, so that a miss looks to
# both of them like a hit.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use MIME::Base64 qw(encode_base64);

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy map http_v2))->plan(43);

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');
my $basic = encode_base64('gateway:secret-of-the-gateway', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway secret-of-the-gateway;

    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    log_format bodies '$request_method $uri <$request_body>';

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8443%%LISTEN%%;
        %%H2%%
        server_name gateway.example;
        access_log %%TESTDIR%%/bodies.log bodies;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /replaced { proxy_set_body "<$request_body>"; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # What server blocks say, and the introspection location inherits.
    server {
        listen 127.0.0.1:8083;
        server_name gateway.example;

        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Authorization $http_authorization;
        proxy_set_header Accept $http_accept;
        proxy_set_header Content-Type $content_type;
        proxy_set_header Cookie $http_cookie;
        proxy_set_header Range $http_range;
        proxy_set_header If-None-Match $http_if_none_match;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Request $request_method;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # What is meant for the client's body.
    server {
        listen 127.0.0.1:8084;
        client_max_body_size 1k;
        client_body_buffer_size 1k;
        client_body_in_file_only on;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /large { client_max_body_size 100k; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->secrets('secret-of-the-gateway', $basic);

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $jwt = jwt();

# Headers of the authorization server's answer that say something to NGINX or to a client.
my @answered = (
    'Set-Cookie' => 'as=secret', 'ETag' => '"as"', 'Last-Modified' => 'Fri, 31 Dec 1999 23:59:59 GMT',
    'Expires' => 'Fri, 31 Dec 1999 23:59:59 GMT', 'Vary' => 'Accept', 'Link' => '</as>; rel=preload',
    'Content-Disposition' => 'attachment; filename=as', 'Content-Language' => 'en-AS', 'Refresh' => '0; url=/as',
    'Server' => 'as', 'WWW-Authenticate' => 'Basic realm="as"', 'Strict-Transport-Security' => 'max-age=1; as',
    'X-Accel-Expires' => '0', 'X-Accel-Buffering' => 'no', 'X-Accel-Limit-Rate' => '1', 'X-Accel-Charset' => 'as',
    'X-As' => 'as',
);

sub known {
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt, headers => \@answered));
    return $token;
}

# A miss and a hit.

$api->script('/same', { type => 'text/plain', headers => ['X-API' => 'kept', 'ETag' => '"api"'], body => "said\n" });

my @headers = (
    Accept => 'text/html', 'Content-Type' => 'application/json', Cookie => 'client=1', Range => 'bytes=0-1',
    'If-None-Match' => '"client"', 'Content-Encoding' => 'gzip', 'X-Client' => 'client', TE => 'trailers',
);
my $h2 = Test::Nginx::HTTP2->new(port => 8443);

for my $case (['GET'], ['POST', 'client=body'], ['HEAD']) {
    my ($method, $body) = @$case;
    my $token = known();
    my (@upstream, @client);

    for my $state (qw(miss hit)) {
        my $response = call('/same', $token, method => $method, headers => \@headers, body => $body);
        push @client, ($response->head() =~ s/^Date: .*\n//mr) . $response->body();
        my $request = $api->last_request('/same');
        push @upstream, "$request->{head}\n$request->{body}";
    }

    is($client[0], $client[1], "$method: the client cannot tell a miss from a hit");
    is($upstream[0] eq $upstream[1], 1, "$method: nor can the API");
    like($client[0], qr{^HTTP/1\.1 200 .*X-API: kept}s, "$method: what the API says arrives");
    unlike($client[0], qr/\bas\b/, "$method: nothing of the answer");
    unlike($upstream[0], qr{$basic|x-www-form-urlencoded|application/jwt|token=}, "$method: nothing of the question");
}

# The same over HTTP/2, and what the authorization server gets.

my $token = known();
my @h2 = map {
    my $response = $h2->call('POST', '/same', headers => [@headers, Authorization => "Bearer $token"],
        body => 'client=h2');
    my $request = $api->last_request('/same');
    ($response->head() =~ s/^date: .*\n?//imr) . $response->body() . "$request->{head}\n$request->{body}";
} qw(miss hit);
is($h2[0] eq $h2[1], 1, 'HTTP/2: a miss is like a hit');
like($h2[0], qr/ 200\b.*said\n.*\nclient=h2$/s, 'HTTP/2: all of it arrives');

my $question = $as->last_request($token);
is("$question->{method} $question->{uri} " . join(' ', sort map { lc $_->[0] } @{ $question->{headers} }),
    join(' ', 'POST /introspect', sent($t, qw(accept authorization content-length content-type host))),
    'HTTP/2: the question');
unlike("$question->{head}\n$question->{body}", qr/client|localhost/, 'HTTP/2: nothing of the client in it');
is($as->header($question, 'Accept') . ' ' . $as->header($question, 'Content-Type'),
    'application/jwt application/x-www-form-urlencoded', 'HTTP/2: its own Accept and Content-Type');

# What the introspection location inherits is evaluated for the question.

$token = known();
my $response = call('/inherited', $token, port => 8083, host => 'client.example', method => 'POST',
    body => 'client=body', headers => [@headers, 'X-Forwarded-For' => '192.0.2.1']);
is($response->status(), 200, 'inherited headers: passes');

$question = $as->last_request($token);
my %sent = map { lc $_->[0] => $_->[1] } @{ $question->{headers} };
my $length = length $question->{body};
my $server = '127.0.0.1:' . port(8081);
is_deeply(\%sent, {
    host => $server, 'x-forwarded-host' => $server, authorization => "Basic $basic", accept => 'application/jwt',
    'content-type' => 'application/x-www-form-urlencoded', 'content-length' => $length,
    'x-forwarded-for' => '127.0.0.1', 'x-request' => 'POST',
}, 'inherited headers: the question');
is($question->{body}, "token=$token", 'inherited headers: its body');

my $request = $api->last_request();
%sent = map { lc $_->[0] => $_->[1] } @{ $request->{headers} };
is($sent{authorization} eq "Bearer $jwt", 1, 'inherited headers: the JWT upstream');
is(join(' ', map { $sent{$_} // '-' } qw(host accept content-type cookie range if-none-match x-forwarded-for)),
    'client.example text/html application/json client=1 bytes=0-1 "client" 192.0.2.1, 127.0.0.1',
    "inherited headers: the client's upstream");
is($request->{body}, 'client=body', 'inherited headers: its body');

# An upgrade is the client's.

$token = known();
my $connection = http_connection(port => 8083);
$connection->request('GET', '/upgrade',
    headers => [Authorization => "Bearer $token", Upgrade => 'echo', Connection => 'upgrade']);
is($connection->response()->status(), 101, 'inherited Upgrade: passes');
is($as->header($as->last_request($token), 'Upgrade'), undef, 'inherited Upgrade: the question has none');
is($as->header($as->last_request($token), 'Connection'), undef, 'inherited Connection: nor that');
$connection->close();

# $request_body is the client's, in the log and elsewhere; the question is not logged.

my $lines = () = $t->read_file('bodies.log') =~ /\n/g;

sub logged {
    $t->wait_for_file_lines('bodies.log', ++$lines);
    my @all = split /\n/, $t->read_file('bodies.log');
    return $all[$lines - 1];
}

$token = known();

for my $state (qw(miss hit)) {
    call('/logged', $token, method => 'POST', body => 'client=body');
    is(logged(), 'POST /logged <client=body>', "\$request_body in the log, $state");
}

call('/logged', known());
is(logged(), 'GET /logged <->', '$request_body in the log, without one');
call('/logged', token(), method => 'POST', body => 'client=body');
is(logged(), 'POST /logged <->', '$request_body in the log, refused');

is(call('/replaced', known(), method => 'POST', body => 'client=body')->status(), 200, 'proxy_set_body');
is($api->last_request()->{body}, '<client=body>', 'proxy_set_body with $request_body');
is(call('/replaced', known())->status(), 200, 'proxy_set_body, without a body');
is($api->last_request()->{body}, '<>', 'proxy_set_body with $request_body, without a body');

# Limits of the server block.

my $large = 'x' x 50_000;
is(call('/large', known(), port => 8084, method => 'POST', body => $large)->status(), 200,
    "client_max_body_size is the client's location's");
is($api->last_request()->{body} eq $large, 1, 'whose body arrives');

my $questions = $as->questions();
is(call('/', known(), port => 8084, method => 'POST', body => $large)->status(), 413, 'too large a body');
is($as->questions(), $questions, 'too large a body: not asked');

my @files = glob $t->testdir() . '/client_body_temp/*';
is(scalar @files, 1, 'client_body_in_file_only: the one body is in a file');
is($t->read_file(substr $files[0], 1 + length $t->testdir()) eq $large, 1, "client_body_in_file_only: the client's");
$h2->close();
