#!/usr/bin/perl

# What the client gets when the authorization server says no, errs, or cannot be asked; what the log says; and
# that none of it reaches the API or is remembered as the token's fault.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::SHA qw(sha256_hex);
use JSON::PP;

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
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;

    upstream nowhere {
        server 127.0.0.1:8099 max_fails=1 fail_timeout=60s;
        server 127.0.0.1:8098 max_fails=1 fail_timeout=60s;
    }

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /refused {
            phantom_token_introspection_endpoint /introspect_refused;
            proxy_pass http://127.0.0.1:8082;
        }
        location /nowhere {
            phantom_token_introspection_endpoint /introspect_nowhere;
            proxy_pass http://127.0.0.1:8082;
        }
        location /timeout {
            phantom_token_introspection_endpoint /introspect_timeout;
            proxy_pass http://127.0.0.1:8082;
        }
        location /missing {
            phantom_token_introspection_endpoint /no/such/location;
            proxy_pass http://127.0.0.1:8082;
        }
        location /returned {
            phantom_token_introspection_endpoint /introspect_returned;
            proxy_pass http://127.0.0.1:8082;
        }
        location /denied {
            phantom_token_introspection_endpoint /introspect_denied;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_refused { internal; proxy_pass http://127.0.0.1:8099; }
        location = /introspect_nowhere { internal; proxy_pass http://nowhere; }
        location = /introspect_timeout {
            internal;
            proxy_read_timeout 200ms;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_returned { internal; return 204; }
        location = /introspect_denied { internal; return 403; }
        location /no/ { phantom_token off; }
    }

    server {
        listen 127.0.0.1:8083;
        phantom_token off;

        location / { try_files /nothing @inherited; }
        location @inherited {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my $html = '<html>a page</html>';
my $past = time - 60;

# What is answered; what the client gets: status, slug, Retry-After; where it is asked.
my @cases = (
    ['inactive, as JSON', $as->inactive_answer(), 401, 'inactive'],
    ['inactive, as 204', { status => 204 }, 401, 'inactive'],
    ['active, but not a boolean', $as->json_answer({ active => 'true', jwt => jwt() }), 401, 'inactive'],
    ['expired, as JSON', $as->json_answer({ active => JSON::PP::true, exp => $past, jwt => jwt() }), 401, 'expired'],
    ['expired, as JWT', $as->jwt_answer(jwt(claims => { exp => $past })), 401, 'expired'],
    ['bound, as JSON', $as->json_answer({ active => JSON::PP::true, cnf => { jkt => 'x' }, jwt => jwt() }), 401,
        'binding'],
    ['bound, as JWT', $as->jwt_answer(jwt(claims => { cnf => { 'x5t#S256' => 'x' } })), 401, 'binding'],
    ['a refresh token', $as->json_answer({ active => JSON::PP::true, token_type => 'refresh_token', jwt => jwt() }),
        401, 'inactive'],
    ['unsupported_token_type', $as->json_answer({ error => 'unsupported_token_type' }, status => 400), 401,
        'inactive'],

    ['another 400', $as->json_answer({ error => 'invalid_request' }, status => 400), 502, 'server_refused_us'],
    ['an empty 400', { status => 400 }, 502, 'server_refused_us'],
    ['401', { status => 401, headers => ['WWW-Authenticate' => 'Basic realm="as"'] }, 502, 'server_refused_us'],
    ['403 with HTML', { status => 403, type => 'text/html', body => $html }, 502, 'server_refused_us'],
    ['404', { status => 404, type => 'text/html', body => $html }, 502, 'server_refused_us'],
    ['415', { status => 415 }, 502, 'server_refused_us'],

    ['301', { status => 301, headers => [Location => '/introspect/'] }, 502, 'server_bad_answer'],
    ['302', { status => 302, headers => [Location => 'http://127.0.0.1/'] }, 502, 'server_bad_answer'],
    ['307', { status => 307, headers => [Location => '/other'] }, 502, 'server_bad_answer'],
    ['HTML', { type => 'text/html', body => $html }, 502, 'server_bad_answer'],
    ['201', $as->jwt_answer(jwt(), status => 201), 502, 'server_bad_answer'],
    ['206', $as->jwt_answer(jwt(), status => 206), 502, 'server_bad_answer'],

    ['500', { status => 500, type => 'text/html', body => $html }, 502, 'server_unreachable'],
    ['502', { status => 502 }, 502, 'server_unreachable'],
    ['its 504', { status => 504 }, 502, 'server_unreachable'],
    ['a reset', { reset => 1 }, 502, 'server_unreachable'],
    ['hung up', { hang_up => 1 }, 502, 'server_unreachable'],
    ['nonsense', { raw => "\x16\x03\x01nonsense\r\n" }, 502, 'server_(?:unreachable|bad_answer)'],
    ['a refused connection', undef, 502, 'server_unreachable', undef, '/refused'],
    ['no live upstreams', undef, 502, 'server_unreachable', undef, '/nowhere'],
    ['still none', undef, 502, 'server_unreachable', undef, '/nowhere'],

    ['429', { status => 429, headers => ['Retry-After' => '7'] }, 503, 'server_busy', '7'],
    ['503', { status => 503, headers => ['Retry-After' => 'Fri, 31 Dec 2066 23:59:59 GMT'] }, 503, 'server_busy',
        'Fri, 31 Dec 2066 23:59:59 GMT'],
    ['503 without a time', { status => 503 }, 503, 'server_busy'],

    ['no answer in time', { hold => 1 }, 504, 'server_timeout', undef, '/timeout'],
    ['half an answer in time', $as->jwt_answer(jwt(), hold_after => 200), 5 . '0[24]', 'server_\w+', undef,
        '/timeout'],

    ['no such endpoint', undef, 500, 'internal', undef, '/missing'],
    ['an endpoint that refuses by itself', undef, 500, 'internal', undef, '/denied'],
    ['an endpoint that knows no token', undef, 401, 'inactive', undef, '/returned'],
);

$t->plan(8 * @cases + 9);
$t->run();

for my $case (@cases) {
    my ($name, $answer, $status, $slug, $retry_after, $uri) = @$case;

    my $token = token();
    $as->script($token, $answer) if $answer;
    $t->new_module_lines();

    my $response = call($uri // '/', $token);
    my $clients = $status =~ /^4/;
    my $challenge = $clients ? 'Bearer realm="api", error="invalid_token"' : undef;

    like($response->status(), qr/^$status$/, "$name: status");
    is($response->header('WWW-Authenticate'), $challenge, "$name: challenge");
    is($response->header('Retry-After'), $retry_after, "$name: Retry-After");
    like($response->header('Slug') // '', qr/^$slug$/, "$name: slug");
    unlike($response->body() . $response->head(), qr/a page|Location|as"/, "$name: nothing of the answer");

    my @lines = grep { !/\[debug\]/ } $t->new_module_lines();
    my $level = $clients ? 'info' : 'error';
    my $fingerprint = substr sha256_hex($token), 0, 8;
    is(scalar(@lines), 1, "$name: one line in the log");
    like($lines[0] // '', qr/\[$level\].*\b$slug\b/, "$name: its slug, at $level");
    like($lines[0] // '', qr/\b$fingerprint\b/, "$name: its fingerprint");
}

is($api->count(), 0, 'nothing went upstream');

# A failure is nothing that the token is remembered by.

my ($token, $jwt) = (token(), jwt());
$as->script($token, { status => 500 }, { status => 401 }, { hang_up => 1 }, $as->jwt_answer($jwt));
is(call('/', $token)->status(), 502, 'fails once') for 1 .. 3;
is(call('/', $token)->status(), 200, 'and then does not');
is($api->authorization(), "Bearer $jwt", 'with the JWT');

# A refusal before any question tells the log so.

$t->new_module_lines();
call('/', undef);
my @lines = grep { !/\[debug\]/ } $t->new_module_lines();
is(scalar(@lines), 1, 'no credentials: one line in the log');
like($lines[0] // '', qr/\[info\].*\bno_credentials\b/, 'no credentials: its slug');

# A named location translates as any other.

$as->script($token, $as->jwt_answer($jwt));
is(call('/', $token, port => 8083)->status(), 200, 'a named location with an endpoint of its own');
