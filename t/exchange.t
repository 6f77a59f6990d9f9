#!/usr/bin/perl

# `phantom_token_exchange`: a JWT by token exchange (RFC 8693). What the token endpoint is sent, what its answers
# mean, and how long they count.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use JSON::PP;
use MIME::Base64 qw(encode_base64 encode_base64url);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::JWT;

my $t = Test::Nginx->new()->has(qw(http proxy rewrite));

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_exchange /token;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }

        # What is sent.
        location /full {
            phantom_token_client_credential "gate way" "s3cr&t +%";
            phantom_token_exchange /token "audience=https://api.example/ä &=+" resource=urn:r "scope=read write";
            proxy_pass http://127.0.0.1:8082;
        }
        location /order {
            phantom_token_exchange /token scope=s audience=a;
            phantom_token_introspection_parameter zone z;
            phantom_token_introspection_parameter actor a;
            proxy_pass http://127.0.0.1:8082;
        }
        location /variables {
            phantom_token_exchange /token/$arg_tenant audience=$arg_audience "scope=x:$arg_scope"
                resource=$arg_resource;
            proxy_pass http://127.0.0.1:8082;
        }
        location /overridden {
            phantom_token_introspection_parameter requested_token_type urn:ietf:params:oauth:token-type:access_token;
            phantom_token_introspection_parameter subject_token_type urn:example:opaque;
            phantom_token_introspection_parameter audience second;
            phantom_token_exchange /token audience=first;
            proxy_pass http://127.0.0.1:8082;
        }
        location /accept { phantom_token_accept "*/*"; proxy_pass http://127.0.0.1:8082; }

        # Two audiences.
        location /orders { phantom_token_exchange /token audience=orders; proxy_pass http://127.0.0.1:8082; }
        location /payments { phantom_token_exchange /token audience=payments; proxy_pass http://127.0.0.1:8082; }

        # How long it counts.
        location /max_ttl { phantom_token_cache_max_ttl 1s; proxy_pass http://127.0.0.1:8082; }
        location /default_ttl { phantom_token_cache_default_ttl 5m; proxy_pass http://127.0.0.1:8082; }
        location /obey { phantom_token_cache_control obey; proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /binding_off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        location /negative { phantom_token_cache_negative_ttl 1s; proxy_pass http://127.0.0.1:8082; }

        # Where it goes.
        location /header { phantom_token_header X-Access-Token; proxy_pass http://127.0.0.1:8082; }
        location /cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
        location /redirected { error_page 502 = /redirect; proxy_pass http://127.0.0.1:8099; }
        location /redirect { proxy_pass http://127.0.0.1:8082; }

        # Introspection beneath a level that exchanges.
        location /introspected {
            phantom_token_introspection_endpoint /introspect;
            proxy_pass http://127.0.0.1:8082;
        }
        location /down { phantom_token_exchange /refusing; proxy_pass http://127.0.0.1:8082; }
        location = /barrier { phantom_token off; return 204; }

        location /token { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /refusing { internal; proxy_pass http://127.0.0.1:8099; }
    }

    server {
        listen 127.0.0.1:8084;

        phantom_token_introspection_endpoint /introspect;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /exchanged { phantom_token_exchange /token; proxy_pass http://127.0.0.1:8082; }

        location = /token { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->secrets('s3cr&t +%', encode_base64('gate+way:s3cr%26t+%2B%25', ''));

my $type = 'urn:ietf:params:oauth:token-type';
my $grant = 'urn:ietf:params:oauth:grant-type:token-exchange';

sub known {
    my (@answers) = @_;
    my $token = token();
    $as->script($token, @answers);
    return $token;
}

sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

sub signed {
    my $jwt = Test::PhantomToken::JWT::signed(@_);
    $t->secrets($jwt);
    return $jwt;
}

# What RFC 8693 section 2.2.2 has one error for.
sub described {
    my ($description) = @_;
    return $as->json_answer({ error => 'invalid_request', error_description => $description }, status => 400);
}

# Answers, and what becomes of them: accepted(name, answer, JWT), refused(name, answer, status and slug, log line).

my (@accepted, @refused);

sub accepted { push @accepted, [@_]; return }
sub refused { push @refused, [@_]; return }

my ($jwt, $jwt_without_exp) = (jwt(size => 1_200), jwt(claims => { exp => undef }));
my ($future, $past) = (time + 300, time - 1);

accepted('the plain case', $as->exchange_answer($jwt), $jwt);
accepted('charset', $as->exchange_answer($jwt, {}, type => 'application/json;charset=UTF-8'), $jwt);
accepted('chunked in segments', $as->exchange_answer($jwt, {}, chunked => 7, segment => 5), $jwt);
accepted('no issued_token_type', $as->exchange_answer($jwt, { issued_token_type => undef }), $jwt);
accepted('issued_token_type access_token', $as->exchange_answer($jwt, { issued_token_type => "$type:access_token" }),
    $jwt);
accepted('token_type N_A', $as->exchange_answer($jwt, { token_type => 'N_A' }), $jwt);
accepted('no token_type', $as->exchange_answer($jwt, { token_type => undef }), $jwt);
accepted('no expires_in', $as->exchange_answer($jwt, { expires_in => undef }), $jwt);
accepted("expires_in is $_", $as->json_answer(qq({"access_token":"$jwt","expires_in":$_})), $jwt)
    for 'null', '"300"', '300.5', '3e2', '18446744073709551616', '1e300', '99999999999';
accepted('a refresh token beside it', $as->exchange_answer($jwt, { refresh_token => 'x', scope => 'read' }), $jwt);
accepted('a member that is no JWT beside it', $as->exchange_answer($jwt, { jwt => 'x', active => JSON::PP::false }),
    $jwt);
accepted('escapes', $as->json_answer('{"access_token":"' . $jwt =~ s/^e/\\u0065/r . '"}'), $jwt);

# The client's token.

refused("400 $_", $as->oauth_error($_), '401 MISS inactive', qr/\[info\].*: inactive, /)
    for qw(invalid_grant invalid_request unsupported_token_type);
refused("400 invalid_request: $_", described($_), '401 MISS inactive', qr/\[info\].*: inactive, /)
    for 'invalid', 'subject_token is invalid', 'The subject token has expired';
refused('400 invalid_grant with a description',
    $as->oauth_error('invalid_grant', body => '{"error":"invalid_grant","error_description":"expired \u00fc"}'),
    '401 MISS inactive', qr/\[info\].*: inactive, /);
refused('400 invalid_grant, charset', $as->oauth_error('invalid_grant', type => 'application/json; charset=utf-8'),
    '401 MISS inactive', qr/\[info\].*: inactive, /);
refused('DPoP', $as->exchange_answer($jwt, { token_type => 'DPoP' }), '401 MISS binding', qr/\[info\].*: binding, /);
refused('dpop', $as->exchange_answer($jwt, { token_type => 'dpop' }), '401 MISS binding', qr/\[info\].*: binding, /);
my $bound = jwt(claims => { cnf => { 'x5t#S256' => 'x' } });
refused('cnf', $as->exchange_answer($bound), '401 MISS binding', qr/\[info\].*: binding, /);

# Our credentials, or what we ask for.

my $us = '502 MISS server_refused_us';
my $bad = '502 MISS server_bad_answer';

refused("400 $_", $as->oauth_error($_), $us, qr/answered 400.* client credentials: check phantom_token_client_cred/)
    for qw(invalid_client unauthorized_client);
refused("400 $_", $as->oauth_error($_), $us, qr/answered 400, it refuses this token exchange: check the audience/)
    for qw(invalid_target invalid_scope unsupported_grant_type invalid_dpop_proof INVALID_GRANT something);
refused("400 invalid_request: $_", described($_), $us,
    qr/\[error\].*server_refused_us, the server answered 400, it refuses this.*, it says "invalid_request" \(\Q$_\E\), location/)
    for 'unsupported requested_token_type', 'subject_token_type is not supported', 'unknown audience', 'invalid resource: https://api/';
refused('400 invalid_request that repeats what it was sent', described("token type of '$jwt' unsupported by \"s3cr&t +%\""), $us,
    qr/it says "invalid_request" \(token type of '\[\.\.\.\]' unsupported by '\[\.\.\.\] \+%'\), location/);
refused('400 invalid_target with a description of no end', $as->json_answer(
    { error => 'invalid_target', error_description => "no\r\n" x 1_000 }, status => 400), $us,
    qr/it says "invalid_target" \((?:no\?\?)+(?:n|no|no\?)?\.\.\.\), location/);
refused('400 without a body', { status => 400 }, $us, qr/answered 400, it refuses this token exchange/);
refused('400 with HTML', { status => 400, type => 'text/html', body => '<html>invalid_grant</html>' }, $us,
    qr/answered 400, it refuses this token exchange/);
refused('400 with invalid_grant in HTML', $as->oauth_error('invalid_grant', type => 'text/html'), $us,
    qr/answered 400, it refuses this token exchange/);
refused('400 with broken JSON', $as->oauth_error('', body => '{"error":"invalid_grant"'), $us,
    qr/answered 400, it refuses this token exchange/);
refused('400 with two errors', $as->oauth_error('', body => '{"error":"invalid_grant","error":"invalid_client"}'), $us,
    qr/answered 400, it refuses this token exchange/);
refused('400 with an error that is no text', $as->oauth_error('', body => '{"error":["invalid_grant"]}'), $us,
    qr/answered 400, it refuses this token exchange/);
refused('400 compressed', $as->oauth_error('invalid_grant', gzip => 1), $us, qr/answered 400/);
refused('401', $as->oauth_error('invalid_client', status => 401, headers => ['WWW-Authenticate' => 'Basic']), $us,
    qr/answered 401.*phantom_token_client_credential/);
refused('401 with invalid_grant', $as->oauth_error('invalid_grant', status => 401), $us, qr/answered 401/);
refused('403 with HTML', { status => 403, type => 'text/html', body => '<html></html>' }, $us, qr/answered 403/);
refused("$_", { status => $_ }, $us, qr/answered $_: check that the proxy_pass .* names its token endpoint/)
    for 404, 405, 410;

refused('500', { status => 500 }, '502 MISS server_unreachable', qr/answered 500/);
refused('503', { status => 503 }, '503 MISS server_busy', qr/answered 503/);
refused('429', { status => 429 }, '503 MISS server_busy', qr/answered 429/);
refused('302', { status => 302, headers => [Location => '/login'] }, $bad, qr/answered 302, and redirects/);
refused('204', { status => 204 }, $bad, qr/answered 204/);

# What is no access token in JWT form.

refused('HTML', { type => 'text/html', body => '<html></html>' }, $bad, qr/with text\/html/);
refused('a JWT as the body', $as->jwt_answer($jwt), $bad, qr/with application\/jwt/);
refused('an envelope as the body', $as->envelope_answer($jwt), $bad, qr/with application\/token-introspection\+jwt/);
refused('no type', { body => '{}' }, $bad, qr/no Content-Type/);
refused('empty', $as->json_answer(''), $bad, qr/nothing in it/);
refused('an array', $as->json_answer('[]'), $bad, qr/not an object/);
refused('compressed', $as->exchange_answer($jwt, {}, gzip => 1), $bad, qr/compressed/);
refused('no access_token', $as->exchange_answer(undef), $bad, qr/has no "access_token"/);
refused('the JWT in another member', $as->exchange_answer(undef, { jwt => $jwt, id_token => $jwt }), $bad,
    qr/has no "access_token"/);
refused("access_token is $_", $as->json_answer(qq({"access_token":$_,"token_type":"Bearer"})), $bad,
    qr/has no "access_token"/) for 'null', '""', '17', '{}', qq(["$jwt"]);
refused('an introspection answer', $as->json_answer({ active => JSON::PP::true, jwt => $jwt }), $bad,
    qr/has no "access_token"/);
refused('access_token twice', $as->json_answer(qq({"access_token":"$jwt","access_token":"$jwt"})), $bad,
    qr/has a member twice/);
refused('expires_in twice', $as->json_answer(qq({"access_token":"$jwt","expires_in":1,"expires_in":300})), $bad,
    qr/has a member twice/);
refused("expires_in is $_", $as->json_answer(qq({"access_token":"$jwt","expires_in":$_})), $bad,
    qr/"expires_in" in the server's answer is not a number of seconds/)
    for '"soon"', '""', '"-1"', '"1.5"', 'true', '[300]', '{}';
refused("issued_token_type $_", $as->exchange_answer($jwt, { issued_token_type => $_ }), $bad, qr/"issued_token_type"/)
    for "$type:refresh_token", "$type:id_token", "$type:saml2", 'jwt', '', 17;
refused('a refresh token, by its own word', $as->exchange_answer(jwt(claims => { typ => 'Refresh' })), $bad,
    qr/server_bad_answer/);
refused('an opaque access token', $as->exchange_answer(token()), $bad, qr/it is not a signed JWT/);
my $jwe = join '.', encode_base64url('{"alg":"RSA-OAEP","enc":"A256GCM"}'),
    map { encode_base64url(Test::PhantomToken::JWT::random_bytes($_)) } 256, 12, 300, 16;
$t->secrets($jwe);
refused('an encrypted JWT', $as->exchange_answer($jwe), $bad, qr/it is encrypted \(JWE\), which is not supported/);
refused('an unsecured JWT', $as->exchange_answer(jwt(header => { alg => 'none' })), $bad, qr/it is unsecured/);
refused('CR LF in the JWT', $as->exchange_answer("$jwt\r\nX-Injected: 1"), $bad, qr/it is not a signed JWT/);
refused('an envelope', $as->exchange_answer(Test::PhantomToken::JWT::envelope({ active => JSON::PP::true })), $bad,
    qr/server_bad_answer/);
refused('a flat introspection JWT', $as->exchange_answer(jwt(claims => { active => JSON::PP::true })), $bad,
    qr/server_bad_answer/);
refused('an inactive introspection JWT', $as->exchange_answer(jwt(claims => { active => JSON::PP::false })), $bad,
    qr/server_bad_answer/);
refused('a DPoP proof', $as->exchange_answer(jwt(header => { typ => 'dpop+jwt' })), $bad, qr/its "typ" is that of/);
refused('exp is nonsense', $as->exchange_answer(jwt(claims => { exp => 'soon' })), $bad, qr/"exp" is not a number/);
refused('a JWT that is over', $as->exchange_answer(jwt(claims => { exp => $past })), $bad,
    qr/just issued is past its "exp" or "expires_in" already/);
refused("expires_in is $_", $as->exchange_answer($jwt, { expires_in => $_ }), $bad, qr/past its "exp" or "expires_in" already/)
    for 0, -1;

$t->plan(3 * @accepted + 5 * @refused + 94);
$t->run();

for my $case (@accepted) {
    my ($name, $answer, $expected) = @$case;
    my $token = known($answer);
    my $response = call('/', $token);
    is(outcome($response), '200 MISS', "$name: accepted");
    is($api->authorization($response), "Bearer $expected", "$name: the JWT upstream");
    unlike($api->last_request()->{head}, qr/\Q$token/, "$name: not the token");
}

# What is said of the client's token is kept; what is said of us, or makes no sense, is not.
my %is_verdict = map { $_ => 1 } qw(inactive binding);

for my $case (@refused) {
    my ($name, $answer, $expected, $text) = @$case;
    my $token = known($answer);
    my $before = $api->count();
    my ($slug) = $expected =~ /(\w+)$/;
    $t->new_module_lines();

    my $response = call('/', $token);
    is(outcome($response), $expected, "$name: refused");
    is($api->count(), $before, "$name: not upstream");
    is($response->header('WWW-Authenticate'),
        $is_verdict{$slug} ? 'Bearer realm="api", error="invalid_token"' : undef, "$name: challenge");
    my @lines = grep { !/\[debug\]/ } $t->new_module_lines();
    ok(@lines == 1 && $lines[0] =~ $text, "$name: the log") or diag(@lines);

    call('/', $token);
    is($as->questions($token), $is_verdict{$slug} ? 1 : 2, "$name: " .
        ($is_verdict{$slug} ? 'known' : 'asked again'));
}

# What is sent.

# Fields of the last request to the server about a token, as they are on the wire; names in order.
sub body { return $as->last_request($_[0])->{body} }
sub field_names { return join ' ', map { $_->[0] } $as->form(body($_[0])) }
sub field {
    my ($token, $name) = @_;
    return join ',', map { $_->[1] } grep { $_->[0] eq $name } $as->form(body($token));
}

my $token = known($as->exchange_answer($jwt));
my $colon = '%3A';
call('/', $token);
my $request = $as->last_request($token);
is($request->{method} . ' ' . $request->{uri}, 'POST /token', 'method and path');
is($as->header($request, 'Content-Type'), 'application/x-www-form-urlencoded', 'Content-Type');
is($as->header($request, 'Accept'), 'application/json', 'Accept');
is($as->header($request, 'Authorization'), undef, 'no credentials configured');
is(body($token) =~ s/\Q$token/TOKEN/r, 'grant_type=' . $grant =~ s/:/$colon/gr . '&subject_token=TOKEN'
    . '&subject_token_type=' . "$type:access_token" =~ s/:/$colon/gr
    . '&requested_token_type=' . "$type:jwt" =~ s/:/$colon/gr, 'the whole form, encoded');

$token = known($as->exchange_answer($jwt));
is(outcome(call('/full', $token)), '200 MISS', 'all parameters');
is(field_names($token), 'grant_type subject_token subject_token_type requested_token_type audience resource scope',
    'all parameters: the order');
is(field($token, 'audience'), "https://api.example/\xc3\xa4 &=+", 'all parameters: audience');
like(body($token), qr/&audience=https%3A%2F%2Fapi\.example%2F%C3%A4(?:\+|%20)%26%3D%2B&resource=urn%3Ar&/,
    'all parameters: encoded');
is(field($token, 'scope'), 'read write', 'all parameters: scope');
is($as->header($as->last_request($token), 'Authorization'),
    'Basic ' . encode_base64('gate+way:s3cr%26t+%2B%25', ''), 'all parameters: credentials, form-encoded');
unlike($as->last_request($token)->{head}, qr/\Q$token/, 'the token is in no header of the question');

my $odd = 'a-b.c_d~e+f/g' . token() . '==';
$t->secrets($odd);
$as->script($odd, $as->exchange_answer($jwt));
is(outcome(call('/', $odd)), '200 MISS', 'every character of a token');
like(body($odd), qr/&subject_token=a-b\.c_d(?:~|%7E)e%2Bf%2Fg[\w-]+%3D%3D&/, 'every character of a token: encoded');

$token = known($as->exchange_answer($jwt));
call('/order', $token);
is(field_names($token), 'grant_type subject_token subject_token_type requested_token_type audience scope zone actor',
    'the order is not that of the configuration, but for further fields');

$token = known($as->exchange_answer($jwt));
is(outcome(call('/variables?tenant=one&audience=a%26b&scope=s', $token)), '200 MISS', 'variables');
is($as->last_request($token)->{uri}, '/token/one', 'variables: in the URI');
is(field($token, 'audience') . ' ' . field($token, 'scope'), 'a%26b x:s', 'variables: values');
is(field_names($token), 'grant_type subject_token subject_token_type requested_token_type audience scope',
    'variables: what is empty is not sent');
is(outcome(call('/variables?tenant=one&audience=a%26b&scope=s', $token)), '200 HIT', 'variables: the same again');

for my $args ('tenant=two&audience=a%26b&scope=s', 'tenant=one&audience=b&scope=s', 'tenant=one&audience=a%26b',
    'tenant=one&audience=a%26b&scope=s&resource=r', 'tenant=one&resource=a%26b&scope=s') {
    is(outcome(call("/variables?$args", $token)), '200 MISS', "variables: $args is another verdict");
}

$token = known($as->exchange_answer($jwt, { issued_token_type => "$type:access_token" }));
is(outcome(call('/overridden', $token)), '200 MISS', 'overridden');
is(field($token, 'requested_token_type'), "$type:access_token", 'overridden: requested_token_type, once');
is(field($token, 'subject_token_type'), 'urn:example:opaque', 'overridden: subject_token_type, once');
is(field($token, 'audience'), 'first,second', 'a further audience');

$token = known($as->exchange_answer($jwt));
call('/accept', $token);
is($as->header($as->last_request($token), 'Accept'), '*/*', 'another Accept');

call('/', $token, headers => [
    Cookie => 'a=b', 'X-Other' => 'x', 'Content-Encoding' => 'gzip', 'If-None-Match' => 'x', Range => 'bytes=0-1',
], method => 'POST', body => 'body of the client');
$request = $as->last_request($token);
unlike($request->{head}, qr/cookie|x-other|content-encoding|if-none|range/i, 'no header of the client');
unlike($request->{body}, qr/body of the client/, 'no body of the client');

# Two audiences, two JWTs for one token.

$token = token();
my ($orders, $payments) = (jwt(claims => { aud => 'orders' }), jwt(claims => { aud => 'payments' }));
$as->script($token, $as->exchange_answer($orders), $as->exchange_answer($payments));

for my $status (qw(MISS HIT)) {
    my $response = call('/orders', $token);
    is(outcome($response), "200 $status", "orders, $status");
    is($api->authorization($response), "Bearer $orders", "orders, $status: its JWT");
    $response = call('/payments', $token);
    is(outcome($response), "200 $status", "payments, $status");
    is($api->authorization($response), "Bearer $payments", "payments, $status: its JWT");
}

is(join(' ', map { { map { @$_ } $as->form($_->{body}) }->{audience} } $as->requests($token)), 'orders payments',
    'each was asked for');

# How long it counts. Cache-Control of a token endpoint is always no-store, and not about this.

for my $uri ('/', '/obey') {
    $token = known($as->exchange_answer($jwt));
    is(outcome(call($uri, $token)), "200 $_", "$uri, no-store, $_") for qw(MISS HIT);
}

$token = known($as->exchange_answer($jwt, {}, headers => ['Cache-Control' => 'max-age=0, no-store']));
is(outcome(call('/obey', $token)), "200 $_", "max-age=0, $_") for qw(MISS HIT);

sub asked_again { return $_[0]->header('Cache-Status') ne 'HIT' }

# The earlier one of expires_in and exp ends it. Then it is exchanged again: the token may live on.
for my $case (
    ['expires_in', sub { $as->exchange_answer($jwt, { expires_in => 3 }) }],
    ['expires_in, without exp', sub { $as->exchange_answer($jwt_without_exp, { expires_in => 3 }) }],
    ['exp', sub { $as->exchange_answer(jwt(claims => { exp => time + 3 })) }],
    ['exp, without expires_in',
        sub { $as->exchange_answer(jwt(claims => { exp => time + 3 }), { expires_in => undef }) }],
) {
    my ($name, $answer) = @$case;
    my $next = jwt();
    $token = known($answer->(), $as->exchange_answer($next));
    is(outcome(call('/', $token)), '200 MISS', $name);
    my $response = call_until(\&asked_again, '/', $token);
    is(outcome($response), '200 MISS', "$name: exchanged again, and no 401");
    is($api->authorization($response), "Bearer $next", "$name: the next JWT");
    is($as->questions($token), 2, "$name: two questions");
}

$token = known($as->exchange_answer($jwt), $as->oauth_error('invalid_grant'));
is(outcome(call('/max_ttl', $token)), '200 MISS', 'max_ttl');
is(outcome(call_until(\&asked_again, '/max_ttl', $token)), '401 MISS inactive', 'max_ttl: then the token is dead');
is(outcome(call('/', $token)), '401 NEGATIVE inactive', 'max_ttl: known everywhere');

$token = known($as->oauth_error('invalid_grant'), $as->exchange_answer($jwt));
is(outcome(call('/negative', $token)), '401 MISS inactive', 'negative_ttl');
is(outcome(call_until(sub { $_[0]->header('Cache-Status') ne 'NEGATIVE' }, '/negative', $token)), '200 MISS',
    'negative_ttl: then asked again');

my $timeless = $as->exchange_answer($jwt_without_exp, { expires_in => undef });
$token = known($timeless);
is(outcome(call('/', $token)), '200 MISS', "neither exp nor expires_in, $_") for 1 .. 2;
$token = known($timeless);
is(outcome(call('/default_ttl', $token)), "200 $_", "default_ttl, $_") for qw(MISS HIT);

$token = known($as->exchange_answer($jwt));
is(outcome(call('/uncached', $token)), '200 BYPASS', 'uncached') for 1 .. 2;

# Binding is a rule of the location.

$token = known($as->exchange_answer($bound));
is(outcome(call('/binding_off', $token)), '200 MISS', 'binding off');
is(outcome(call('/', $token)), '401 HIT binding', 'binding on, by the same verdict');

# Where it goes.

$token = known($as->exchange_answer($jwt));
call('/header', $token, headers => ['X-Access-Token' => 'forged']);
is($api->header($api->last_request(), 'X-Access-Token'), $jwt, 'phantom_token_header');
is($api->header($api->last_request(), 'Authorization'), undef, 'phantom_token_header: no Authorization');
call('/cookie', 'forged', headers => [Cookie => "a=b; session=$token"]);
is($api->authorization(), "Bearer $jwt", 'from a cookie');
is($api->header($api->last_request(), 'Cookie'), 'a=b', 'from a cookie, which is removed');
is($api->authorization(call('/redirected', $token)), "Bearer $jwt", 'redirected');
is($as->questions($token), 1, 'all by one exchange');

# Those who wait share it.

$token = known($as->exchange_answer($jwt, {}, hold => 1));
my @waiting = map {
    my $connection = http_connection()->request('GET', "/waiter_$_", headers => [Authorization => "Bearer $token"]);
    $as->wait_for_question($token, 1);
    $connection;
} 1 .. 3;
http_request('GET', '/barrier') for 1 .. 2;
$as->release($token);
is(join(' ', map { $_->response()->header('Cache-Status') } @waiting), 'MISS WAIT WAIT', 'waiting');
is(scalar(grep { $api->header($api->last_request("/waiter_$_"), 'Authorization') eq "Bearer $jwt" } 1 .. 3), 3,
    'waiting: the JWT for all');
is($as->questions($token), 1, 'waiting: one exchange');
$_->close() for @waiting;

# Beside introspection.

is(outcome(call('/down', token())), '502 MISS server_unreachable', 'refused connection');

my $introspected = jwt();
$token = known($as->exchange_answer($jwt), $as->jwt_answer($introspected));
is($api->authorization(call('/', $token)), "Bearer $jwt", 'exchanged');
is($api->authorization(call('/introspected', $token)), "Bearer $introspected", 'introspected beneath');
is(field_names($token), 'token', 'introspected beneath: the form');
is($as->header($as->last_request($token), 'Accept'), 'application/jwt', 'introspected beneath: Accept');
is($api->authorization(call('/', $token)), "Bearer $jwt", 'and neither took the other\'s place');

$token = known($as->exchange_answer($jwt));
is($api->authorization(call('/exchanged', $token, port => 8084)), "Bearer $jwt", 'exchanged beneath introspection');
is(field($token, 'grant_type'), $grant, 'exchanged beneath introspection: the form');
is($as->header($as->last_request($token), 'Accept'), 'application/json', 'exchanged beneath introspection: Accept');
