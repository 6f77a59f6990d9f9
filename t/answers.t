#!/usr/bin/perl

# The authorization server's answers, as they are and as they arrive: a JWT as the body, in a member of JSON, or
# nothing that may go upstream. Whatever the operator's buffers are, the JWT is whole, or the request is refused.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use JSON::PP;
use MIME::Base64 qw(encode_base64url);

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

    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location /members {
            phantom_token on;
            phantom_token_accept application/json;
            phantom_token_jwt_member first second;
            proxy_pass http://127.0.0.1:8082;
        }
        location /binding_off {
            phantom_token on;
            phantom_token_binding off;
            proxy_pass http://127.0.0.1:8082;
        }
        location /small {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect_small;
            proxy_pass http://127.0.0.1:8082;
        }
        location /unbuffered {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect_unbuffered;
            proxy_pass http://127.0.0.1:8082;
        }
        location /http_1_1 {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect_http_1_1;
            proxy_pass http://127.0.0.1:8082;
        }
        location /limited {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect_http_1_1;
            phantom_token_max_response 2k;
            proxy_pass http://127.0.0.1:8082;
        }
        location /unbuffered_limited {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect_unbuffered;
            phantom_token_max_response 2k;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_small {
            internal;
            proxy_http_version 1.1;
            proxy_buffer_size 1k;
            proxy_buffers 4 1k;
            proxy_busy_buffers_size 2k;
            subrequest_output_buffer_size 1k;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_unbuffered {
            internal;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_buffer_size 1k;
            proxy_pass http://127.0.0.1:8081;
        }
        location = /introspect_http_1_1 {
            internal;
            proxy_http_version 1.1;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my @cases;

# accepted(name, answer, JWT that goes upstream, location), refused(name, answer, slug, location)
sub accepted { push @cases, ['accepted', @_]; return }
sub refused { push @cases, ['refused', @_]; return }

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my ($jwt, $large) = (jwt(size => 1_200), jwt(size => 20_000));

sub active { return { active => $true, @_ } }

# A JWT as the body.

accepted('JWT', $as->jwt_answer($jwt), $jwt);
accepted('JWT, upper case type', $as->jwt_answer($jwt, type => 'Application/JWT'), $jwt);
accepted('JWT, charset', $as->jwt_answer($jwt, type => 'application/jwt; charset=utf-8'), $jwt);
accepted('JWT, newline', $as->jwt_answer("$jwt\n"), $jwt);

my %whole = (
    'JWT' => sub { $as->jwt_answer($large, @_) },
    'JSON' => sub { $as->json_answer(active(jwt => $large, exp => time + 300), @_) },
);

for my $location ('/', '/small', '/unbuffered', '/http_1_1') {
    for my $kind (sort keys %whole) {
        accepted("20 kB of $kind at $location", $whole{$kind}->(), $large, $location);
        accepted("20 kB of $kind, close-delimited, at $location", $whole{$kind}->(close => 1), $large, $location);
    }
}

accepted('20 kB, chunked, single-byte segments', $as->jwt_answer($large, chunked => 500, segment => 1), $large,
    '/small');

for my $location ('/small', '/unbuffered', '/http_1_1') {
    accepted("20 kB, chunked at $location", $as->jwt_answer($large, chunked => 1), $large, $location);
    accepted("20 kB, chunks of 7 bytes at $location", $as->jwt_answer($large, chunked => 7), $large, $location);
    accepted("20 kB, chunked, in segments at $location",
        $as->jwt_answer($large, chunked => 500, segment => 7), $large, $location);
    accepted("single-byte segments at $location", $as->jwt_answer($jwt, segment => 1), $jwt, $location);
    accepted("single-byte segments, chunked at $location", $as->jwt_answer($jwt, chunked => 1, segment => 1), $jwt,
        $location);
    accepted("single-byte segments, close-delimited at $location",
        $as->jwt_answer($jwt, segment => 1, close => 1), $jwt,
        $location);

    # Never cut.
    refused("truncated at $location", $as->jwt_answer($jwt, truncate => 1_000), 'server_\w+', $location);
    refused("truncated at the second dot at $location",
        $as->jwt_answer($jwt, truncate => rindex($jwt, '.') + 20), 'server_\w+', $location);
    refused("truncated, large, at $location", $as->jwt_answer($large, truncate => 19_999), 'server_\w+', $location);
    refused("truncated, chunked, at $location", $as->jwt_answer($jwt, chunked => 500, truncate => 1_200),
        'server_\w+', $location);
    refused("reset in the middle at $location", $as->jwt_answer($large, truncate => 10_000, reset => 1),
        'server_\w+', $location);
    refused("JSON, truncated, at $location", $as->json_answer(active(jwt => $jwt), truncate => 1_100),
        'server_\w+', $location);
    refused("headers of 10 kB at $location", $as->jwt_answer($jwt, headers => ['X-Pad' => 'x' x 10_000]),
        'server_\w+', $location);
}

# Too large.

my $exact = jwt(size => 2_048);

for my $location ('/limited', '/unbuffered_limited') {
    accepted("just small enough at $location", $as->jwt_answer($jwt), $jwt, $location);
    refused("too large, Content-Length, at $location", $as->jwt_answer($large), 'server_bad_answer', $location);
    refused("too large, chunked, at $location", $as->jwt_answer($large, chunked => 1), 'server_bad_answer',
        $location);
    refused("too large, close-delimited, at $location", $as->jwt_answer($large, close => 1), 'server_bad_answer',
        $location);
    refused("one byte too large at $location", $as->jwt_answer(jwt(size => 2_049)), 'server_bad_answer', $location);
    accepted("exactly as large at $location", $as->jwt_answer($exact), $exact, $location);
    refused("endless at $location", $as->jwt_answer('', endless => 1), 'server_bad_answer', $location);
}

refused('endless', $as->jwt_answer('', endless => 1), 'server_bad_answer', '/http_1_1');

# No JWT.

my ($header, $payload, $signature) = split /\./, $jwt;

my %no_jwt = (
    'HTML' => '<html></html>',
    'empty' => '',
    'one part' => 'abc',
    'two parts' => "$header.$payload",
    'four parts' => "$jwt.abc",
    'an empty signature' => "$header.$payload.",
    'an empty payload' => "$header..$signature",
    'padding' => "$header.$payload.$signature==",
    'a space' => "$header.$payload. $signature",
    'CR LF' => "$header.$payload.\r\nX-Injected: 1\r\n$signature",
    'CR' => "$header.$payload\r.$signature",
    'NUL' => "$header.$payload.$signature\0",
    'two of them' => "$jwt $jwt",
    'two lines' => "$jwt\n$jwt",
    'a header that is no JSON' => encode_base64url('{') . ".$payload.$signature",
    'a payload that is no object' => "$header." . encode_base64url('[]') . ".$signature",
    'alg none' => jwt(header => { alg => 'none' }),
    'a JSON string' => qq("$jwt"),
);

for my $name (sort keys %no_jwt) {
    refused("JWT: $name", $as->jwt_answer($no_jwt{$name}), 'server_bad_answer');
    refused("JSON: $name", $as->json_answer(active(jwt => $no_jwt{$name})), 'server_bad_answer');
}

# Content-Type decides.

refused('no type', { body => $jwt }, 'server_bad_answer');
refused('text/html', $as->jwt_answer($jwt, type => 'text/html'), 'server_bad_answer');
refused('text/plain', $as->jwt_answer($jwt, type => 'text/plain'), 'server_bad_answer');
refused('JSON called JWT', $as->json_answer(active(jwt => $jwt), type => 'application/jwt'), 'server_bad_answer');
refused('JWT called JSON', $as->jwt_answer($jwt, type => 'application/json'), 'server_bad_answer');
refused('a signed introspection response', $as->jwt_answer($jwt, type => 'application/token-introspection+jwt'),
    'server_bad_answer');
refused('gzip', $as->jwt_answer($jwt, gzip => 1), 'server_bad_answer');

# Flat introspection JWTs.

refused('flat, inactive', $as->jwt_answer(jwt(claims => { active => $false })), 'inactive');
refused('flat, active', $as->jwt_answer(jwt(claims => { active => $true })), 'server_bad_answer');
refused('typ token-introspection+jwt', $as->jwt_answer(jwt(header => { typ => 'token-introspection+jwt' })),
    'server_bad_answer');

# JSON.

accepted('JSON, jwt', $as->json_answer(active(jwt => $jwt)), $jwt);
accepted('JSON, charset', $as->json_answer(active(jwt => $jwt), type => 'application/json;charset=UTF-8'), $jwt);
accepted('JSON, phantom_token', $as->json_answer(active(phantom_token => $jwt)), $jwt);
accepted('JSON, token_string', $as->json_answer(active(token_string => $jwt)), $jwt);
accepted('JSON, the first of several', $as->json_answer(active(token_string => jwt(), jwt => $jwt)), $jwt);
accepted('JSON, white space', $as->json_answer(qq(\n{ "jwt" :\t"$jwt" , "active" : true }\n)), $jwt);
accepted('JSON, escapes', $as->json_answer('{"active":true,"jwt":"' . $jwt =~ s/^e/\\u0065/r . '"}'), $jwt);
accepted('JSON, token_type Bearer', $as->json_answer(active(jwt => $jwt, token_type => 'Bearer')), $jwt);
accepted('JSON, other members',
    $as->json_answer(active(jwt => $jwt, aud => ['a', 'b'], sub => undef, x => { y => [1, 2.5] })), $jwt);

accepted('JSON, a member of the operator', $as->json_answer(active(second => $jwt, jwt => jwt())), $jwt, '/members');
accepted('JSON, the first of the operator', $as->json_answer(active(second => jwt(), first => $jwt)), $jwt,
    '/members');
refused('JSON, only other members', $as->json_answer(active(jwt => $jwt)), 'server_bad_answer', '/members');

refused('JSON without a JWT', $as->json_answer(active(sub => 'alice')), 'server_bad_answer');
refused('JSON without active', $as->json_answer({ jwt => $jwt }), 'server_bad_answer');
refused('JSON, not an object', $as->json_answer('[true]'), 'server_bad_answer');
refused('JSON, broken', $as->json_answer(qq({"active":true,"jwt":"$jwt")), 'server_bad_answer');
refused('JSON, something behind it', $as->json_answer(qq({"active":true,"jwt":"$jwt"} x)), 'server_bad_answer');
refused('JSON, active twice', $as->json_answer(qq({"active":false,"active":true,"jwt":"$jwt"})),
    'server_bad_answer');
refused('JSON, exp is nonsense', $as->json_answer(active(jwt => $jwt, exp => 'soon')), 'server_bad_answer');
refused('JSON, nested deeply', $as->json_answer('{"active":true,"x":' . '[' x 10_000 . ']' x 10_000 . '}'),
    'server_bad_answer');
refused('JSON, inactive with a JWT', $as->json_answer({ active => $false, jwt => $jwt }), 'inactive');
refused("JSON, active is $_", $as->json_answer(qq({"active":$_,"jwt":"$jwt"})), 'inactive')
    for qw("true" 1 null 0 "" [true]);

# Sender constraints.

my $bound = jwt(claims => { cnf => { jkt => 'thumbprint' } });
refused('cnf in the JWT', $as->jwt_answer($bound), 'binding');
refused('cnf in JSON', $as->json_answer(active(jwt => $jwt, cnf => { 'x5t#S256' => 'thumbprint' })), 'binding');
refused('cnf in the JWT in JSON', $as->json_answer(active(jwt => $bound)), 'binding');
accepted('binding off', $as->jwt_answer($bound), $bound, '/binding_off');

$t->plan(3 * @cases + 5);
$t->run();

my %status = (inactive => 401, expired => 401, binding => 401);

for my $case (@cases) {
    my ($verdict, $name, $answer, $expected, $location) = @$case;

    my $token = token();
    my $before = $api->count();
    $as->script($token, $answer);
    my $response = call($location // '/', $token);

    if ($verdict eq 'accepted') {
        is($response->status(), 200, "$name: accepted");
        is($response->header('Slug'), undef, "$name: no slug");
        ok($api->authorization($response) eq "Bearer $expected", "$name: the JWT upstream");
    } else {
        is($response->status(), $status{$expected} // 502, "$name: refused");
        like($response->header('Slug') // '', qr/^$expected$/, "$name: slug");
        is($api->count(), $before, "$name: not upstream");
    }
}

# What is refused by one location's rule is a verdict all the same.

my $token = token();
$as->script($token, $as->jwt_answer($bound));
is(call('/binding_off', $token)->status(), 200, 'binding off');
is(call('/', $token)->status(), 401, 'binding optional, by the same verdict');
is(call('/', $token)->header('Slug'), 'binding', 'slug');
is($as->questions($token), 1, 'one question');

# A large JWT out of the cache.

$token = token();
$as->script($token, $as->jwt_answer($large));
call('/', $token);
is($api->authorization(call('/', $token)) eq "Bearer $large", 1, '20 kB, hit');
