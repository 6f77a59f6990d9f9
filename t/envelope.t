#!/usr/bin/perl

# Signed introspection answers (RFC 9701): refused where nobody verifies them, unless the operator says otherwise;
# then all is checked but the signature. The header that carries them upstream is the gateway's alone.

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

my $t = Test::Nginx->new()->has(qw(http proxy rewrite map access auth_basic mirror));

$t->write_file('htpasswd', "alice:{PLAIN}wonderland\n");
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    underscores_in_headers on;
    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_accept application/token-introspection+jwt;
    phantom_token_forward claims;
    phantom_token_envelope unverified;
    proxy_set_header X-Subject $phantom_token_claim_sub;
    proxy_set_header X-Issuer $phantom_token_claim_iss;
    proxy_set_header X-JWT $phantom_token_jwt;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    map $http_x_envelope $early { volatile; default "<$http_x_envelope>"; }

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /verified { phantom_token_envelope verified; proxy_pass http://127.0.0.1:8082; }
        location /jwt { phantom_token_forward jwt; proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /binding_off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }

        location /header {
            phantom_token_envelope_header X-Envelope;
            proxy_pass http://127.0.0.1:8082;
        }
        location /underscore {
            phantom_token_envelope_header X_Envelope;
            proxy_pass http://127.0.0.1:8082;
        }
        location /other_header {
            phantom_token_envelope_header X-Introspection;
            phantom_token_header X-Access-Token;
            proxy_pass http://127.0.0.1:8082;
        }
        location /header_jwt {
            phantom_token_forward jwt;
            phantom_token_envelope_header X-Envelope;
            proxy_pass http://127.0.0.1:8082;
        }
        location /early {
            phantom_token_envelope_header X-Envelope;
            set $before $early;
            if ($http_x_envelope = never) { return 418; }
            proxy_set_header X-Before $before;
            proxy_set_header X-After $early;
            proxy_set_header X-Seen $http_x_envelope;
            proxy_pass http://127.0.0.1:8082;
        }

        location /any/allow {
            satisfy any;
            allow all;
            phantom_token_envelope_header X-Envelope;
            proxy_pass http://127.0.0.1:8082;
        }
        location /any/basic {
            satisfy any;
            auth_basic "basic";
            auth_basic_user_file htpasswd;
            phantom_token_envelope_header X-Envelope;
            proxy_pass http://127.0.0.1:8082;
        }
        location /page {
            phantom_token_envelope_header X-Envelope;
            error_page 401 502 = @page;
            proxy_pass http://127.0.0.1:8082;
        }
        location @page { phantom_token off; proxy_pass http://127.0.0.1:8082; }
        location /off_to_on { phantom_token off; try_files /nothing /header; }
        location /off { phantom_token off; proxy_pass http://127.0.0.1:8082; }
        location /between {
            phantom_token_envelope_header X-Envelope;
            error_page 502 = /other_header;
            proxy_pass http://127.0.0.1:8099;
        }
        location /away {
            phantom_token_envelope_header X-Envelope;
            error_page 502 = /without;
            proxy_pass http://127.0.0.1:8099;
        }
        location /without { proxy_pass http://127.0.0.1:8082; }
        location /mirrored {
            phantom_token_envelope_header X-Envelope;
            mirror /mirror;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /mirror {
            internal;
            phantom_token_envelope_header X-Envelope;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my ($future, $past) = (time + 300, time - 1);

sub envelope {
    my $envelope = Test::PhantomToken::JWT::envelope(@_);
    $t->secrets($envelope);
    return $envelope;
}

sub signed {
    my $jwt = Test::PhantomToken::JWT::signed(@_);
    $t->secrets($jwt);
    return $jwt;
}

sub active { return { active => $true, sub => 'alice', exp => $future, @_ } }

sub known {
    my ($answer) = @_;
    my $token = token();
    $as->script($token, $answer);
    return $token;
}

# A token with that envelope.
sub enveloped { return known($as->envelope_answer(@_)) }

# A header of the last request that went upstream.
sub upstream {
    my ($name) = @_;
    return scalar $api->header($api->last_request(), $name);
}

sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

my (@accepted, @refused);

# accepted(name, answer), refused(name, answer, slug, text of the log line)
sub accepted { push @accepted, [@_]; return }
sub refused { push @refused, [@_]; return }

my $outside = qr/lacks "iss", "aud", "iat" or the object "token_introspection"/;

# What the envelope must have (RFC 9701 section 5).

accepted('the plain case', $as->envelope_answer(envelope(active())));
accepted('charset', $as->envelope_answer(envelope(active()),
    type => 'application/token-introspection+jwt; charset=utf-8'));
accepted('Content-Type in upper case', $as->envelope_answer(envelope(active()),
    type => 'APPLICATION/Token-Introspection+JWT'));
accepted('a newline behind it', $as->envelope_answer(envelope(active()) . "\n"));
accepted('chunked in segments', $as->envelope_answer(envelope(active()), chunked => 7, segment => 5));

accepted("typ $_", $as->envelope_answer(envelope(active(), header => { typ => $_ })))
    for qw(token-introspection+jwt Token-Introspection+JWT application/token-introspection+jwt
        APPLICATION/TOKEN-INTROSPECTION+JWT);
# Not every server sets its own (Janssen does not): the Content-Type says what it is.
accepted('no typ', $as->envelope_answer(envelope(active(), header => { typ => undef })));
accepted('typ of any JWT', $as->envelope_answer(envelope(active(), header => { typ => 'JWT' })));
accepted("alg $_", $as->envelope_answer(envelope(active(), header => { alg => $_, kid => 'x' })))
    for qw(RS256 PS256 ES256 EdDSA);
accepted('aud is an array', $as->envelope_answer(envelope(active(), claims => { aud => ['a', 'gateway'] })));
accepted('iat is a fraction', $as->envelope_answer(envelope(active(), claims => { iat => 1.5 + time })));
accepted('other claims', $as->envelope_answer(envelope(active(), claims => { jti => 'x', sub => 'mallory' })));

refused("typ $_", $as->envelope_answer(envelope(active(), header => { typ => $_ })), 'server_bad_answer',
    qr/its "typ" is not token-introspection\+jwt/)
    for 'at+jwt', 'application/at+jwt', 'logout+jwt', 'secevent+jwt', 'dpop+jwt', '', 'token-introspection',
        'text/token-introspection+jwt', 'application/application/token-introspection+jwt';
refused('typ is a number', $as->envelope_answer(envelope(active(), header => { typ => 1 })), 'server_bad_answer',
    qr/its header is not/);
refused("no $_", $as->envelope_answer(envelope(active(), claims => { $_ => undef })), 'server_bad_answer', $outside)
    for qw(iss aud iat);
refused('no token_introspection', $as->envelope_answer(jwt(header => { typ => 'token-introspection+jwt' })),
    'server_bad_answer', $outside);

for my $case (
    [iss => ''], [iss => 17], [iss => ['https://as.example']], [iss => {}], [iss => $true],
    [aud => 17], [aud => {}], [aud => $true], [aud => ''], [aud => []], [aud => [17]],
    [iat => 'now'], [iat => '' . time], [iat => []], [iat => $true], [iat => -1],
) {
    my ($name, $value) = @$case;
    my $shown = JSON::PP->new->allow_nonref->encode($value);
    refused("$name is $shown", $as->envelope_answer(envelope(active(), claims => { $name => $value })),
        'server_bad_answer', $outside);
}

refused("token_introspection is $_", $as->envelope_answer(envelope($_)), 'server_bad_answer', $outside)
    for 'null', 'true', '"active"', '[{"active":true}]', '17';
refused('token_introspection twice', $as->envelope_answer(envelope('{"active":true},"token_introspection":{}')),
    'server_bad_answer', $outside);
refused('token_introspection twice, escaped',
    $as->envelope_answer(envelope('{"active":true},"token_introspectio\u006e":{"active":false}')),
    'server_bad_answer', $outside);
refused('iss twice', $as->envelope_answer(envelope('{"active":true},"iss":"https://other.example"')),
    'server_bad_answer', $outside);

refused("alg $_", $as->envelope_answer(envelope(active(), header => { alg => $_ })), 'server_bad_answer',
    qr/it is unsecured/) for qw(none None NONE);
refused('no alg', $as->envelope_answer(envelope(active(), header => { alg => undef })), 'server_bad_answer',
    qr/its header is not/);
refused('no signature', $as->envelope_answer(envelope(active()) =~ s/[^.]+$//r), 'server_bad_answer',
    qr/it is not a signed JWT/);
my $jwe = join '.', encode_base64url('{"alg":"RSA-OAEP","enc":"A256GCM","typ":"token-introspection+jwt"}'),
    map { encode_base64url(Test::PhantomToken::JWT::random_bytes($_)) } 256, 12, 300, 16;
$t->secrets($jwe);
refused('JWE', $as->envelope_answer($jwe), 'server_bad_answer', qr/it is encrypted \(JWE\), which is not supported/);
refused('JWE without a key', $as->envelope_answer($jwe =~ s/^([^.]+)\.[^.]+/$1./r), 'server_bad_answer',
    qr/it is encrypted \(JWE\), which is not supported/);

# What is inside of it.

accepted('times from inside', $as->envelope_answer(envelope(active(),
    claims => { exp => $past, nbf => $future, iat => $past })));
accepted('no exp inside', $as->envelope_answer(envelope(active(exp => undef), claims => { exp => $past })));
accepted('cnf outside', $as->envelope_answer(envelope(active(), claims => { cnf => { jkt => 'x' } })));
accepted('token_type Bearer', $as->envelope_answer(envelope(active(token_type => 'Bearer'))));

refused('inactive', $as->envelope_answer(envelope({ active => $false })), 'inactive');
refused('inactive, with an exp', $as->envelope_answer(envelope(active(active => $false))), 'inactive');
refused("active is $_", $as->envelope_answer(envelope(qq({"active":$_,"sub":"alice"}))), 'inactive')
    for qw("true" 1 null {} [true]);
refused('active outside alone', $as->envelope_answer(envelope({ sub => 'alice' }, claims => { active => $true })),
    'server_bad_answer', qr/has no "active"/);
refused('inactive inside, active outside',
    $as->envelope_answer(envelope({ active => $false }, claims => { active => $true })), 'inactive');
refused('empty inside', $as->envelope_answer(envelope({})), 'server_bad_answer', qr/has no "active"/);
refused('active twice', $as->envelope_answer(envelope('{"active":true,"active":true}')), 'server_bad_answer',
    qr/has a member twice/);
refused('expired', $as->envelope_answer(envelope(active(exp => $past), claims => { exp => $future })), 'expired');
refused('exp is nonsense', $as->envelope_answer(envelope(active(exp => 'soon'))), 'server_bad_answer',
    qr/"exp" in the server's answer is not a number/);
refused('refresh token', $as->envelope_answer(envelope(active(token_type => 'refresh_token'))), 'inactive');
refused('refresh token, by typ', $as->envelope_answer(envelope(active(typ => 'Refresh'))), 'inactive');
refused('bound to a key', $as->envelope_answer(envelope(active(cnf => { jkt => 'x' }))), 'binding');
refused('bound to a certificate', $as->envelope_answer(envelope(active(cnf => { 'x5t#S256' => 'x' }))), 'binding');

# The Content-Type decides.

refused("an envelope called $_", $as->envelope_answer(envelope(active()), type => $_), 'server_bad_answer')
    for 'application/jwt', 'application/json', 'text/plain', 'application/token-introspection', 'application/at+jwt';
refused('an envelope without typ called application/jwt',
    $as->envelope_answer(envelope(active(), header => { typ => undef }), type => 'application/jwt'),
    'server_bad_answer');
refused('an access token called an envelope', $as->jwt_answer(jwt(), type => 'application/token-introspection+jwt'),
    'server_bad_answer', qr/its "typ" is not/);
refused('a flat JWT called an envelope', $as->jwt_answer(
    signed({ alg => 'RS256' }, { active => $true, exp => $future }), type => 'application/token-introspection+jwt'),
    'server_bad_answer', $outside);
refused('JSON called an envelope', $as->json_answer(active(), type => 'application/token-introspection+jwt'),
    'server_bad_answer', qr/it is not a signed JWT/);
refused('an empty envelope', $as->envelope_answer(''), 'server_bad_answer', qr/200 with nothing in it/);
refused('compressed', $as->envelope_answer(envelope(active()), gzip => 1), 'server_bad_answer', qr/compressed/);
accepted('JSON instead of an envelope', $as->json_answer(active()));

$t->plan(4 * @accepted + 3 * @refused + 87);
$t->run();

for my $case (@accepted) {
    my ($name, $answer) = @$case;
    is(outcome(call('/', known($answer))), '200 MISS', "$name: accepted");
    is(upstream('X-Subject'), 'alice', "$name: the claims are from inside");
    is(upstream('Authorization'), undef, "$name: no Authorization upstream");
    is(upstream('X-JWT'), undef, "$name: no JWT");
}

my %status = (inactive => 401, expired => 401, binding => 401);

for my $case (@refused) {
    my ($name, $answer, $slug, $text) = @$case;
    my $before = $api->count();
    $t->new_module_lines();
    is(outcome(call('/', known($answer))), ($status{$slug} // 502) . " MISS $slug", "$name: refused");
    is($api->count(), $before, "$name: not upstream");
    my @lines = grep { !/\[debug\]/ } $t->new_module_lines();
    my $level = $status{$slug} ? 'info' : 'error';
    $text //= qr//;
    ok(@lines == 1 && $lines[0] =~ /\[$level\].* phantom_token: $slug, .*$text/, "$name: the log") or diag(@lines);
}

# The question.

my $token = enveloped(envelope(active()));
call('/', $token);
is($as->header($as->last_request($token), 'Accept'), 'application/token-introspection+jwt', 'Accept');

# Verified, without keys: refused, whatever is in it; never cached, and not by the verdict of another location.

is(outcome(call('/', $token)), '200 HIT', 'unverified: a hit');
is(upstream('X-Subject'), 'alice', 'unverified: the claims on a hit');
is(upstream('X-Issuer'), undef, 'unverified: those of the envelope itself are no claims of the token');

for my $kind ('active', 'inactive') {
    my $refused = enveloped(envelope($kind eq 'active' ? active() : { active => $false }));

    for my $round (1, 2) {
        $t->new_module_lines();
        my $response = call('/verified', $refused);
        is(outcome($response), '502 MISS server_bad_answer', "verified, $kind, $round: refused");
        is($response->header('WWW-Authenticate'), undef, "verified, $kind, $round: no challenge");
        my @lines = grep { /"phantom_token_envelope unverified"/ } $t->new_module_lines();
        is(scalar(@lines), 1, "verified, $kind, $round: the log names the directive");
    }

    is($as->questions($refused), 2, "verified, $kind: asked each time");
}

is(outcome(call('/verified', $token)), '502 MISS server_bad_answer', 'verified: not by an unverified verdict');
$token = known($as->json_answer(active()));
is(outcome(call('/verified', $token)), '200 MISS', 'verified: JSON is no envelope');

# Forward jwt: an envelope is no access token.

$token = enveloped(envelope(active()));
$t->new_module_lines();
is(outcome(call('/jwt', $token)), '502 MISS server_bad_answer', 'forward jwt: refused');
is(scalar(grep { /"phantom_token_forward claims"/ } $t->new_module_lines()), 1, 'forward jwt: what to do');
is(outcome(call('/', $token)), '200 MISS', 'forward claims: accepted');
is(outcome(call('/jwt', $token)), '502 MISS server_bad_answer', 'forward jwt: not by the verdict of another location');

# The cache.

$token = enveloped(envelope({ active => $false }));
is(outcome(call('/', $token)), '401 MISS inactive', 'inactive');
is(outcome(call('/', $token)), '401 NEGATIVE inactive', 'inactive: known');
is($as->questions($token), 1, 'inactive: one question');
$token = enveloped(envelope(active(exp => undef), claims => { exp => $future }));
is(outcome(call('/', $token)), '200 MISS', 'no exp inside');
is(outcome(call('/', $token)), '200 MISS', 'no exp inside: the exp of the envelope is no time to live');
$token = enveloped(envelope(active(exp => time + 3)));
is(outcome(call('/', $token)), '200 MISS', 'about to expire');
is(outcome(call_until(sub { $_[0]->status() != 200 }, '/', $token)), '401 EXPIRED expired', 'expired, by the inside');
is($as->questions($token), 1, 'expired: not asked again');

$token = enveloped(envelope(active(cnf => { jkt => 'x' })));
is(outcome(call('/binding_off', $token)), '200 MISS', 'binding off');
is(outcome(call('/', $token)), '401 HIT binding', 'binding on, by the same verdict');

$token = enveloped(envelope(active()));
is(outcome(call('/uncached', $token)), '200 BYPASS', 'uncached') for 1 .. 2;

# The header.

my $envelope = envelope(active());
$token = enveloped($envelope);

for my $state (qw(MISS HIT)) {
    is(outcome(call('/header', $token)), "200 $state", "header, $state");
    is(upstream('X-Envelope'), $envelope, "header, $state: the bare envelope");
    is(upstream('Authorization'), undef, "header, $state: no Authorization");
    is(upstream('X-Subject'), 'alice', "header, $state: and the claims");
}

call('/', $token);
unlike($api->last_request()->{head}, qr/\Q$envelope/, 'no header: no envelope upstream');

for my $uri ('/header', '/underscore') {
    my $name = $uri eq '/header' ? 'X-Envelope' : 'X_Envelope';
    call($uri, $token, headers => [map { $_ => 'forged' } qw(X-Envelope x-envelope X_Envelope x_envelope X-ENVELOPE)]);
    is(upstream($name), $envelope, "$uri: the client's own are gone");
    unlike($api->last_request()->{head}, qr/forged/, "$uri: in each spelling");
}

call('/early', $token, headers => ['X-Envelope' => 'forged']);
is(upstream('X-Before'), '<forged>', 'evaluated before: what the client sent');
is(upstream('X-Seen') eq $envelope && upstream('X-After') eq "<$envelope>", 1, 'evaluated afterwards: the envelope');

call('/other_header', $token, headers => ['X-Introspection' => 'forged', 'X-Access-Token' => 'forged']);
is(upstream('X-Introspection'), $envelope, 'beside phantom_token_header');
is(upstream('X-Access-Token'), undef, 'beside phantom_token_header, which carries nothing');

for my $case (
    ['JSON', '/header', $as->json_answer(active())],
    ['a flat JWT', '/header', $as->jwt_answer(jwt(claims => { active => $true, exp => $future }))],
    ['an access token', '/header_jwt', $as->jwt_answer(jwt())],
) {
    my ($name, $uri, $answer) = @$case;
    my $other = known($answer);

    for my $state (qw(MISS HIT)) {
        is(outcome(call($uri, $other, headers => ['X-Envelope' => 'forged', 'X_Envelope' => 'forged'])), "200 $state",
            "$name, $state");
        unlike($api->last_request()->{head}, qr/envelope|forged/i, "$name, $state: no envelope header upstream");
    }
}

# No verdict: what the client sent under that name goes nowhere.

my @forged = (headers => ['X-Envelope' => 'forged', 'X_envelope' => 'forged']);
my $alice = 'Basic ' . encode_base64('alice:wonderland', '');

is(outcome(call('/any/allow', $token, @forged)), '200', 'satisfy any');
unlike($api->last_request()->{head}, qr/forged|\Q$token/, 'satisfy any: nothing forged');
is(outcome(call('/any/basic', undef, headers => [Authorization => $alice, @{ $forged[1] }])), '200',
    'satisfy any, password');
unlike($api->last_request()->{head}, qr/forged/, 'satisfy any, password: nothing forged');
is(outcome(call('/any/basic', $token, @forged)), '200 HIT', 'satisfy any, token');
is(upstream('X-Envelope'), $envelope, 'satisfy any, token: the envelope');

for my $case (
    ['inactive', enveloped(envelope({ active => $false }))], ['no token', undef], ['not an envelope', enveloped('x')],
) {
    my ($name, $refused) = @$case;
    is(call('/page', $refused, @forged)->status(), 200, "page, $name");
    unlike($api->last_request()->{head}, qr/forged|authorization/i, "page, $name: nothing forged");
}

# Redirects.

is(call('/off_to_on', $token, @forged)->status(), 200, 'from off to on');
is(upstream('X-Envelope'), $envelope, 'from off to on: the envelope');
unlike($api->last_request()->{head}, qr/forged/, 'from off to on: nothing forged');
is(call('/between', $token, headers => ['X-Introspection' => 'forged'])->status(), 200, 'to another header');
is(upstream('X-Introspection'), $envelope, 'to another header: the envelope');
is(upstream('X-Envelope'), undef, 'to another header: and there alone');
is(call('/away', $token)->status(), 200, 'to a location without one');
unlike($api->last_request()->{head}, qr/\Q$envelope/, 'to a location without one: no envelope');

call('/mirrored', $token, @forged);
$api->wait_for('/mirror', 1);
is($api->header($api->last_request('/mirror'), 'X-Envelope'), $envelope, 'mirrored: the envelope');

call('/off', undef, headers => ['X-Envelope' => 'own']);
is(upstream('X-Envelope'), 'own', 'off: nothing is touched');
