#!/usr/bin/perl

# Certificate-bound tokens (RFC 8705 section 3): who holds another certificate than the token's, or none, is refused,
# on a hit as on a miss, whichever way the certificate and the verdict come.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use MIME::Base64 qw(decode_base64 encode_base64 encode_base64url);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my $t = Test::Nginx->new()->has(qw(http proxy map mirror ssi access http_ssl http_v2))->plan(242);
my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file('page.shtml', '<!--#include virtual="/inside/checked" -->');
$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Reused $ssl_session_reused always;
    recursive_error_pages on;

    # NGINX before 1.23.4 has no TLS 1.3 unless told.
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate server.crt;
    ssl_certificate_key server.key;
    map $arg_as $handed_on {
        escaped $ssl_client_escaped_cert;
        folded $ssl_client_cert;
        default $ssl_client_raw_cert;
    }

    # The client's own connection; any certificate will do, whoever has issued it.
    server {
        listen 127.0.0.1:8443 ssl%%LISTEN%%;
        %%H2%%
        listen 127.0.0.1:8080;
        ssl_verify_client optional_no_ca;
        ssl_session_cache shared:tls:1m;
        ssl_client_certificate ca.crt;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        location /required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /stale {
            phantom_token_introspection_endpoint /introspect_flaky;
            phantom_token_cache_max_ttl 1ms;
            phantom_token_cache_use_stale 1h;
            proxy_pass http://127.0.0.1:8082;
        }
        location /claims {
            phantom_token_forward claims;
            phantom_token_accept application/json;
            add_header Subject $phantom_token_claim_sub always;
            add_header Slug $phantom_token_error always;
            add_header Cache-Status $phantom_token_cache_status always;
            proxy_pass http://127.0.0.1:8082;
        }
        location /variable { phantom_token_client_certificate $handed_on; proxy_pass http://127.0.0.1:8082; }
        location /header { phantom_token_client_certificate $http_x_client_cert; proxy_pass http://127.0.0.1:8082; }
        location /exchange {
            phantom_token_exchange /introspect;
            proxy_pass http://127.0.0.1:8082;
        }

        # From one rule to another.
        location /off_to_optional { phantom_token_binding off; try_files /none /optional; }
        location /off_to_required { phantom_token_binding off; try_files /none /required; }
        location /optional_to_off { try_files /none /off; }
        location /optional_to_header { try_files /none /header; }
        location /required_to_off { phantom_token_binding required; try_files /none /off; }
        location /fails_to_off { error_page 401 = /off; proxy_pass http://127.0.0.1:8082; }
        location /fails_to_required { error_page 401 = /required; proxy_pass http://127.0.0.1:8082; }
        location /off_to_any { phantom_token_binding off; try_files /none /any; }
        location /off_to_any_required { phantom_token_binding off; try_files /none /any_required; }
        location /any { satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }
        location /any_required { satisfy any; allow all; phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
        location /any_denied { satisfy any; deny all; proxy_pass http://127.0.0.1:8082; }
        location /policy { phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }

        # Subrequests.
        location = /page.shtml { phantom_token_binding off; ssi on; default_type text/html; root %%TESTDIR%%; }
        location /inside/checked { proxy_pass http://127.0.0.1:8082; }
        location /inside/required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
        location /mirrored/checked {
            phantom_token_binding off;
            mirror /inside/checked;
            proxy_pass http://127.0.0.1:8082;
        }
        location /mirrored/required {
            phantom_token_binding off;
            mirror /inside/required;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_flaky { internal; proxy_pass http://127.0.0.1:8081; }
        location = /barrier { phantom_token off; return 204; }
    }

    # An issuer that is known, or nothing.
    server {
        listen 127.0.0.1:8444 ssl;
        ssl_verify_client optional;
        ssl_client_certificate ca.crt;
        error_page 495 496 /required;
        location / { proxy_pass http://127.0.0.1:8082; }
        location /required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # A TLS offloader, which says what certificate the client has shown, and to whom.
    server {
        listen 127.0.0.1:8445 ssl;
        phantom_token off;
        ssl_verify_client optional_no_ca;
        location / {
            proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
            proxy_pass http://127.0.0.1:8080/header;
        }
    }
}
CONF

# Keys and certificates, made for this run.

my %thumbprint;

sub certificate {
    my ($name, %options) = @_;

    my ($certificate, $key) = IO::Socket::SSL::Utils::CERT_create(
        subject => { commonName => $name }, not_after => time + 3600, %options,
    );
    my $pem = IO::Socket::SSL::Utils::PEM_cert2string($certificate);
    $t->write_file("$name.crt", $pem);
    $t->write_file("$name.key", IO::Socket::SSL::Utils::PEM_key2string($key));
    $thumbprint{$name} = encode_base64url(sha256(der($pem)));
    return [$certificate, $key];
}

sub der {
    my ($pem) = @_;
    my ($base64) = $pem =~ /-----BEGIN CERTIFICATE-----(.*?)-----END/s;
    return decode_base64($base64);
}

my $ca = certificate('ca', CA => 1);
certificate('server', issuer => $ca, purpose => 'server', subjectAltNames => [[DNS => 'localhost']]);
certificate($_, issuer => $ca, purpose => 'client') for qw(mine other);
certificate('self_signed', purpose => 'client');

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# TLS with that client certificate, or without one.
sub tls {
    my ($name, %options) = @_;
    my @certificate = $name
        ? (SSL_cert_file => $t->testdir() . "/$name.crt", SSL_key_file => $t->testdir() . "/$name.key") : ();
    return (
        port => 8443,
        ssl => { SSL_verify_mode => 0, SSL_hostname => 'localhost', SSL_use_cert => $name ? 1 : 0, @certificate, %options },
    );
}

# A JWT whose holder must have that certificate.
sub bound { return jwt(claims => { cnf => { 'x5t#S256' => $thumbprint{ $_[0] } } }) }

# A token that is asked about with this answer.
sub known {
    my ($answer) = @_;
    my $token = token();
    $as->script($token, $answer);
    return $token;
}

# status cache-status slug
sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

sub pem { return $t->read_file("$_[0].crt") }

sub escaped { return $_[0] =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ger }

my $invalid = 'Bearer realm="api", error="invalid_token"';

# The certificate of the connection, on a miss and on hits.

my $jwt = bound('mine');
my $token = known($as->jwt_answer($jwt));

for my $state (qw(MISS HIT)) {
    my $response = call('/', $token, tls('mine'));
    is(outcome($response), "200 $state", "the token's certificate, $state");
    is($api->authorization($response), "Bearer $jwt", "the token's certificate, $state: upstream");
}

for my $case (
    ['other', 'the token is bound to another certificate'], [undef, 'there is no client certificate'],
    ['self_signed', 'the token is bound to another certificate'],
) {
    my ($name, $why) = @$case;
    my $shown = $name // 'none';
    my $fresh = known($as->jwt_answer($jwt));

    for my $state (qw(MISS HIT)) {
        my $before = $api->count();
        $t->new_module_lines();
        my $response = call('/', $fresh, tls($name));
        is(outcome($response), "401 $state binding", "certificate: $shown, $state");
        is($response->header('WWW-Authenticate'), $invalid, "certificate: $shown, $state: challenge");
        is($api->count(), $before, "certificate: $shown, $state: not upstream");
        my @lines = $t->new_module_lines();
        is(scalar(@lines), 1, "certificate: $shown, $state: one line");
        like($lines[0], qr/: binding, request refused with 401, .*: \Q$why\E$/, "certificate: $shown, $state: why");
    }

    is(outcome(call('/', $fresh, tls('mine'))), '200 HIT', "after $shown: by the same verdict");
    is($as->questions($fresh), 1, "after $shown: one question");
}

is(outcome(call('/', $token)), '401 HIT binding', 'no TLS');
is(outcome(call('/uncached', $token, tls('mine'))), '200 BYPASS', 'no cache');
is(outcome(call('/uncached', $token, tls('other'))), '401 BYPASS binding', 'no cache, another certificate');

# A certificate that nobody has issued.

$token = known($as->jwt_answer(bound('self_signed')));
is(outcome(call('/', $token, tls('self_signed'))), '200 MISS', 'self-signed');
is(outcome(call('/', $token, tls('self_signed'))), '200 HIT', 'self-signed, hit');
is(outcome(call('/', $token, tls('mine'))), '401 HIT binding', 'self-signed: another one');

# NGINX refuses it by itself where the issuer must be known.

my %strict = (port => 8444);
$token = known($as->jwt_answer($jwt));
is(outcome(call('/', $token, tls('mine'), %strict)), '200 MISS', 'a known issuer');
is(call('/', $token, tls(undef), %strict)->status(), 401, 'a known issuer: no certificate');
my $unknown = known($as->jwt_answer(bound('self_signed')));
is(call('/', $unknown, tls('self_signed'), %strict)->status(), 400, 'an unknown issuer');

# Where the binding is.

sub checked {
    my ($name, $uri, $answer, @tls) = @_;
    my $fresh = known($answer);
    is(outcome(call($uri, $fresh, tls('other'))), '401 MISS binding', "$name: another certificate");
    is(outcome(call($uri, $fresh, tls(undef))), '401 HIT binding', "$name: none");
    is(outcome(call($uri, $fresh, tls('mine'))), '200 HIT', "$name: the right one");
    is($as->questions($fresh), 1, "$name: one question");
    return;
}

my %cnf = (cnf => { 'x5t#S256' => $thumbprint{mine} });
my %active = (active => JSON::PP::true, sub => 'alice', exp => time + 300);
checked('cnf in the JWT', '/', $as->jwt_answer($jwt));
checked('cnf in the JWT in JSON', '/', $as->json_answer({ %active, jwt => $jwt }));
checked('cnf in the JSON alone', '/', $as->json_answer({ %active, %cnf, jwt => jwt() }));
checked('the same in both', '/', $as->json_answer({ %active, %cnf, jwt => $jwt }));
checked('claims alone', '/claims', $as->json_answer({ %active, %cnf }));
checked('required', '/required', $as->jwt_answer($jwt));
checked('exchanged', '/exchange', $as->exchange_answer($jwt));

$token = known($as->json_answer({ %active, %cnf }));
is(call('/claims', $token, tls('mine'))->header('Subject'), 'alice', 'claims of a token whose binding is shown');
is(call('/claims', $token, tls('other'))->header('Subject'), undef, 'none of one whose is not');

# What nobody can show.

for my $case (
    ['a DPoP key', { jkt => $thumbprint{mine} }, 'a key, and must be presented'],
    ['a certificate and a DPoP key', { %{ $cnf{cnf} }, jkt => $thumbprint{mine} }, 'a key, and must be presented'],
    ['another method', { kid => 'x' }, 'a way that cannot be checked'],
    ['a certificate and another method', { %{ $cnf{cnf} }, kid => 'x' }, 'a way that cannot be checked'],
    ['no method', {}, 'a way that cannot be checked'],
    ['half a thumbprint', { 'x5t#S256' => substr $thumbprint{mine}, 0, 20 }, 'a way that cannot be checked'],
    ['a thumbprint in hexadecimal', { 'x5t#S256' => unpack 'H*', sha256(der(pem('mine'))) }, 'a way that'],
    ['SHA-1', { x5t => $thumbprint{mine} }, 'a way that cannot be checked'],
    ['no thumbprint', { 'x5t#S256' => undef }, 'a way that cannot be checked'],
    ['no object', $thumbprint{mine}, 'a way that cannot be checked'],
) {
    my ($name, $cnf, $why) = @$case;
    my $fresh = known($as->jwt_answer(jwt(claims => { cnf => $cnf })));
    $t->new_module_lines();
    is(outcome(call('/', $fresh, tls('mine'))), '401 MISS binding', $name);
    is(outcome(call('/required', $fresh, tls('mine'))), '401 HIT binding', "$name, required");
    is(scalar(grep { /: the token is bound .*\Q$why\E/ } $t->new_module_lines()), 2, "$name: why");
    is(outcome(call('/off', $fresh)), '200 HIT', "$name, off");
}

$token = known($as->json_answer({ %active, cnf => { 'x5t#S256' => $thumbprint{other} }, jwt => $jwt }));
is(outcome(call('/', $token, tls($_))), '401 ' . ($_ eq 'mine' ? 'MISS' : 'HIT') . ' binding', "contradicting sources, $_")
    for qw(mine other);
$token = known($as->exchange_answer($jwt, { token_type => 'DPoP' }));
is(outcome(call('/exchange', $token, tls('mine'))), '401 MISS binding', 'exchanged for a key that is not named');

# Three rules, one entry.

$token = known($as->jwt_answer($jwt));
is(outcome(call('/off', $token, tls(undef))), '200 MISS', 'off: no certificate');
is(outcome(call('/', $token, tls(undef))), '401 HIT binding', 'optional: no certificate');
is(outcome(call('/required', $token, tls(undef))), '401 HIT binding', 'required: no certificate');
is(outcome(call($_, $token, tls('mine'))), '200 HIT', "$_: the right one") for qw(/off /optional /required);
is($as->questions($token), 1, 'one question');

my $unbound = known($as->jwt_answer(jwt()));
is(outcome(call('/off', $unbound)), '200 MISS', 'off: not bound');
is(outcome(call('/', $unbound, tls('mine'))), '200 HIT', 'optional: not bound');
$t->new_module_lines();
my $response = call('/required', $unbound, tls('mine'));
is(outcome($response), '401 HIT binding', 'required: not bound');
like($response->header('WWW-Authenticate'), qr/^\Q$invalid\E, DPoP realm="api", algs=/, 'required: not bound: challenge');
like(($t->new_module_lines())[0], qr/: the token is not bound$/, 'required: not bound: why');
my $null = known($as->jwt_answer(jwt(claims => { cnf => JSON::PP::null })));
is(outcome(call('/required', $null, tls('mine'))), '401 MISS binding', 'null is no binding');
is(outcome(call('/policy', $token, tls('other'))), '401 HIT binding', 'the binding comes before the scope');
is(outcome(call('/policy', $token, tls('mine'))), '403 HIT insufficient_scope', 'and then the scope');

# Past its time, while the server cannot be asked.

$token = known($as->jwt_answer($jwt));
is(outcome(call('/stale', $token, tls('mine'))), '200 MISS', 'before an outage');
$as->script($token, { status => 500 });
$response = call_until(sub { outcome($_[0]) =~ /STALE/ }, '/stale', $token, tls('mine'));
is(outcome($response), '200 STALE', 'in an outage');
is(outcome(call('/stale', $token, tls('other'))), '401 STALE binding', 'in an outage, another certificate');

# Several requests that wait for one question, each by its own certificate.

$token = known($as->jwt_answer($jwt, hold => 1));
my @connections = map { http_connection(tls($_)) } 'mine', 'other', 'mine', undef;
for my $connection (@connections) {
    $connection->request(GET => '/', headers => [Authorization => "Bearer $token"]);
    $as->wait_for_question($token, 1);
}
# The worker has taken them up when it has answered requests that came after them.
call('/barrier', undef) for 1 .. 2;
$as->release($token);
is(join(', ', map { outcome($_->response()) } @connections),
    '200 MISS, 401 WAIT binding, 200 WAIT, 401 WAIT binding', 'waiters, each by its own');
is($as->questions($token), 1, 'one question for all');

# One connection, several tokens: the thumbprint is the connection's, the verdicts are the tokens'.

my ($mine, $others) = map { known($as->jwt_answer(bound($_))) } qw(mine other);
my $connection = http_connection(tls('mine'));
for my $case ([$mine, 200], [$others, 401], [$unbound, 200], [$mine, 200], [$others, 401]) {
    $connection->request(GET => '/', headers => [Authorization => "Bearer $case->[0]"]);
    is($connection->response()->status(), $case->[1], 'keep-alive');
}
$connection->close();
$connection = http_connection(tls(undef));
for my $case ([$mine, 401], [$unbound, 200], [$mine, 401]) {
    $connection->request(GET => '/', headers => [Authorization => "Bearer $case->[0]"]);
    is($connection->response()->status(), $case->[1], 'keep-alive, no certificate');
}
$connection->close();

# HTTP/2: streams of one connection, at once and after each other.

for my $case (['mine', 200, 401], ['other', 401, 200], [undef, 401, 401]) {
    my ($name, @expected) = @$case;
    my $h2 = Test::Nginx::HTTP2->new(tls($name, SSL_alpn_protocols => ['h2']));
    my $shown = $name // 'none';

    for my $round (1, 2) {
        my @streams = map { $h2->request('GET', '/', headers => [Authorization => "Bearer $_"]) } $mine, $others, $unbound;
        is(join(' ', map { $h2->response($_)->status() } @streams), "@expected 200", "HTTP/2: $shown, $round");
    }
    $h2->close();
}

# A session that is resumed has the certificate of its first handshake.

for my $version (qw(TLSv1_2 TLSv1_3)) {
    for my $case (['mine', 200], ['other', 401]) {
        my ($name, $expected) = @$case;
        my $sessions = IO::Socket::SSL::Session_Cache->new(10);
        my @tls = tls($name, SSL_version => $version, SSL_session_cache => $sessions, SSL_session_key => $name);
        my (@open, @statuses);
        for (1 .. 2) {
            # A client forgets the session of a connection that was not closed in order: all stay open.
            push @open, http_connection(@tls);
            my $again = $open[-1]->request(GET => '/', headers => [Authorization => "Bearer $mine"])->response();
            push @statuses, $again->status() . $again->header('Reused');
        }
        is("@statuses", "$expected. ${expected}r", "a session resumed, $version, $name");
    }
}

# Another variable has it.

for my $as (qw(escaped raw folded)) {
    $response = call("/variable?as=$as", $mine, tls('mine'));
    is($response->status(), 200, "a variable, $as") or diag($t->new_module_lines());
    is(call("/variable?as=$as", $mine, tls('other'))->status(), 401, "a variable, $as: another one");
    is(call("/variable?as=$as", $mine, tls(undef))->status(), 401, "a variable, $as: none");
}

my $base64 = encode_base64(der(pem('mine')), '');
for my $case (
    ['PEM, escaped', escaped(pem('mine')), 200], ['PEM, escaped, another', escaped(pem('other')), 401],
    ['RFC 9440', ":$base64:", 200], ['base64', $base64, 200],
    ['a chain', escaped(pem('mine') . pem('ca')), 200], ['another chain', escaped(pem('ca') . pem('mine')), 401],
    ['empty', '', 401, 'no client certificate'], ['none, as Apache says it', '(null)', 401, 'neither PEM nor base64'],
    ['cut off', ':' . substr($base64, 0, -8) . ':', 401, 'cut off'], ['another word', 'mine', 401, 'client certificate'],
    ['a fingerprint', $thumbprint{mine}, 401, 'client certificate'],
) {
    my ($name, $value, $expected, $why) = @$case;
    $t->new_module_lines();
    $response = call('/header', $mine, headers => ['X-Client-Cert' => $value]);
    is($response->status(), $expected, "a header, $name");
    like(join('', $t->new_module_lines()), qr/refused with 401.*: .*\Q$why\E/, "a header, $name: why") if defined $why;
}

is(call('/header', $mine)->status(), 401, 'no header');
is(call('/header', $mine, tls('mine'))->status(), 401, 'the connection does not count beside it');
is(call('/header', $unbound)->status(), 200, 'no header, and no binding');
my @twice = map { ('X-Client-Cert' => escaped(pem($_))) } qw(mine other);
is(call('/header', $mine, headers => \@twice)->status(), 401, 'two headers') if $t->has_version('1.23.0');
is(call('/header', $mine, headers => \@twice)->status(), 200, 'two headers: this NGINX sees the first')
    unless $t->has_version('1.23.0');

is(call('/x', $mine, tls($_), port => 8445)->status(), $_ eq 'mine' ? 200 : 401, "behind an offloader, $_")
    for qw(mine other);
@twice = (headers => ['X-Client-Cert' => escaped(pem('mine'))]);
is(call('/x', $mine, tls('other'), port => 8445, @twice)->status(), 401, 'behind an offloader, the client claims another');

# Nobody else may say so: a header that no directive names is one of the client's.

for my $name (qw(X-Client-Cert Client-Cert X-SSL-Client-Cert X-Forwarded-Client-Cert SSL-Client-Cert)) {
    my @claim = (headers => [$name => $name eq 'Client-Cert' ? ":$base64:" : escaped(pem('mine'))]);
    is(call('/', $mine, @claim)->status() . ' ' . call('/', $mine, tls('other'), @claim)->status(), '401 401',
        "$name where it is not named");
}

# A verdict that is brought along.

for my $case (
    ['/off_to_optional', 200, 401, 200], ['/off_to_required', 200, 401, 401], ['/optional_to_off', 200, 401, 200],
    ['/optional_to_header', 401, 401, 200], ['/required_to_off', 200, 401, 401], ['/fails_to_off', 200, 200, 200],
    ['/fails_to_required', 200, 401, 200], ['/any_denied', 200, 401, 200],
) {
    my ($uri, @expected) = @$case;

    for my $state (qw(miss hit)) {
        my @tokens = $state eq 'hit' ? ($mine, $unbound) : map { known($as->jwt_answer($_)) } $jwt, jwt();
        my @found = map { call($uri, $$_[0], tls($$_[1]))->status() } [$tokens[0], 'mine'], [$tokens[0], 'other'],
            [$tokens[1], 'mine'];
        is("@found", "@expected", "$uri, $state");
    }
}

$response = call('/fails_to_off', $mine, tls('other'));
is($response->header('WWW-Authenticate'), undef, 'a location where it does not matter: no challenge');
like($api->authorization($response), qr/^Bearer /, 'a location where it does not matter: the JWT');

# Open to all: the JWT goes along where the binding is shown.

for my $case (['/off_to_any', 'mine', 1], ['/off_to_any', 'other', 0], ['/off_to_any', undef, 0], ['/off_to_any_required', 'mine', 1],
    ['/off_to_any_required', 'other', 0])
{
    my ($uri, $name, $has_verdict) = @$case;
    my $shown = $name // 'none';
    $response = call($uri, $mine, tls($name));
    is($response->status(), 200, "$uri, $shown: open to all");
    is(defined $api->authorization($response) ? 1 : 0, $has_verdict, "$uri, $shown: upstream");
}
$response = call('/off_to_any_required', $unbound, tls('mine'));
is($api->authorization($response), undef, 'not bound, open to all: upstream');

# Subrequests.

for my $case (['mine', 1], ['other', 0], [undef, 0]) {
    my ($name, $has_verdict) = @$case;
    my $shown = $name // 'none';

    call('/page.shtml', $mine, tls($name));
    is(defined $api->header($api->last_request('/inside/checked'), 'Authorization') ? 1 : 0, $has_verdict, "SSI, $shown");

    for my $rule (qw(checked required)) {
        my $before = $api->count("/inside/$rule");
        is(call("/mirrored/$rule", $mine, tls($name))->status(), 200, "a mirror, $rule, $shown");
        $api->wait_for("/inside/$rule", $before + 1);
        is(defined $api->header($api->last_request("/inside/$rule"), 'Authorization') ? 1 : 0, $has_verdict,
            "a mirror, $rule, $shown: upstream");
    }
}
my $before = $api->count('/inside/required');
call('/mirrored/required', $unbound, tls('mine'));
$api->wait_for('/inside/required', $before + 1);
is($api->header($api->last_request('/inside/required'), 'Authorization'), undef, 'a mirror, not bound: upstream');
