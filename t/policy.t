#!/usr/bin/perl

# What a location requires of a token: scopes, audiences, and values that are not empty. Each location has its own
# answer from one verdict, whether it was asked for, kept, shared or is past its time, and whatever the answer was.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use JSON::PP;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;
use Test::PhantomToken::JWT;

my $t = Test::Nginx->new()->has(qw(http proxy map rewrite http_v2));

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

my $server = <<'SERVER';
        location / { proxy_pass http://127.0.0.1:8082; }
        location /scope { phantom_token_require_scope read write; proxy_pass http://127.0.0.1:8082; }
        location /admin { phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }
        location /hinted {
            phantom_token_scopes "openid";
            phantom_token_require_scope read admin write;
            proxy_pass http://127.0.0.1:8082;
        }
        location /odd { phantom_token_require_scope 'a$b#[]!' 'https://x/y?z={}'; proxy_pass http://127.0.0.1:8082; }
        location /audience { phantom_token_require_audience other api; proxy_pass http://127.0.0.1:8082; }
        location /elsewhere { phantom_token_require_audience "an other"; proxy_pass http://127.0.0.1:8082; }
        location /both {
            phantom_token_require_scope admin;
            phantom_token_require_audience other;
            proxy_pass http://127.0.0.1:8082;
        }
        location /require { phantom_token_require $is_alice $phantom_token_claim_scope; proxy_pass http://127.0.0.1:8082; }
        location /forbid { phantom_token_require $is_bob error=403; proxy_pass http://127.0.0.1:8082; }
        location /in_order {
            phantom_token_require $is_alice error=401;
            phantom_token_require $phantom_token_claim_number error=403;
            phantom_token_require "$is_bob$phantom_token_claim_sub";
            proxy_pass http://127.0.0.1:8082;
        }
        location /all {
            phantom_token_require_scope read;
            phantom_token_require_audience api;
            phantom_token_require $is_alice;
            proxy_pass http://127.0.0.1:8082;
        }
        location /early {
            if ($volatile_alice) { return 418; }
            phantom_token_require $volatile_alice;
            proxy_pass http://127.0.0.1:8082;
        }
        location /uncached { phantom_token_cache off; phantom_token_require_scope read; proxy_pass http://127.0.0.1:8082; }
        location /uncached_admin {
            phantom_token_cache off;
            phantom_token_require_scope admin;
            proxy_pass http://127.0.0.1:8082;
        }
        location /other_zone {
            phantom_token_cache two;
            phantom_token_require_scope read;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /barrier { phantom_token off; return 204; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
SERVER

$t->write_file_expand('nginx.conf',
    <<'CONF' =~ s/%%LISTEN%%/$listen/r =~ s/%%H2%%/$directive/r =~ s/%%SERVER%%/$server/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone one:1m;
    phantom_token_cache_zone two:1m;
    phantom_token_cache one;
    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Slug $phantom_token_error always;

    map $phantom_token_claim_sub $is_alice { alice 1; default 0; }
    map $phantom_token_claim_sub $is_bob { bob 1; default ""; }
    map $phantom_token_claim_sub $volatile_alice { volatile; alice 1; default 0; }

    server {
        listen 127.0.0.1:8080;
%%SERVER%%
    }
    server {
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%
%%SERVER%%
    }

    # Each kind of question.
    server {
        listen 127.0.0.1:8084;
        phantom_token_require_scope read write;
        phantom_token_require_audience api;
        phantom_token_require $is_alice;
        location / { proxy_pass http://127.0.0.1:8082; }
        location /claims {
            phantom_token_forward claims;
            phantom_token_envelope unverified;
            proxy_pass http://127.0.0.1:8082;
        }
        location /exchange { phantom_token_exchange /introspect; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # What a level says replaces what it would inherit, each directive by itself.
    server {
        listen 127.0.0.1:8085;
        phantom_token_require_scope admin;
        phantom_token_require_audience other;
        phantom_token_require $is_bob;
        location /inherits { proxy_pass http://127.0.0.1:8082; }
        location /scope { phantom_token_require_scope read; proxy_pass http://127.0.0.1:8082; }
        location /both {
            phantom_token_require_scope read;
            phantom_token_require_audience api;
            proxy_pass http://127.0.0.1:8082;
        }
        location /own {
            phantom_token_require_scope read;
            phantom_token_require_audience api;
            phantom_token_require $is_alice;
            proxy_pass http://127.0.0.1:8082;
            location /own/nested { phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }
        }
        location /off { phantom_token off; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # Past its time.
    server {
        listen 127.0.0.1:8086;
        phantom_token_cache_max_ttl 1ms;
        phantom_token_cache_use_stale 10m;
        location / { proxy_pass http://127.0.0.1:8082; }
        location /scope { phantom_token_require_scope read; proxy_pass http://127.0.0.1:8082; }
        location /admin { phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }
        location /elsewhere { phantom_token_require_audience other; proxy_pass http://127.0.0.1:8082; }
        location /forbid { phantom_token_require $is_bob error=403; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->plan(828);

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# A token with that answer.
sub known {
    my (@answers) = @_;
    my $token = token();
    $as->script($token, @answers);
    return $token;
}

# status slug
sub said {
    my ($response) = @_;
    return join ' ', $response->status(), grep { defined } $response->header('Slug');
}

# Locations, and what they make of a token with the scopes read and write for api, whose subject is alice.
my %REFUSED = (
    '/admin' => ['403 insufficient_scope', 'Bearer realm="api", scope="admin", error="insufficient_scope"'],
    '/hinted' =>
        ['403 insufficient_scope', 'Bearer realm="api", scope="read admin write", error="insufficient_scope"'],
    '/odd' => [
        '403 insufficient_scope',
        'Bearer realm="api", scope="a$b#[]! https://x/y?z={}", error="insufficient_scope"',
    ],
    '/elsewhere' => ['401 audience', 'Bearer realm="api", error="invalid_token"'],
    '/both' => ['401 audience', 'Bearer realm="api", scope="admin", error="invalid_token"'],
    '/forbid' => ['403 requirement', 'Bearer realm="api"'],
    '/in_order' => ['403 requirement', 'Bearer realm="api"'],
);
my @PASSES = qw(/ /scope /audience /require /all /early);

# Which scopes to ask for is said before there is a token: those that are named, or else those that are required.

my $unknown = known($as->json_answer({ active => JSON::PP::false }));
for (['/', ''], ['/scope', ', scope="read write"'], ['/admin', ', scope="admin"'], ['/hinted', ', scope="openid"']) {
    my ($uri, $scope) = @$_;
    is(http_request('GET', $uri)->header('WWW-Authenticate'), qq{Bearer realm="api"$scope}, "$uri, no credentials: scopes");
    is(call($uri, $unknown)->header('WWW-Authenticate'), qq{Bearer realm="api"$scope, error="invalid_token"},
        "$uri, inactive: scopes");
}

# Each status of the cache, over HTTP/1.1 and HTTP/2.

my $h2 = Test::Nginx::HTTP2->new(port => 8083);
my %call = (
    'HTTP/1.1' => sub { return call(@_) },
    'HTTP/2' => sub {
        my ($uri, $token) = @_;
        return $h2->call('GET', $uri, headers => [Authorization => "Bearer $token"]);
    },
);

for my $version (sort keys %call) {
    my $call = $call{$version};
    for my $uri (sort keys %REFUSED) {
        my $token = known($as->jwt_answer(jwt()));
        for my $status (qw(MISS HIT)) {
            my $before = $api->count();
            my $response = $call->($uri, $token);
            is(said($response), $REFUSED{$uri}[0], "$version, $uri, $status: refused");
            is($response->header('WWW-Authenticate'), $REFUSED{$uri}[1], "$version, $uri, $status: challenge");
            is($response->header('Cache-Status'), $status, "$version, $uri, $status");
            is($api->count(), $before, "$version, $uri, $status: not upstream");
        }
        is(said($call->('/', $token)), '200', "$version, $uri: no rule of another location");
        is($as->questions($token), 1, "$version, $uri: one question");
    }
    my ($token, $jwt) = (token(), jwt());
    $as->script($token, $as->jwt_answer($jwt));
    for my $uri (@PASSES) {
        my $response = $call->($uri, $token);
        is(said($response), '200', "$version, $uri: passes");
        is($response->header('Cache-Status'), $uri eq '/' ? 'MISS' : 'HIT', "$version, $uri: status");
        is($api->authorization($response), "Bearer $jwt", "$version, $uri: the JWT");
        my $first = known($as->jwt_answer($jwt));
        is(said($call->($uri, $first)), '200', "$version, $uri: passes the first time, too");
    }
    is($as->questions($token), 1, "$version: one question for all locations");
}

# Nothing of the token is checked by what is not asked for, and no token means no policy.

is(said(call('/admin', undef)), '401 no_credentials', 'no token');
is(said(call('/admin', known($as->inactive_answer()))), '401 inactive', 'inactive');
is(said(call('/admin', known($as->jwt_answer(jwt(claims => { exp => time - 1 }))))), '401 expired', 'expired');
is(said(call('/scope', known($as->jwt_answer(jwt(claims => { cnf => { jkt => 'x' } }))))), '401 binding',
    'a binding comes first');

# One question, shared by requests in locations with other rules.

my ($shared, $jwt) = (token(), jwt());
$as->script($shared, $as->jwt_answer($jwt, hold => 1));
my %waiting;
for my $uri ('/scope', '/admin', '/elsewhere', '/forbid', '/all') {
    $waiting{$uri} = http_connection()->request('GET', $uri, headers => [Authorization => "Bearer $shared"]);
    $as->wait_for_question($shared, 1);
}
# The worker takes up requests in the order in which they were sent: when it has answered these, all wait.
http_request('GET', '/barrier') for 1 .. 2;
$as->release($shared);
for my $uri (sort keys %waiting) {
    my $response = $waiting{$uri}->response();
    my $expected = $REFUSED{$uri} ? $REFUSED{$uri}[0] : '200';
    is(said($response), $expected, "$uri: waited");
    is($response->header('Cache-Status'), $uri eq '/scope' ? 'MISS' : 'WAIT', "$uri: waited for the first");
    is($api->authorization($response), "Bearer $jwt", "$uri: waited, the JWT") if $expected eq '200';
}
is($as->questions($shared), 1, 'waited: one question');

# Without a cache, and with another one, whose digests are made with another secret.

for my $uri ('/uncached', '/other_zone') {
    my $token = known($as->jwt_answer(jwt()));
    is(said(call($uri, $token)), '200', "$uri: passes") for 1 .. 2;
}
my $uncached = known($as->jwt_answer(jwt()));
is(said(call('/uncached_admin', $uncached)), '403 insufficient_scope', 'no cache: refused');

# Past its time, while the server cannot be asked.

my @stale = (port => 8086);
for my $case (
    ['/scope', '200'], ['/admin', '403 insufficient_scope'], ['/elsewhere', '401 audience'],
    ['/forbid', '403 requirement'],
) {
    my ($uri, $expected) = @$case;
    my $token = known($as->jwt_answer(jwt()), { status => 500 });
    call('/', $token, @stale);
    my $is_stale = sub { ($_[0]->header('Cache-Status') // '') eq 'STALE' };
    my $response = call_until($is_stale, $uri, $token, @stale);
    is(said($response), $expected, "$uri: stale");
    is($response->header('Cache-Status'), 'STALE', "$uri: stale, status");
}

# Whatever was asked, and whatever the answer was.

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my %good = (scope => 'write read', aud => 'api', sub => 'alice', exp => time + 300);
my %silent = map { $_ => undef } qw(scope aud);
my %json = map { $_ => $good{$_} } qw(scope aud);

# Claims of undef are not there.
sub claims { my ($claims) = @_; return { map { defined $claims->{$_} ? ($_ => $claims->{$_}) : () } keys %$claims } }

my @kinds = (
    ['a JWT', '/', sub { $as->jwt_answer(jwt(claims => { %good, %{ $_[0] } })) }],
    ['a JWT in JSON', '/', sub { $as->json_answer({ active => $true, jwt => jwt(claims => { %good, %{ $_[0] } }) }) }],
    ['claims in JSON', '/claims', sub { $as->json_answer(claims({ active => $true, %good, %{ $_[0] } })) }],
    ['claims in a JWT', '/claims', sub { $as->jwt_answer(jwt(claims => { %good, %{ $_[0] } })) }],
    ['an envelope', '/claims', sub {
        my $inside = claims({ active => $true, %good, %{ $_[0] } });
        $as->envelope_answer(Test::PhantomToken::JWT::envelope($inside, claims => { scope => 'read write' }));
    }],
    ['an exchange', '/exchange', sub { $as->exchange_answer(jwt(claims => { %good, %{ $_[0] } })) }],
);
my @changes = (
    [{}, '200'],
    [{ scope => [qw(read write more)] }, '200'],
    [{ scope => undef, scp => [qw(write read)] }, '200'],
    [{ scope => undef, scp => 'read write' }, '200'],
    [{ scope => 'read', scp => 'read write' }, '403 insufficient_scope'],
    [{ scope => 'read writer' }, '403 insufficient_scope'],
    [{ scope => 'READ WRITE' }, '403 insufficient_scope'],
    [{ scope => ['read write'] }, '403 insufficient_scope'],
    [{ scope => undef }, '403 insufficient_scope'],
    [{ scope => '' }, '403 insufficient_scope'],
    [{ scope => 7 }, '403 insufficient_scope'],
    [{ scope => [qw(read write), 7] }, '403 insufficient_scope'],
    [{ scope => { read => 1, write => 1 } }, '403 insufficient_scope'],
    [{ aud => [qw(other api)] }, '200'],
    [{ aud => [] }, '401 audience'],
    [{ aud => undef }, '401 audience'],
    [{ aud => 'other api' }, '401 audience'],
    [{ aud => ['api', 7] }, '401 audience'],
    [{ aud => 7 }, '401 audience'],
    [{ sub => 'bob' }, '401 requirement'],
    [{ sub => undef }, '401 requirement'],
    [{ scope => join ' ', map({ "s$_" } 1 .. 62), 'read', 'write' }, '200'],
    [{ scope => join ' ', map({ "s$_" } 1 .. 63), 'read', 'write' }, '403 insufficient_scope'],
    [{ aud => [map({ "a$_" } 1 .. 64), 'api'] }, '401 audience'],
);

for my $kind (@kinds) {
    my ($name, $uri, $answer) = @$kind;
    for my $change (@changes) {
        my ($claims, $expected) = @$change;
        my $case = "$name, " . substr JSON::PP->new->canonical->encode($claims), 0, 60;
        my $token = known($answer->($claims));
        for my $status (qw(MISS HIT)) {
            my $response = call($uri, $token, port => 8084);
            is(said($response), $expected, "$case, $status");
            is($response->header('Cache-Status'), $status, "$case, $status: status");
        }
    }
}

# A claim that is there twice names nobody.
my $twice = '{"active":true,"scope":"read write","aud":"api","sub":"alice","scope":"read write"}';
is(said(call('/claims', known($as->json_answer($twice)), port => 8084)), '403 insufficient_scope', 'scope twice');

# Where a JWT is silent, the JSON that it came in speaks; a token endpoint says the scope alone.

my $silent = jwt(claims => \%silent);
is(said(call('/', known($as->json_answer({ active => $true, jwt => $silent, %json })), port => 8084)), '200',
    'scope and audience of the JSON around a JWT');
my $other = jwt(claims => { %good, scope => 'read' });
is(said(call('/', known($as->json_answer({ active => $true, jwt => $other, %json })), port => 8084)),
    '403 insufficient_scope', 'what the JWT says counts more');
my $scopeless = jwt(claims => { %good, scope => undef });
is(said(call('/exchange', known($as->exchange_answer($scopeless, { scope => 'read write' })), port => 8084)),
    '200', 'the scope of a token endpoint');
is(said(call('/exchange', known($as->exchange_answer($silent, { scope => 'read write', aud => 'api' })),
    port => 8084)), '401 audience', 'and nothing else of it');

# Values.

my %number = (1 => '200', 'yes' => '200', '00' => '200', '' => '403 requirement', 0 => '403 requirement',
    '0.0' => '200');
for my $number (sort keys %number) {
    my $token = known($as->jwt_answer(jwt(claims => { number => $number })));
    is(said(call('/in_order', $token)), $number{$number}, "the value '$number'");
}
is(said(call('/in_order', known($as->jwt_answer(jwt(claims => { number => 0 + 0 }))))), '403 requirement', 'a number');
is(said(call('/in_order', known($as->jwt_answer(jwt(claims => { sub => 'bob', number => 0 }))))), '401 requirement',
    'the first that is not met counts');
is(said(call('/forbid', known($as->jwt_answer(jwt(claims => { sub => 'bob' }))))), '200', 'error=403, met');

# Inheritance.

my $inherited = known($as->jwt_answer(jwt()));
for my $case (
    ['/inherits', '401 audience'], ['/scope', '401 audience'], ['/both', '401 requirement'], ['/own', '200'],
    ['/own/nested', '403 insufficient_scope'], ['/off', '200'],
) {
    my ($uri, $expected) = @$case;
    is(said(call($uri, $inherited, port => 8085)), $expected, "$uri: inheritance");
}

# The log: one line for each refusal, at info.

my $log = $t->read_file('error.log');
for my $line (
    'insufficient_scope, request refused with 403, location "/admin"',
    'audience, request refused with 401, location "/elsewhere"',
    'requirement, request refused with 403, location "/forbid"',
    'requirement, request refused with 401, location "/in_order"',
) {
    like($log, qr/\[info\] .*phantom_token: \Q$line\E, fingerprint [0-9a-f]{8}/, "the log: $line");
}
