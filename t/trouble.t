#!/usr/bin/perl

# Trouble with the authorization server, as the operator sees it: what the client gets, and a line in the log that
# names the usual cause, the location, the endpoint, the server's address and its status.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::SHA qw(sha256_hex);
use IO::Socket::INET;

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy rewrite));

my @locations = qw(kept plain refused nowhere nameless full no_headers intercepted denied next closed);
my $locations = join "\n", map { <<"LOCATION" } @locations;
        location /$_ {
            # By the argument each token has an endpoint of its own: one that fails and fails would be left alone.
            phantom_token_introspection_endpoint /introspect_$_?\$phantom_token_fingerprint;
            proxy_pass http://127.0.0.1:8082;
        }
LOCATION

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LOCATIONS%%/$locations/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    add_header Slug $phantom_token_error always;

    upstream server {
        server 127.0.0.1:8081;
        keepalive 4;
    }
    upstream nowhere {
        server 127.0.0.1:8099 max_fails=1 fail_timeout=60s;
        server 127.0.0.1:8098 max_fails=1 fail_timeout=60s;
    }
    upstream one_of_two {
        server 127.0.0.1:8099 max_fails=0;
        server 127.0.0.1:8081 backup;
    }

    server {
        listen 127.0.0.1:8080;

%%LOCATIONS%%

        location = /introspect_plain { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_kept {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://server;
        }
        location = /introspect_refused { internal; proxy_pass http://127.0.0.1:8099; }
        location = /introspect_nowhere { internal; proxy_pass http://nowhere; }
        location = /introspect_nameless { internal; set $name as.invalid; proxy_pass http://$name; }
        location = /introspect_full {
            internal;
            proxy_connect_timeout 200ms;
            proxy_pass http://127.0.0.1:8085;
        }
        location = /introspect_no_headers {
            internal;
            proxy_pass_request_headers off;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_intercepted {
            internal;
            proxy_intercept_errors on;
            error_page 401 403 500 /page;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_denied { internal; return 403; }
        location = /introspect_next { internal; proxy_pass http://one_of_two; }
        location = /introspect_closed {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream error timeout non_idempotent;
            proxy_pass http://server;
        }
        location = /page { internal; phantom_token off; return 200 '{"active":true}'; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

# A server that does not accept: its queue is full, and whoever connects waits.
my $full = IO::Socket::INET->new(
    Proto => 'tcp', LocalAddr => '127.0.0.1', LocalPort => port(8085), Listen => 1, ReuseAddr => 1,
) or die "cannot listen: $!\n";
# Kept for as long as the test runs.
my @queue = map {
    IO::Socket::INET->new(Proto => 'tcp', PeerAddr => '127.0.0.1', PeerPort => port(8085), Blocking => 0)
} 1 .. 8;

my $html = '<html>a page</html>';
my $jwt = jwt();

# Hints of the log.
my $credentials = qr/does not accept our client credentials: check phantom_token_client_credential,/;
my $question = qr/does not understand the question: check .* Content-Type .*"proxy_pass_request_headers off"/;
my $endpoint = qr/check that the proxy_pass of the internal location names its introspection endpoint/;
my $redirect = qr/redirects are never followed with credentials: check the address in proxy_pass, .*trailing slash/;
my $own = qr/it fails by itself: see its own log/;
my $gone = qr/no complete answer: the server cannot be reached, .*nginx says which in the line before/;
my $type = qr/instead of .*: check .*phantom_token_accept/;

sub html { return { status => $_[0], type => 'text/html', body => $html } }
sub retry { return { status => $_[0], headers => ['Retry-After' => $_[1]] } }

# The server's status, its answer; what the client gets: slug, Retry-After; what the log says.
my @said = (
    [301, { status => 301, headers => [Location => '/introspect/'] }, 'server_bad_answer', undef, $redirect],
    [302, html(302), 'server_bad_answer', undef, $redirect],
    [303, { status => 303 }, 'server_bad_answer', undef, $redirect],
    [307, { status => 307, headers => [Location => 'http://127.0.0.1/'] }, 'server_bad_answer', undef, $redirect],
    [308, { status => 308 }, 'server_bad_answer', undef, $redirect],

    [400, { status => 400 }, 'server_refused_us', undef, $question],
    [400, html(400), 'server_refused_us', undef, $question],
    [400, $as->json_answer({ error => 'invalid_request' }, status => 400), 'server_refused_us', undef, $question],
    [400, $as->json_answer('', status => 400), 'server_refused_us', undef, $question],
    [400, $as->json_answer('{"error":', status => 400), 'server_refused_us', undef, $question],
    [400, { status => 400, type => 'text/plain', body => '{"error":"unsupported_token_type"}' }, 'server_refused_us',
        undef, $question],
    [401, { status => 401, headers => ['WWW-Authenticate' => 'Basic realm="as"'] }, 'server_refused_us', undef,
        $credentials],
    [401, $as->json_answer({ error => 'invalid_client' }, status => 401), 'server_refused_us', undef, $credentials],
    [403, html(403), 'server_refused_us', undef, $credentials],
    [404, html(404), 'server_refused_us', undef, $endpoint],
    [405, { status => 405 }, 'server_refused_us', undef, $endpoint],
    [406, { status => 406 }, 'server_refused_us', undef,
        qr/no answer of the type asked for: check phantom_token_accept/],
    [410, { status => 410 }, 'server_refused_us', undef, $endpoint],
    [413, { status => 413 }, 'server_refused_us', undef, qr/refuses the question: see its own log/],
    [415, { status => 415 }, 'server_refused_us', undef, $question],
    [418, html(418), 'server_refused_us', undef, qr/refuses the question: see its own log/],

    [429, retry(429, 7), 'server_busy', '7', qr/it is busy/],
    [429, retry(429, 'Fri, 31 Dec 2066 23:59:59 GMT'), 'server_busy', 'Fri, 31 Dec 2066 23:59:59 GMT', qr/it is busy/],
    [429, { status => 429 }, 'server_busy', undef, qr/it is busy/],
    [503, retry(503, 120), 'server_busy', '120', qr/it is busy/],
    [503, retry(503, 'Fri, 31 Dec 2066 23:59:59 GMT'), 'server_busy', 'Fri, 31 Dec 2066 23:59:59 GMT', qr/it is busy/],
    [503, html(503), 'server_busy', undef, qr/it is busy/],
    [503, { status => 503, headers => ['Retry-After' => 5, 'Retry-After' => 9] }, 'server_busy', '5', qr/it is busy/],
    [503, retry(503, 'x' x 100), 'server_busy', undef, qr/it is busy/],
    [503, retry(503, "1\x{1}2"), 'server_busy', undef, qr/it is busy/],
    [503, retry(503, "\xff"), 'server_busy', undef, qr/it is busy/],
    [503, retry(503, ''), 'server_busy', undef, qr/it is busy/],
    # Only who is busy says when to come back.
    [500, retry(500, 7), 'server_unreachable', undef, $own],
    [401, retry(401, 7), 'server_refused_us', undef, $credentials],

    [500, html(500), 'server_unreachable', undef, $own],
    [501, { status => 501 }, 'server_unreachable', undef, $own],
    [502, html(502), 'server_unreachable', undef, $own],
    [504, html(504), 'server_unreachable', undef, $own],
    [505, { status => 505 }, 'server_unreachable', undef, $own],

    [200, html(200), 'server_bad_answer', undef, qr/200 with text\/html $type/],
    [200, { body => $jwt }, 'server_bad_answer', undef, qr/200 with no Content-Type $type/],
    [200, $as->jwt_answer($jwt, type => 'text/plain'), 'server_bad_answer', undef, qr/200 with text\/plain $type/],
    [200, $as->jwt_answer($jwt, type => 'application/jwtx'), 'server_bad_answer', undef,
        qr/200 with application\/jwtx $type/],
    [200, $as->jwt_answer($jwt, type => 'x/' . 'x' x 100), 'server_bad_answer', undef,
        qr/200 with an overlong Content-Type $type/],
    [200, $as->jwt_answer($jwt, type => "text/\x{1b}[31m"), 'server_bad_answer', undef,
        qr/200 with an unprintable Content-Type $type/],
    [200, $as->json_answer({ active => JSON::PP::true, jwt => $jwt }, type => 'application/problem+json'),
        'server_bad_answer', undef, qr/200 with application\/problem\+json $type/],
    [200, $as->jwt_answer(''), 'server_bad_answer', undef, qr/answered 200 with nothing in it: $endpoint/],
    [200, $as->json_answer(" \r\n"), 'server_bad_answer', undef, qr/answered 200 with nothing in it: $endpoint/],
    [201, $as->jwt_answer($jwt, status => 201), 'server_bad_answer', undef, $endpoint],
    [202, { status => 202 }, 'server_bad_answer', undef, $endpoint],
    [206, $as->jwt_answer($jwt, status => 206), 'server_bad_answer', undef, $endpoint],
    [207, $as->jwt_answer($jwt, status => 207), 'server_bad_answer', undef, $endpoint],

    [200, $as->jwt_answer($jwt, gzip => 1), 'server_bad_answer', undef,
        qr/compressed its answer: clear Accept-Encoding .*\(proxy_set_header Accept-Encoding ""\)/],
    [200, $as->json_answer({ active => JSON::PP::true, jwt => $jwt }, gzip => 1), 'server_bad_answer', undef,
        qr/compressed its answer/],
    [200, $as->jwt_answer($jwt, headers => ['Content-Encoding' => 'br']), 'server_bad_answer', undef,
        qr/compressed its answer/],
    [200, $as->jwt_answer($jwt, headers => ['Content-Encoding' => 'identity', 'Content-Encoding' => 'deflate']),
        'server_bad_answer', undef, qr/compressed its answer/],
    [200, $as->json_answer({ active => JSON::PP::true, sub => 'alice' }), 'server_bad_answer', undef,
        qr/the server gives no JWT .*"Support JWT claim in Introspection Response".*phantom_token_jwt_member/],
    [200, $as->json_answer({ jwt => $jwt }), 'server_bad_answer', undef,
        qr/has no "active": $endpoint, not that of tokens/],
);

# Where no server says anything: location, status, slug, what NGINX says before, what we say, where.
my $refused = qr/connect\(\) failed \(111/;
my $address = qr/127\.0\.0\.1:\d+/;
my @silent = (
    ['refused', 502, 'server_unreachable', $refused, $gone, qr/$address, status 502/],
    ['nowhere', 502, 'server_unreachable', $refused, $gone, qr/$address, status 502/],
    ['nowhere', 502, 'server_unreachable', qr/no live upstreams/, $gone, qr/nowhere, status 502/],
    ['nameless', 502, 'server_unreachable', qr/no resolver defined to resolve as\.invalid/, $gone,
        qr/\S+, status 502/],
    ['full', 504, 'server_timeout', qr/upstream timed out .*while connecting/,
        qr/did not answer in time: .*"proxy_connect_timeout"/, qr/$address, status 504/],
    ['denied', 500, 'internal', undef,
        qr/answered by itself, without asking a server: check that it has a "proxy_pass"/, qr/-, status 403/],
);

# Where it breaks the connection.
my @broken = (
    [{ reset => 1 }, qr/recv\(\) failed \(104/],
    [{ hang_up => 1 }, qr/upstream prematurely closed connection/],
    [{ raw => "HTTP/1.1 200 OK\r\nX A: b\r\n\r\n" }, qr/upstream sent invalid header/],
    [$as->jwt_answer($jwt, headers => ['X-Pad' => 'x' x 20_000]), qr/upstream sent too big header/],
);

$t->plan(2 * 7 * @said + 6 * @silent + 3 * @broken + 16);
$t->run();

# What came into the error log since the last call, at the level that operators look at.
my $seen = 0;

sub new_lines {
    my $log = substr $t->read_file('error.log'), $seen;
    $seen += length $log;
    return grep { /\[error\]/ } split /\n/, $log;
}

# Our line, and the one before it.
sub our_line {
    my (@lines) = @_;
    my ($index) = grep { $lines[$_] =~ /phantom_token: / } 0 .. $#lines;
    return defined $index ? ($lines[$index], $index ? $lines[$index - 1] : '') : ('', '');
}

for my $location (qw(plain kept)) {
    for my $case (@said) {
        my ($status, $answer, $slug, $retry_after, $text) = @$case;
        my $name = "$location: $status " . ($answer->{type} // '') . ", $slug";

        my $token = token();
        $as->script($token, $answer);
        new_lines();
        my $response = call("/$location", $token);
        my ($line) = our_line(new_lines());
        my $fingerprint = substr sha256_hex($token), 0, 8;

        is($response->status(), $slug eq 'server_busy' ? 503 : 502, "$name: status");
        is($response->header('Slug'), $slug, "$name: slug");
        is($response->header('Retry-After'), $retry_after, "$name: Retry-After");
        is($response->header('WWW-Authenticate'), undef, "$name: no challenge");
        like($line, qr/phantom_token: $slug, .*$text/, "$name: the cause");
        like($line, qr{, location "/$location", endpoint "/introspect_$location", upstream $address, status $status, },
            "$name: where");
        like($line, qr/, fingerprint $fingerprint\b/, "$name: whose");
    }
}

for my $case (@silent) {
    my ($location, $status, $slug, $before, $text, $where) = @$case;

    my $token = token();
    new_lines();
    my $response = call("/$location", $token);
    my ($line, $line_before) = our_line(new_lines());

    is($response->status(), $status, "$location: status");
    is($response->header('Slug'), $slug, "$location: slug");
    is($response->header('WWW-Authenticate'), undef, "$location: no challenge");
    like($line, qr/phantom_token: $slug, .*$text/, "$location: the cause");
    like($line, qr{, location "/$location", endpoint "/introspect_$location", upstream $where, },
        "$location: where");
    like($line_before, $before // qr/^/, "$location: what NGINX says");
}

for my $case (@broken) {
    my ($answer, $before) = @$case;

    my $token = token();
    $as->script($token, $answer);
    new_lines();
    is(call('/plain', $token)->header('Slug'), 'server_unreachable', "$before: slug");
    my ($line, $line_before) = our_line(new_lines());
    like($line, qr/phantom_token: server_unreachable, $gone/, "$before: the cause");
    like($line_before, $before, "$before: what NGINX says");
}

# A location without request headers that lacks the Content-Type.

my $token = token();
$as->script($token, { status => 400 });
new_lines();
is(call('/no_headers', $token)->header('Slug'), 'server_refused_us', 'no Content-Type: slug');
is($as->header($as->last_request($token), 'Content-Type'), undef, 'no Content-Type: it is missing indeed');
like((our_line(new_lines()))[0],
    qr{"proxy_pass_request_headers off" it needs "proxy_set_header Content-Type application/x-www-form-urlencoded"},
    'no Content-Type: the log says what to set');

# The location turns errors of the server into pages: they are no answers.

for my $case ([401, 'server_refused_us'], [500, 'server_unreachable'], [404, 'server_refused_us']) {
    my ($status, $slug) = @$case;

    $token = token();
    $as->script($token, { status => $status });
    new_lines();
    my $response = call('/intercepted', $token);
    is($response->status(), 502, "intercepted $status: status");
    is($response->header('Slug'), $slug, "intercepted $status: slug");
    like((our_line(new_lines()))[0], qr/the server answered $status\b/, "intercepted $status: the log");
}

# One of two servers is down: NGINX asks the other, and nobody is in trouble.

$token = token();
$as->script($token, $as->jwt_answer($jwt));
new_lines();
is(call('/next', $token)->status(), 200, 'one of two servers is down');
is((our_line(new_lines()))[0], '', 'and nothing to report');

# The server closes a kept connection just when it is asked.

call('/closed', my $first = token());
my $connection = $as->last_request($first)->{connection};
$token = token();
$as->script($token, { hang_up => 1 }, $as->jwt_answer($jwt));
is(call('/closed', $token)->status(), 200, 'a kept connection is closed');
my @requests = $as->requests($token);
is($requests[0]{connection}, $connection, 'it was that connection');
