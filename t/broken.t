#!/usr/bin/perl

# Answers that break off, stall, never end, or are framed wrongly: no JWT is ever cut, the client gets 502, or 504 when
# the time is up, and the log says which. Over a connection of its own, over one that is kept, and with proxy_cache,
# which NGINX reads in another way.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::SHA qw(sha256_hex);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy));

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    add_header Slug $phantom_token_error always;

    proxy_cache_path %%TESTDIR%%/cache keys_zone=answers:1m;
    proxy_cache_methods POST;
    proxy_cache_key $request_body;
    proxy_cache_valid 200 1m;

    upstream server {
        server 127.0.0.1:8081;
        keepalive 4;
    }

    server {
        listen 127.0.0.1:8080;

        location /plain {
            phantom_token_introspection_endpoint /introspect/plain?$phantom_token_fingerprint;
            proxy_pass http://127.0.0.1:8082;
        }
        location /kept {
            phantom_token_introspection_endpoint /introspect/kept?$phantom_token_fingerprint;
            proxy_pass http://127.0.0.1:8082;
        }
        location /cached {
            phantom_token_introspection_endpoint /introspect/cached?$phantom_token_fingerprint;
            proxy_pass http://127.0.0.1:8082;
        }
        location /impatient/plain {
            phantom_token_introspection_endpoint /introspect/plain/impatient?$phantom_token_fingerprint;
            proxy_pass http://127.0.0.1:8082;
        }
        location /impatient/kept {
            phantom_token_introspection_endpoint /introspect/kept/impatient?$phantom_token_fingerprint;
            proxy_pass http://127.0.0.1:8082;
        }
        location /impatient/cached {
            phantom_token_introspection_endpoint /introspect/cached/impatient?$phantom_token_fingerprint;
            proxy_pass http://127.0.0.1:8082;
        }

        location /introspect/plain {
            internal;
            proxy_pass http://127.0.0.1:8081;
            location /introspect/plain/impatient { proxy_read_timeout 1s; proxy_pass http://127.0.0.1:8081; }
        }
        location /introspect/kept {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://server;
            location /introspect/kept/impatient { proxy_read_timeout 1s; proxy_pass http://server; }
        }
        location /introspect/cached {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache answers;
            proxy_pass http://server;
            location /introspect/cached/impatient { proxy_read_timeout 1s; proxy_pass http://server; }
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my $jwt = jwt(size => 1_200);
my $json = qq({"active":true,"jwt":"$jwt"});
my $errors = 'x' x 1_000;

# The beginning of a response that is sent as it stands.
my $head = "HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\n";
my $length = "Content-Length: 1200\r\n";
my $chunked = "Transfer-Encoding: chunked\r\n";
my ($half, $whole) = (substr($jwt, 0, 600), sprintf("%x\r\n%s\r\n", length $jwt, $jwt));

sub raw {
    my ($bytes, %fields) = @_;
    return { raw => $bytes, %fields };
}

my @everywhere = qw(/plain /kept /cached);

# Outcomes: status, slug, what the log says.
my @cut = (502, 'server_unreachable', qr/no complete answer: .* closed the connection; nginx says which/);
my @late = (504, 'server_timeout', qr/did not answer in time: .*"proxy_read_timeout"/);
my @too_large = (502, 'server_bad_answer', qr/larger than "phantom_token_max_response"/);
my @chunks = (502, 'server_bad_answer', qr/its chunks are not valid; nginx says which/);
my @no_status = (502, 'server_bad_answer', qr/has no status line, it does not speak HTTP/);

sub said {
    my ($slug, $status) = @_;
    return ($slug eq 'server_busy' ? 503 : 502, $slug, qr/the server answered $status\b.* status $status,/);
}

# Name, answer, locations, outcome; without an outcome the JWT is whole.
my @cases;

for my $how (qw(closed reset)) {
    my @end = (reset => $how eq 'reset');

    push @cases,
        ["$how before the status line", $how eq 'reset' ? { reset => 1 } : { hang_up => 1 }, \@everywhere, @cut],
        ["$how in the status line", raw('HTTP/1.1 2', @end), \@everywhere, @cut],
        ["$how in the headers", raw("${head}Content-Le", @end), \@everywhere, @cut],
        ["$how before the body", raw("$head$length\r\n", @end), \@everywhere, @cut],
        ["$how in the body", raw("$head$length\r\n$half", @end), \@everywhere, @cut],
        ["$how in a chunk", raw("$head$chunked\r\n4b0\r\n$half", @end), \@everywhere, @cut],
        ["$how before the last chunk", raw("$head$chunked\r\n$whole", @end), \@everywhere, @cut];
}

push @cases,
    ['close-delimited, reset', raw("$head\r\n$half", reset => 1), \@everywhere, @cut],
    ['close-delimited, reset in the signature', raw("$head\r\n" . substr($jwt, 0, 1_190), reset => 1), \@everywhere,
        @cut],
    ['close-delimited, cut in the payload', $as->jwt_answer(substr($jwt, 0, 400), close => 1), \@everywhere,
        502, 'server_bad_answer', qr/the JWT in the server's answer cannot be used/],
    ['close-delimited JSON, cut', $as->json_answer(substr($json, 0, 1_190), close => 1), \@everywhere,
        502, 'server_bad_answer', qr/not valid JSON/];

# A length that lies.

push @cases,
    ['a Content-Length too large, closed', raw("${head}Content-Length: 1201\r\n\r\n$jwt"), \@everywhere, @cut],
    ['a Content-Length too large, open', $as->jwt_answer($jwt, length => 1_201),
        [qw(/impatient/kept /impatient/cached)], @late],
    ['a Content-Length of 0', $as->jwt_answer($jwt, length => 0), \@everywhere,
        502, 'server_bad_answer', qr/longer than its Content-Length says/],
    ['a Content-Length too small for the JSON', $as->json_answer($json, length => 1_190), \@everywhere,
        502, 'server_bad_answer', qr/longer than its Content-Length says/],
    ['a Content-Length too small for the JWT', $as->jwt_answer($jwt, length => length($jwt) - 10), \@everywhere,
        502, 'server_bad_answer', qr/longer than its Content-Length says/],
    ['a Content-Length of a terabyte', $as->jwt_answer($jwt, length => 10**12, endless => 1), [qw(/plain /kept)],
        @too_large],
    ['chunks longer than they say', raw("$head${chunked}\r\n4a0\r\n$jwt\r\n0\r\n\r\n"), \@everywhere, @chunks],
    ['chunks that are none', raw("$head${chunked}\r\nxyz\r\n$jwt\r\n0\r\n\r\n"), \@everywhere, @chunks],
    ['bytes behind the last chunk', raw("$head${chunked}\r\n${whole}0\r\n\r\nbytes"), \@everywhere];

# NGINX refuses these since 1.23.0; before, one of the lengths counts.
push @cases, (
    ['two different lengths', raw("${head}Content-Length: 1200\r\nContent-Length: 1190\r\n\r\n$jwt"), \@everywhere,
        @cut],
    ['a length that is no number', raw("${head}Content-Length: many\r\n\r\n$jwt"), \@everywhere, @cut],
    ['a length and chunks', raw("${head}Content-Length: 1190\r\n$chunked\r\n${whole}0\r\n\r\n"), \@everywhere, @cut],
) if $t->has_version('1.23.0');

# What is no HTTP, or none that counts.

push @cases,
    ['no status line', raw($jwt), \@everywhere, @no_status],
    ['a status of letters', raw("HTTP/1.1 abc\r\nContent-Type: application/jwt\r\n\r\n$jwt"), \@everywhere, @no_status],
    ['a status of 999', raw("HTTP/1.1 999 No\r\nContent-Type: application/jwt\r\n\r\n$jwt"), \@everywhere,
        said('server_bad_answer', 999)],
    ['NUL in a header', raw("${head}X-A: a\0b\r\n$length\r\n$jwt"), \@everywhere, @cut],
    ['a header name with a space', raw("${head}X A: b\r\n$length\r\n$jwt"), \@everywhere, @cut],
    ['400 kB of headers', raw($head . ('X-Pad: ' . 'x' x 1_000 . "\r\n") x 400), \@everywhere, @cut],
    ['a 204 with a body', raw("HTTP/1.1 204 No Content\r\nContent-Type: application/jwt\r\n$length\r\n$jwt"),
        \@everywhere, 401, 'inactive', qr/refused with 401/];

# NGINX takes an interim response for the answer, but for a 103 since 1.29.0.

my $answer = "$head$length\r\n$jwt";
push @cases, map {
    ["an interim $_", raw("HTTP/1.1 $_ Interim\r\nLink: </a>\r\n\r\n$answer"), \@everywhere,
        $_ == 103 && $t->has_version('1.29.0') ? () : said('server_bad_answer', $_)]
} 100, 102, 103;
# Endless.

push @cases,
    ['an endless body, close-delimited', $as->jwt_answer($jwt, close => 1, endless => 1), [qw(/plain /kept)],
        @too_large],
    ['an endless 500', { status => 500, endless => 1 }, [qw(/plain /kept)], said('server_unreachable', 500)],
    ['an endless 401', { status => 401, endless => 1 }, [qw(/plain /kept)], said('server_refused_us', 401)],
    ['an endless 400', { status => 400, endless => 1 }, [qw(/plain /kept)], said('server_refused_us', 400)],
    ['an endless 301', { status => 301, endless => 1 }, [qw(/plain /kept)], said('server_bad_answer', 301)];

# Slow.

my @impatient = map { "/impatient$_" } @everywhere;
my %unsupported = (error => 'unsupported_token_type', error_description => $errors);

push @cases,
    ['nothing comes', { hold => 1 }, \@impatient, @late],
    ['the status line stalls', raw($answer, hold_after => 5), \@impatient, @late],
    ['the headers stall', raw($answer, hold_after => 30), \@impatient, @late],
    ['the body stalls', $as->jwt_answer($jwt, hold_after => 500), \@impatient, @late],
    ['the body stalls, chunked', $as->jwt_answer($jwt, chunked => 100, hold_after => 500), \@impatient, @late],
    ['the body stalls, close-delimited', $as->jwt_answer($jwt, close => 1, hold_after => 500), \@impatient, @late],
    ['JSON stalls', $as->json_answer($json, hold_after => 500), \@impatient, @late],

    # The status has said it all.
    ['101, and silence', { status => 101, headers => [Upgrade => 'x', Connection => 'upgrade'] }, \@impatient,
        said('server_bad_answer', 101)],
    ['the body of a 500 stalls', { status => 500, body => $errors, hold_after => 300 }, ['/impatient/kept'],
        said('server_unreachable', 500)],
    ['the body of a 503 stalls', { status => 503, body => $errors, hold_after => 300 }, ['/impatient/kept'],
        said('server_busy', 503)],
    ['the body of a 400 stalls', $as->json_answer({%unsupported}, status => 400, hold_after => 500),
        ['/impatient/kept'], said('server_refused_us', 400)];

push @cases,
    ['a 503 that is cut', { status => 503, body => $errors, truncate => 10 }, \@everywhere, said('server_busy', 503)],
    ['a 400 that is cut', $as->json_answer({%unsupported}, status => 400, truncate => 500), \@everywhere,
        said('server_refused_us', 400)],
    ['a 400 that is whole', $as->json_answer({%unsupported}, status => 400), \@everywhere,
        401, 'inactive', qr/refused with 401/];

# One request each, at a path of its own.
my @runs;

for my $case (@cases) {
    my ($what, $answer, $locations, @outcome) = @$case;

    for my $location (@$locations) {
        my $uri = $location . '/' . @runs;
        push @runs, { name => "$what, $location", uri => $uri, answer => $answer, outcome => \@outcome };
    }
}

my ($refused, $accepted) = (0, 0);
@{ $_->{outcome} } ? $refused++ : $accepted++ for @runs;

# Slow, but in time: where the answer pauses.
my @pauses = (5, 30, 100, 1_000);
my %paused = (
    'with a length' => [$as->jwt_answer($jwt)], 'chunked' => [$as->jwt_answer($jwt, chunked => 100)],
    'close-delimited' => [$as->jwt_answer($jwt, close => 1)],
);

$t->plan(6 * $refused + 3 * $accepted + 2 * @pauses * keys(%paused) * @everywhere);
$t->run();

sub start {
    my ($uri, $token) = @_;
    return http_connection()->request('GET', $uri,
        headers => [Authorization => "Bearer $token", Connection => 'close']);
}

sub begin {
    my ($run) = @_;
    $run->{token} = token();
    $as->script($run->{token}, $run->{answer});
    $run->{connection} = start($run->{uri}, $run->{token});
    return;
}

sub check {
    my ($run) = @_;

    my ($name, $token) = @{$run}{qw(name token)};
    my ($status, $slug, $text) = @{ $run->{outcome} };
    my $response = $run->{connection}->response();
    $run->{connection}->close();

    if (!$status) {
        is($response->status(), 200, "$name: accepted");
        ok($api->authorization($response) eq "Bearer $jwt", "$name: the JWT upstream");
        return;
    }

    my $fingerprint = substr sha256_hex($token), 0, 8;
    my @lines = grep { /, fingerprint $fingerprint\b/ } $t->module_lines();
    is($response->status(), $status, "$name: status");
    is($response->header('Slug'), $slug, "$name: slug");
    is(scalar(@lines), 1, "$name: one line in the log");
    like($lines[0] // '', qr/phantom_token: $slug, .*$text/, "$name: what it says");
    is($api->count($run->{uri}), 0, "$name: not upstream");

    # What is held back would go to nobody.
    $as->release($token);
    return;
}

# What is asked next, over the same connection if it is kept, gets an answer of its own. A server that has failed often
# is left alone for a while.
sub check_next {
    my ($run) = @_;

    my ($token, $next) = (token(), jwt());
    my $uri = "$run->{uri}/next";
    $as->script($token, $as->jwt_answer($next));
    call_until(sub { $_[0]->status() == 200 }, $uri, $token);
    my $request = $api->last_request($uri);
    ok($request && $api->header($request, 'Authorization') eq "Bearer $next", "$run->{name}: the next one");
    return;
}

# Those that wait until the time is up do so together.
my @slow = grep { $_->{uri} =~ m{^/impatient/} } @runs;
begin($_) for @slow;
check($_) for @slow;
check_next($_) for @slow;

for my $run (grep { $_->{uri} !~ m{^/impatient/} } @runs) {
    begin($run);
    check($run);
    check_next($run);
}

for my $how (sort keys %paused) {
    for my $location (@everywhere) {
        for my $pause (@pauses) {
            my $name = "$how, pauses after $pause bytes, $location";
            my $token = token();
            $as->script($token, { %{ $paused{$how}[0] }, hold_after => $pause });

            my $connection = start($location, $token);
            $as->wait_for_question($token, 1);

            # Held back only once the bytes before it are sent.
            for (1 .. 10_000) { last if $as->release($token) }

            my $response = $connection->response();
            is($response->status(), 200, "$name: accepted");
            ok($api->authorization($response) eq "Bearer $jwt", "$name: the JWT upstream");
            $connection->close();
        }
    }
}
