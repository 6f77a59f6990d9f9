#!/usr/bin/perl

# DPoP (RFC 9449): a token that is bound to a key counts only beside a proof that its client has signed for this one
# request, on a hit as on a miss, once in all workers.

use strict;
use warnings;

use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::Nginx::Timeout qw($TIMEOUT);
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt);
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy mirror auth_request access http_v2))->plan(314);
my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events { accept_mutex on; accept_mutex_delay 5ms; }
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    large_client_header_buffers 4 32k;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Worker $pid always;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%

        location / { proxy_pass http://127.0.0.1:8082; }
        location /off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        location /required { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /punctual { phantom_token_leeway 0; proxy_pass http://127.0.0.1:8082; }
        location /early { phantom_token_leeway 5m; proxy_pass http://127.0.0.1:8082; }
        location /behind/ { phantom_token_dpop_base https://api.example:443/v1/; proxy_pass http://127.0.0.1:8082; }
        location /try { try_files /none /tried; }
        location /tried { proxy_pass http://127.0.0.1:8082; }
        location /mirrored { mirror /copy; proxy_pass http://127.0.0.1:8082; }
        location = /copy { internal; proxy_pass http://127.0.0.1:8082; }
        location /forgiven {
            error_page 403 = /tried/forgiven;
            phantom_token_require_scope admin;
            proxy_pass http://127.0.0.1:8082;
        }
        location /in_claims {
            phantom_token_forward claims;
            phantom_token_introspection_endpoint /introspect?json;
            proxy_pass http://127.0.0.1:8082;
        }
        location /any_allowed { satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }
        location /any_asked { satisfy any; auth_request /yes; proxy_pass http://127.0.0.1:8082; }
        location = /yes { internal; phantom_token off; return 204; }
        location = /none { phantom_token off; return 204; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();
$t->wait_for_workers(2);

my %key = map { $_ => Test::PhantomToken::Keys->new($t, $_) } qw(ES256 ES384 Ed25519 EdDSA RS256 PS256);
my $stranger = Test::PhantomToken::Keys->new($t, 'ES256');
my $algs = 'ES256 ES384 Ed25519 EdDSA PS256 PS384 PS512 RS256 RS384 RS512';
my $invalid_proof = qq{DPoP realm="api", error="invalid_dpop_proof", algs="$algs"};

# A token that is bound to the key, and its JWT.
sub bound {
    my ($key, %claims) = @_;
    my ($token, $jwt) = (token(), jwt(claims => { ($key ? (cnf => { jkt => jkt($key) }) : ()), %claims }));
    $as->script($token, $as->jwt_answer($jwt));
    return ($token, $jwt);
}

# A proof for GET of that path.
sub proof { my ($key, $token, $uri, @args) = @_; return Test::PhantomToken::DPoP::proof($key, $token, "http://localhost$uri", @args) }

# A call with these proofs.
sub prove {
    my ($uri, $token, $proofs, %args) = @_;
    return call($uri, undef, %args, headers => [
        Authorization => ($args{scheme} // 'DPoP') . " $token", @{ $args{headers} // [] }, map { (DPoP => $_) } @$proofs,
    ]);
}

sub challenges { return join ', ', map { s/^[^:]+: *//r } $_[0]->header_lines('WWW-Authenticate') }

sub passed {
    my ($name, $response, $jwt) = @_;
    is($response->status(), 200, $name);
    is($api->authorization($response), "Bearer $jwt", "$name: the JWT upstream");
    my $request = ($api->requests())[$response->header('API-Request') - 1];
    is($api->header($request, 'DPoP'), undef, "$name: no proof upstream");
    return;
}

sub refused {
    my ($name, $response, $challenge, $why) = @_;
    is($response->status() . ' ' . $response->header('Slug'), '401 binding', $name);
    is(challenges($response), $challenge, "$name: the challenge");
    my ($line) = grep { /request refused/ } reverse $t->module_lines();
    like($line // '', $why, "$name: the log");
    return;
}

# Every way of signing, on a miss and on a hit.

for my $alg (sort keys %key) {
    my ($token, $jwt) = bound($key{$alg});
    for my $state (qw(MISS HIT)) {
        my $response = prove("/$alg", $token, [proof($key{$alg}, $token, "/$alg")]);
        passed("$alg, $state", $response, $jwt);
        is($response->header('Cache-Status'), $state, "$alg: $state");
    }
}

my ($token, $jwt) = bound($key{ES256});
my $es256 = $key{ES256};
sub good { return proof($es256, $token, @_) }

passed('the scheme in another case', prove('/a', $token, [good('/a')], scheme => 'dpop'), $jwt);
passed('a query string', prove('/a?b=c', $token, [good('/a')]), $jwt);
passed('a query string in the proof', prove('/a?b=c', $token, [good('/a?d=e')]), $jwt);
passed('another spelling', prove('/a%7eb/%c3%a4', $token,
    [good('', claims => { htu => 'HTTP://LocalHost:80/a~b/%C3%A4' })]), $jwt);
passed('another method', prove('/a', $token, [good('/a', claims => { htm => 'POST' })], method => 'POST', body => 'x'), $jwt);
passed('the port that the client has named', prove('/a', $token,
    [good('', claims => { htu => 'http://localhost:8080/a' })], host => 'localhost:8080'), $jwt);
for my $host (qw(localhost. localhost.:8080 LocalHost.:8080)) {
    passed("the root of all names, $host", prove('/a', $token, [good('', claims => { htu => "http://$host/a" })], host => $host), $jwt);
}
passed('the root of all names in the request alone', prove('/a', $token,
    [good('', claims => { htu => 'http://localhost:8080/a' })], host => 'localhost.:8080'), $jwt);
passed('a clock that is ahead', prove('/a', $token, [good('/a', claims => { iat => time + 20 })]), $jwt);
passed('no leeway', prove('/punctual', $token, [good('/punctual')]), $jwt);
my $early = prove('/early', $token, [good('/early', claims => { iat => time + 120 })]);
passed('much leeway', $early, $jwt);
is($early->header('Cache-Status'), 'HIT', 'much leeway: the verdict is that of the other locations');
passed('without a cache', prove('/uncached', $token, [good('/uncached')]), $jwt);

# Each rule broken.

my $private = { %{ $es256->jwk() }, d => 'AA' };
my ($other_token) = bound($es256);
for (
    ['no proof', [], qr/there is no DPoP proof/],
    ['two proofs', [good('/a'), good('/a')], qr/more than one DPoP proof/],
    ['two in one line', [good('/a') . ', ' . good('/a')], qr/not a signed JWT/],
    ['no JWT', ['proof'], qr/not a signed JWT/],
    ['too large', [good('/a', claims => { pad => 'x' x 8_000 })], qr/larger than 8192 bytes/],
    ['another typ', [good('/a', header => { typ => 'JWT' })], qr/"typ" is not/],
    ['no algorithm', [good('/a', header => { alg => 'none' })], qr/"alg" is not/],
    ['a shared secret', [good('/a', header => { alg => 'HS256' })], qr/"alg" is not/],
    ['crit', [good('/a', header => { crit => ['x'], x => 1 })], qr/"crit"/],
    ['a private key', [good('/a', header => { jwk => $private })], qr/private key/],
    ['another key', [proof($stranger, $token, '/a')], qr/not the key that the token is bound to/],
    ["another key's signature", [proof($stranger, $token, '/a', header => { jwk => $es256->jwk() })], qr/signature is not by/],
    ['another method', [good('/a', claims => { htm => 'POST' })], qr/"htm" is not/],
    ['the method in another case', [good('/a', claims => { htm => 'get' })], qr/"htm" is not/],
    ['another path', [good('/b')], qr/"htu" is not/],
    ['another scheme', [good('', claims => { htu => 'https://localhost/a' })], qr/"htu" is not/],
    ['another host', [good('', claims => { htu => 'http://other/a' })], qr/"htu" is not/],
    ['another port', [good('', claims => { htu => 'http://localhost:8080/a' })], qr/"htu" is not/],
    ['another token', [proof($es256, $other_token, '/a')], qr/"ath" is not/],
    ['too old', [good('/a', claims => { iat => time - 70 })], qr/more than 60 seconds ago/],
    ['to come', [good('/a', claims => { iat => time + 120 })], qr/"iat" is to come/],
    ['a date as text', [good('/a', claims => { iat => time . '' })], qr/payload is not/],
    (map { ["no $_", [good('/a', claims => { $_ => undef })], qr/payload is not/] } qw(htm htu iat jti ath)),
    ['a byte changed', [good('/a') =~ s/(?<=.{9})./Z/r], qr/header is not|not a signed/],
) {
    my ($name, $proofs, $why) = @$_;
    refused($name, prove('/a', $token, $proofs), $invalid_proof, $why);
}
refused('to come, without leeway', prove('/punctual', $token, [good('/punctual', claims => { iat => time + 20 })]),
    $invalid_proof, qr/"iat" is to come/);
refused('to come, beyond much leeway', prove('/early', $token, [good('/early', claims => { iat => time + 360 })]),
    $invalid_proof, qr/"iat" is to come/);
refused('too old, whatever the leeway', prove('/early', $token, [good('/early', claims => { iat => time - 70 })]),
    $invalid_proof, qr/more than 60 seconds ago/);

# Bearer is not DPoP, and the reverse.

my $both = qq{Bearer realm="api", error="invalid_token", DPoP realm="api", algs="$algs"};
my ($plain, $plain_jwt) = bound();
my ($certificate) = bound(undef, cnf => { 'x5t#S256' => encode_base64url('x' x 32) });
for (1, 2) {
    refused('bound, as Bearer', prove('/a', $token, [good('/a')], scheme => 'Bearer'), $both, qr/must be presented with the scheme/);
    refused('bound, as Bearer, without a proof', call('/a', $token), $both, qr/must be presented with the scheme/);
    refused('not bound, as DPoP', prove('/a', $plain, [proof($es256, $plain, '/a')]), $both, qr/is not bound to a key/);
    refused('bound to a certificate, as DPoP', prove('/a', $certificate, [proof($es256, $certificate, '/a')]), $both,
        qr/is not bound to a key/);
}
passed('not bound, as Bearer', call('/a', $plain), $plain_jwt);
passed('not bound, as Bearer with a proof', prove('/a', $plain, [good('/a')], scheme => 'Bearer'), $plain_jwt);
refused('not bound, where it has to be', call('/required', $plain), $both, qr/the token is not bound/);
passed('bound, where it has to be', prove('/required', $token, [good('/required')]), $jwt);
is(challenges(call('/required')), qq{Bearer realm="api", DPoP realm="api", algs="$algs"}, 'both schemes without credentials');
is(challenges(call('/a')), 'Bearer realm="api"', 'nothing of DPoP where nothing asks for it');
my $malformed = prove('/a', 'a b', []);
is($malformed->status() . ' ' . challenges($malformed), qq{401 DPoP realm="api", error="invalid_token", algs="$algs"},
    'a malformed token');
is(prove('/a?access_token=x', $token, [good('/a')])->status(), 400, 'in two ways');
my $off = prove('/off', $token, [good('/off')]);
is(join(' ', $off->status(), $off->header('Slug'), challenges($off)), '401 no_credentials Bearer realm="api"',
    'binding off: another scheme');
passed('binding off: as Bearer', prove('/off', $token, [good('/off')], scheme => 'Bearer'), $jwt);

# A proof counts once.

my $proof = good('/once');
passed('the first time', prove('/once', $token, [$proof]), $jwt);
refused('the second time', prove('/once', $token, [$proof]), $invalid_proof, qr/was used before/);
my $again = good('/once', claims => { jti => 'the same' });
passed('an identifier', prove('/once', $token, [$again]), $jwt);
refused('the same in another proof', prove('/other', $token, [good('/other', claims => { jti => 'the same' })]),
    $invalid_proof, qr/was used before/);
my ($others, $others_jwt) = bound($key{ES384});
passed("the same of another client's", prove('/once', $others,
    [proof($key{ES384}, $others, '/once', claims => { jti => 'the same' })]), $others_jwt);

sub to_each_worker {
    my %connections;
    my $deadline = time + $TIMEOUT;
    while (time < $deadline) {
        my $connection = http_connection();
        $connection->request('GET', '/none');
        my $worker = $connection->response()->header('Worker');
        if ($connections{$worker}) { $connection->close() } else { $connections{$worker} = $connection }
        last if keys %connections == 2;
    }
    return values %connections;
}

my @connections = to_each_worker();
is(@connections, 2, 'two workers');
my $shared = good('/shared');
my @answers = map {
    $_->request('GET', '/shared', headers => [Authorization => "DPoP $token", DPoP => $shared]);
    $_->response();
} @connections;
is($answers[0]->status(), 200, 'one worker');
refused('the other worker', $answers[1], $invalid_proof, qr/was used before/);
$_->close() for @connections;

# Nor do many that wait for the verdict pass with one.

my ($waiting, $waiting_jwt) = (token(), jwt(claims => { cnf => { jkt => jkt($es256) } }));
$as->script($waiting, $as->jwt_answer($waiting_jwt, hold => 1));
my $for_all = proof($es256, $waiting, '/all');
my @waiting = map {
    http_connection()->request('GET', '/all', headers => [Authorization => "DPoP $waiting", DPoP => $for_all])
} 1 .. 20;
$as->wait_for_question($waiting);
$as->release($waiting);
my %outcomes;
$outcomes{ join ' ', $_->status(), $_->header('Slug') // () }++ for map { $_->response() } @waiting;
$_->close() for @waiting;
# None, where two workers have noted it at the same instant.
like(join(' ', map { $outcomes{$_} // 0 } '200', '401 binding'), qr/^(?:1 19|0 20)$/, 'of twenty with one proof one passes');

$t->reload()->wait_old_workers();
refused('after a reload', prove('/shared', $token, [$shared]), $invalid_proof, qr/was used before/);
passed('another one after a reload', prove('/shared', $token, [good('/shared')]), $jwt);

# Nor does a worker that dies take its proofs along.

my ($victim) = map { my $worker = $_->request('GET', '/none')->response()->header('Worker'); $_->close(); $worker } to_each_worker();
my $orphan = good('/orphan');
passed('before a worker dies', prove('/orphan', $token, [$orphan]), $jwt);
$t->expect_alerts(qr/worker process $victim exited on signal 9/);
kill KILL => $victim;
$t->wait_for_workers(2);
refused('after a worker has died', prove('/orphan', $token, [$orphan]), $invalid_proof, qr/was used before/);
passed('another one after that', prove('/orphan', $token, [good('/orphan')]), $jwt);

# Behind a TLS offloader.

my $behind = sub { good('', claims => { htu => "https://api.example$_[0]" }) };
passed('the base', prove('/behind/a?b', $token, [$behind->('/v1/behind/a')]), $jwt);
refused('not the base', prove('/behind/a', $token, [$behind->('/behind/a')]), $invalid_proof, qr/"htu" is not/);
refused('the host in place of the base', prove('/behind/a', $token, [good('/behind/a')]), $invalid_proof, qr/"htu" is not/);

# HTTP/2.

my $h2 = Test::Nginx::HTTP2->new(port => 8083);
my @h2 = map {
    $h2->call('GET', '/h2', headers => [Authorization => "DPoP $token", DPoP => $_])
} (good('', claims => { htu => 'http://localhost/h2' })) x 2;
passed('HTTP/2', $h2[0], $jwt);
refused('HTTP/2, the second time', $h2[1], $invalid_proof, qr/was used before/);
$h2->close();

# Internal redirects and subrequests: one request, one proof.

passed('try_files', prove('/try', $token, [good('/try')]), $jwt);
passed('error_page', prove('/forgiven', $token, [good('/forgiven')]), $jwt);
passed('a mirrored request', prove('/mirrored', $token, [good('/mirrored')]), $jwt);
my $copy = $api->wait_for('/copy')->last_request('/copy');
is($api->header($copy, 'Authorization'), "Bearer $jwt", 'the copy: the JWT');
is($api->header($copy, 'DPoP'), undef, 'the copy: no proof');

# Whatever passes without a verdict takes no proof along.

for my $uri (qw(/any_allowed /any_asked)) {
    my $response = prove($uri, $token, []);
    is($response->status(), 200, "$uri: passes");
    is(challenges($response), '', "$uri: without a challenge");
    for my $scheme (qw(DPoP Bearer Basic)) {
        my $response = prove($uri, $scheme eq 'Basic' ? 'YTpi' : $plain, [good('/elsewhere')], scheme => $scheme);
        my $request = ($api->requests())[$response->header('API-Request') - 1];
        is($api->header($request, 'DPoP'), undef, "$uri: no proof upstream with $scheme");
    }
}
is(challenges(prove('/any_asked', $token, [good('/any_asked')], scheme => 'Bearer')), '', 'neither of two challenges');

my $in_claims = token();
$as->script($in_claims, $as->json_answer({ active => JSON::PP::true, sub => 'alice', cnf => { jkt => jkt($es256) } }));
my $response = prove('/in_claims', $in_claims, [proof($es256, $in_claims, '/in_claims')]);
is($response->status(), 200, 'claims');
my $request = ($api->requests())[$response->header('API-Request') - 1];
is($api->header($request, $_), undef, "claims: no $_ upstream") for qw(Authorization DPoP);

# Mistakes of the configuration.

for (
    ['$host', qr/cannot contain variables/],
    ['api.example', qr/it is no URL/],
    ['ftp://api.example', qr/begins with "https:\/\/" or/],
    ['https://user:word@api.example', qr/a user cannot be part of it/],
    ['https://api.example/?a', qr/query/],
) {
    my ($base, $why) = @$_;
    my $error = $t->conf_fails(<<"FAULTY");
%%TEST_GLOBALS%%
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    server { listen 127.0.0.1:8080; phantom_token_dpop_base '$base'; }
}
FAULTY
    like($error, $why, "base $base");
    unlike($error, qr/word\@/, "base $base: no password");
}
