#!/usr/bin/perl

# The table of what the client gets, row by row, over HTTP/1.1 and HTTP/2: the status, WWW-Authenticate and Retry-After
# to the letter, and the slug. A 401 or 400 means the client's token and says so in a challenge; nothing else does.

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

my $server = <<'SERVER';
        location / { proxy_pass http://127.0.0.1:8082; }
        location /scopes {
            phantom_token_realm "the \"API\"";
            phantom_token_scopes "read write";
            proxy_pass http://127.0.0.1:8082;
        }
        location /impatient { phantom_token_lock_timeout 200ms; proxy_pass http://127.0.0.1:8082; }
        location /timeout {
            phantom_token_introspection_endpoint /introspect_timeout;
            proxy_pass http://127.0.0.1:8082;
        }
        location /refused {
            phantom_token_introspection_endpoint /introspect_refused;
            proxy_pass http://127.0.0.1:8082;
        }
        location /missing {
            phantom_token_introspection_endpoint /no/such/location;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_timeout { internal; proxy_read_timeout 200ms; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_refused { internal; proxy_pass http://127.0.0.1:8099; }
        location /no/ { phantom_token off; }
SERVER

$t->write_file_expand('nginx.conf',
    <<'CONF' =~ s/%%LISTEN%%/$listen/r =~ s/%%H2%%/$directive/r =~ s/%%SERVER%%/$server/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;

    server {
        listen 127.0.0.1:8080;
%%SERVER%%
    }

    server {
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%
%%SERVER%%
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my $jwt = jwt();
my $active = { active => JSON::PP::true, jwt => $jwt };
my ($past, $date) = (time - 60, 'Fri, 31 Dec 2066 23:59:59 GMT');

my $none = 'Bearer realm="api"';
my $invalid = 'Bearer realm="api", error="invalid_token"';
my $scopes = 'Bearer realm="the \"API\"", scope="read write"';

sub status { my ($status, %fields) = @_; return { status => $status, %fields } }
sub json { my ($members, %fields) = @_; return $as->json_answer($members, %fields) }
sub error { my ($error) = @_; return json({ error => $error }, status => 400) }

# What the client sends, of a new token.
sub bearer { return [Authorization => "Bearer $_[0]"] }
my %sends = (
    nothing => sub { [] },
    another => sub { [Authorization => 'Basic YTpi'] },
    malformed => sub { [Authorization => "Bearer $_[0], $_[0]"] },
    bearer => \&bearer,
);

# The row; how a token is sent, where, what is answered; status, WWW-Authenticate, Retry-After, slug. Without an answer
# the server is not asked.
my @rows = (
    ['no credentials', 'nothing', '/', undef, 401, $none, undef, 'no_credentials'],
    ['no credentials, scope hint', 'nothing', '/scopes', undef, 401, $scopes, undef, 'no_credentials'],
    ['another scheme', 'another', '/', undef, 401, $none, undef, 'no_credentials'],
    ['another scheme, scope hint', 'another', '/scopes', undef, 401, $scopes, undef, 'no_credentials'],
    ['malformed', 'malformed', '/', undef, 401, $invalid, undef, 'malformed'],
    ['malformed, scope hint', 'malformed', '/scopes', undef, 401, qq($scopes, error="invalid_token"), undef,
        'malformed'],
    ['two ways', 'bearer', '/?access_token=x', undef, 400, 'Bearer realm="api", error="invalid_request"', undef,
        'several_tokens'],

    ['inactive', 'bearer', '/', $as->inactive_answer(), 401, $invalid, undef, 'inactive'],
    ['inactive, scope hint', 'bearer', '/scopes', $as->inactive_answer(), 401, qq($scopes, error="invalid_token"),
        undef, 'inactive'],
    ['inactive, 204', 'bearer', '/', status(204), 401, $invalid, undef, 'inactive'],
    ['a refresh token', 'bearer', '/', json({ %$active, token_type => 'refresh_token' }), 401, $invalid, undef,
        'inactive'],
    ['expired', 'bearer', '/', json({ %$active, exp => $past }), 401, $invalid, undef, 'expired'],
    ['broken binding', 'bearer', '/', json({ %$active, cnf => { jkt => 'x' } }), 401, $invalid, undef, 'binding'],
    ['unsupported_token_type', 'bearer', '/', error('unsupported_token_type'), 401, $invalid, undef, 'inactive'],

    (map { ["refuses us, $_", 'bearer', '/', status($_), 502, undef, undef, 'server_refused_us'] } 400, 401, 403, 404),
    ['refuses us, invalid_request', 'bearer', '/', error('invalid_request'), 502, undef, undef, 'server_refused_us'],
    ['refuses us with a challenge', 'bearer', '/', status(401, headers => ['WWW-Authenticate' => 'Basic realm="as"']),
        502, undef, undef, 'server_refused_us'],
    (map { ["redirects, $_", 'bearer', '/', status($_, headers => [Location => '/x']), 502, undef, undef,
        'server_bad_answer'] } 301, 302, 307),
    ['makes no sense', 'bearer', '/', $as->jwt_answer('<html>', type => 'text/html'), 502, undef, undef,
        'server_bad_answer'],
    ['makes no sense, no active', 'bearer', '/', json({ jwt => $jwt }), 502, undef, undef, 'server_bad_answer'],
    ['makes no sense, no JWT', 'bearer', '/', json({ active => JSON::PP::true }), 502, undef, undef,
        'server_bad_answer'],

    (map { ["fails, $_", 'bearer', '/', status($_, headers => ['Retry-After' => 5]), 502, undef, undef,
        'server_unreachable'] } 500, 502, 504),
    ['a connection is reset', 'bearer', '/', { reset => 1 }, 502, undef, undef, 'server_unreachable'],
    ['a connection is refused', 'bearer', '/refused', undef, 502, undef, undef, 'server_unreachable'],

    (map { (
        ["busy, $_", 'bearer', '/', status($_), 503, undef, undef, 'server_busy'],
        ["busy, $_, seconds", 'bearer', '/', status($_, headers => ['Retry-After' => 17]), 503, undef, '17',
            'server_busy'],
        ["busy, $_, a date", 'bearer', '/', status($_, headers => ['Retry-After' => $date]), 503, undef, $date,
            'server_busy'],
    ) } 429, 503),

    ['time is up', 'bearer', '/timeout', { hold => 1 }, 504, undef, undef, 'server_timeout'],
    ['a fault of ours', 'bearer', '/missing', undef, 500, undef, undef, 'internal'],
);

# Verdicts that are known already.
my @known = (
    ['inactive', $as->inactive_answer(), 'inactive'],
    ['expired', json({ %$active, exp => $past }), 'expired'],
    ['broken binding', json({ %$active, cnf => { jkt => 'x' } }), 'binding'],
);

my @versions = ('HTTP/1.1', 'HTTP/2');

$t->plan(@versions * (6 * @rows + 5 * @known + 13));
$t->run();

my $h2 = Test::Nginx::HTTP2->new(port => 8083);
my %get = (
    'HTTP/1.1' => sub { http_request('GET', $_[0], headers => $_[1]) },
    'HTTP/2' => sub { $h2->call('GET', $_[0], headers => $_[1]) },
);

# A new token that the server knows.
sub active {
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt));
    return $token;
}

# The response: status, the lines of the two headers, slug.
sub answered {
    my ($response, $name, $status, $challenge, $retry_after, $slug) = @_;
    is($response->status(), $status, "$name: status");
    is_deeply([$response->header_lines('WWW-Authenticate')], [grep { defined } $challenge], "$name: WWW-Authenticate");
    is_deeply([$response->header_lines('Retry-After')], [grep { defined } $retry_after], "$name: Retry-After");
    is($response->header('Slug'), $slug, "$name: slug");
    return;
}

for my $version (@versions) {
    for my $row (@rows) {
        my ($what, $how, $uri, $answer, @outcome) = @$row;

        my $name = "$what, $version";
        my $token = token();
        $as->script($token, $answer) if $answer;

        # A server that fails and fails would be left alone.
        $get{$version}->('/', bearer(active()));
        my $before = $api->count();

        answered($get{$version}->($uri, $sends{$how}->($token)), $name, @outcome);
        is($as->questions($token), $answer ? 1 : 0, "$name: questions");
        is($api->count(), $before, "$name: not upstream");
        $as->release($token);
    }

    for my $case (@known) {
        my ($what, $answer, $slug) = @$case;

        my $name = "$what, known, $version";
        my $token = token();
        $as->script($token, $answer);
        $get{$version}->('/', bearer($token));
        answered($get{$version}->('/', bearer($token)), $name, 401, $invalid, undef, $slug);
        is($as->questions($token), 1, "$name: one question");
    }

    # Another request's question takes too long.

    my $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    my $other = $version eq 'HTTP/2' ? Test::Nginx::HTTP2->new(port => 8083) : http_connection();
    my $stream = $other->request('GET', '/', headers => bearer($token));
    $as->wait_for_question($token, 1);
    answered($get{$version}->('/impatient', bearer($token)), "lock timeout, $version", 503, undef, '1', 'overload');
    is($as->questions($token), 1, "lock timeout, $version: one question");
    $as->release($token);
    is($other->response($version eq 'HTTP/2' ? $stream : ())->status(), 200, "lock timeout, $version: the other one");
    $other->close();

    # Two Authorization lines are NGINX's own 400: nothing of ours is in it.

    $token = token();
    my $response = $get{$version}->('/', [@{ bearer($token) }, @{ bearer($token) }]);
    is($response->status(), 400, "two Authorization lines, $version: status");
    is($response->header('WWW-Authenticate'), undef, "two Authorization lines, $version: no challenge");
    is($as->questions($token), 0, "two Authorization lines, $version: no question");

    # What passes has none of it.

    answered($get{$version}->('/', bearer(active())), "active, $version", 200, undef, undef, undef);
}

$h2->close();
