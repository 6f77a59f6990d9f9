#!/usr/bin/perl

# Tokens of 1 to 8,000 characters with every character of b64token (RFC 6750 section 2.1), and every byte that is none:
# over HTTP/1.1 and HTTP/2, in a header and in a cookie. Each has its own verdict, and is asked about as it stands.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy http_v2));

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8084;
        large_client_header_buffers 4 40k;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my @b64 = ('A' .. 'Z', 'a' .. 'z', 0 .. 9, qw(- . _ ~ + /));
my %is_b64 = map { $_ => 1 } @b64;

# Every character alone, among others, and with padding.
my @short = ((map { ($_, "a${_}z", "$_=") } @b64), 'a==', 'a===', 'a======');
my %used = map { $_ => 1 } @short;

# A new token of that length, of any characters, with padding or without.
sub token_of {
    my ($length) = @_;

    my $padding = $length < 5 ? 0 : $length % 3;
    my $token;

    do {
        $token = join('', map { $b64[rand @b64] } 1 .. $length - $padding) . '=' x $padding;
    } while $used{$token}++;

    return $token;
}

my @lengths = (
    2 .. 36, 63 .. 65, 870, (map { ($_ - 1, $_, $_ + 1) } 128, 256, 512, 1_024, 2_048, 4_096), 7_998 .. 8_000,
);

# How a token gets to the location, and what the path begins with.
my $h2;
my %ways = (
    'HTTP/1.1' => ['/', sub { call($_[0], $_[1]) }],
    'HTTP/2' => ['/', sub { $h2->call('GET', $_[0], headers => [Authorization => "Bearer $_[1]"]) }],
    'a cookie' => ['/cookie/', sub { call($_[0], undef, headers => [Cookie => "a=b; session=$_[1]; c=d"]) }],
);
my @ways = sort keys %ways;

# What no token may hold. NGINX itself refuses NUL and CR, and a newline is the end of the header.
my @others = grep { !$is_b64{$_} && $_ ne '=' && $_ !~ /[\0\r\n]/ } map { chr } 0 .. 255;

$t->plan(3 * @ways * @lengths + 3 * @short + 6 * @others + 44);
$t->run();
$h2 = Test::Nginx::HTTP2->new(port => 8083);

my $calls = 0;

# One token: its JWT goes upstream, the question has it, and the second time it is known.
sub passes {
    my ($token, $way, $name) = @_;

    # That none of so many turns up where it must not be is checked by those of one way; a short token can be part of
    # any text.
    $t->secrets($token) if $way eq 'HTTP/2' && length $token > 20;
    my $jwt = Test::PhantomToken::JWT::jwt();
    $as->script($token, $as->jwt_answer($jwt));
    my ($prefix, $request) = @{ $ways{$way} };
    my $path = $prefix . ++$calls;
    my @statuses = map { $request->($path, $token)->status() } 1, 2;
    my @upstream = map { scalar $api->header($_, 'Authorization') } $api->requests($path);

    ok("@statuses" eq '200 200' && "@upstream" eq "Bearer $jwt Bearer $jwt", "$name: the JWT upstream");
    is($as->questions($token), 1, "$name: one question has it");
    like($as->last_request($token)->{body}, qr/^token=(?:[A-Za-z0-9*._-]|%[0-9A-F]{2})+$/, "$name: form-encoded");
    return;
}

# Every length.

for my $length (@lengths) {
    passes(token_of($length), $_, "$length characters, $_") for @ways;
}

# Every character.

passes($_, 'HTTP/1.1', $_) for @short;

# Every byte that is none.

for my $other (@others) {
    my $name = sprintf 'byte %02x', ord $other;
    my $before = $as->questions();

    for my $way ('HTTP/1.1', 'HTTP/2') {
        my $response = $ways{$way}[1]->('/', "abc${other}xyz");
        is($response->status(), 401, "$name, $way: status");
        is($response->header('Slug'), 'malformed', "$name, $way: slug");
        is($as->questions(), $before, "$name, $way: no question");
    }
}

for my $other ("\0", "\r") {
    my $name = sprintf 'byte %02x', ord $other;
    my $before = $as->questions();
    is(call('/', "abc${other}xyz")->status(), 400, "$name: status");
    is($as->questions(), $before, "$name: no question");
}

# Long tokens that differ in their last character only, and one that is the beginning of another.

my $stem = token_of(7_999) =~ tr/=/A/r;
my %jwts;

for my $token ($stem, "${stem}A", "${stem}B", "${stem}=") {
    $jwts{$token} = jwt();
    $as->script($token, $as->jwt_answer($jwts{$token}));
}

for my $round (qw(miss hit)) {
    for my $token (sort keys %jwts) {
        ok($api->authorization(call('/', $token)) eq "Bearer $jwts{$token}", "long and alike, $round: its own JWT");
    }
}

is($as->questions($_), 1, 'long and alike: one question each') for sort keys %jwts;

# NGINX limits a header line to a buffer of large_client_header_buffers.

my $too_long = token_of(8_192);
my $before = $as->questions();
is(call('/', $too_long)->status(), 400, "longer than NGINX's buffers: its own 400");
is($as->questions(), $before, "longer than NGINX's buffers: no question");

for my $length (8_192, 20_000, 32_000) {
    my ($token, $jwt) = (token_of($length), jwt());
    $as->script($token, $as->jwt_answer($jwt));
    my $response = call('/', $token, port => 8084);
    is($response->status(), 200, "$length characters, with larger buffers");
    ok($api->authorization($response) eq "Bearer $jwt", "$length characters, with larger buffers: the JWT upstream");
}

# A JWT that a client presents is asked about like any other token, whatever kind it says it is: it is not taken at
# its word, and does not go upstream as it stands.

for my $typ (qw(at+jwt token-introspection+jwt logout+jwt secevent+jwt dpop+jwt)) {
    my $presented = jwt(header => { typ => $typ }, claims => { active => JSON::PP::true });
    my $before = $api->count();
    is(call('/', $presented)->status(), 401, "a JWT, $typ: not known to the server");
    is($as->questions($presented), 1, "a JWT, $typ: the server is asked");
    is($api->count(), $before, "a JWT, $typ: not upstream");

    my $translated = jwt(header => { typ => $typ });
    my $jwt = jwt();
    $as->script($translated, $as->jwt_answer($jwt));
    is($api->authorization(call('/', $translated)), "Bearer $jwt", "a JWT, $typ: known, another one goes upstream");
}

$h2->close();
