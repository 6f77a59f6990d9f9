#!/usr/bin/perl

# docs/migration.md: its configurations, word by word, and what it says of them. Replaced are the port, the names of
# the outside world and, since the scripted servers speak plain HTTP, https by http. Lua is not run.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use File::Find qw(find);
use JSON::PP;

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Shipped qw(ship);

my $t = Test::Nginx->new()->has(qw(http proxy auth_request))->plan(86);

# The configurations by the headings that they stand under, in order.

sub document {
    open my $handle, '<', '../docs/migration.md' or die "docs/migration.md: $!\n";
    my (%blocks, @path);

    while (my $line = <$handle>) {
        if ($line =~ /^(#+) (.*)$/) {
            @path = (@path[0 .. length($1) - 2], $2);
        } elsif ($line eq "```nginx\n") {
            my $block = '';
            while (($line = <$handle>) ne "```\n") { $block .= $line }
            push @{ $blocks{ join ' / ', @path[1 .. $#path] } }, $block;
        }
    }

    return %blocks;
}

my %blocks = document();
is_deeply({ map { $_ => scalar @{ $blocks{$_} } } keys %blocks }, {
    'From the C phantom-token module / The same configuration' => 3,
    'From the C phantom-token module / What it becomes' => 1,
    'From auth_request with proxy_cache' => 2,
    'From auth_request with proxy_cache / Two checkers of one token' => 1,
    'From Lua / lua-resty-openidc' => 2,
    'From Lua / A script with a shared dictionary' => 2,
}, 'the configurations of the document');

my ($load, $c_v2, $c_v1) = @{ $blocks{'From the C phantom-token module / The same configuration'} };
my ($c_after) = @{ $blocks{'From the C phantom-token module / What it becomes'} };
my ($auth_request, $auth_request_after) = @{ $blocks{'From auth_request with proxy_cache'} };
my ($two_kinds) = @{ $blocks{'From auth_request with proxy_cache / Two checkers of one token'} };
my $openidc_after = $blocks{'From Lua / lua-resty-openidc'}[1];
my $script_after = $blocks{'From Lua / A script with a shared dictionary'}[1];

my ($ours) = $load =~ /^(load_module \S+;) +# after$/m;
is(scalar(grep { /^\Q$ours\E$/m } $c_v2, $c_v1, $c_after, $auth_request_after, $two_kinds,
    $openidc_after, $script_after), 7,
    'all of ours load the module');
unlike(join('', map { $_->[0] } @blocks{grep { /Lua|auth_request/ && !/Two/ } keys %blocks}),
    qr/phantom_token_|load_module/,
    'what comes before does without it');

sub configuration {
    my ($block) = @_;

    $block =~ s/^load_module .*;\n//m;
    $block =~ s/^http \{$/http {\n%%TEST_GLOBALS_HTTP%%/m;
    $block =~ s/listen 80;/listen 127.0.0.1:8080;/;
    $block =~ s{https://api\.example\.com}{http://127.0.0.1:8082}g;
    $block =~ s{https://(?:as|token-service)\.example\.com/}{http://127.0.0.1:8081/}g;
    return "%%TEST_GLOBALS%%\ndaemon off;\n$block";
}

ship($t, 'as.example.com:443' => '127.0.0.1:' . port(8081), 'https://as.example.com' => 'http://as.example.com',
    REALM => 'demo');

my $as = authorization_server($t);
my $api = api($t);
my $started;

sub use_configuration {
    my ($block) = @_;
    $t->write_file_expand('nginx.conf', configuration($block));
    $started++ ? $t->reload() : $t->run();
    return;
}

# Whether any file beneath a directory of the test holds a text. NGINX's own debug log does.
sub on_disk {
    my ($directory, $text) = @_;
    my $found = 0;
    find({ no_chdir => 1, wanted => sub {
        return unless -f && !/error\.log$/;
        open my $file, '<:raw', $_ or die "$_: $!\n";
        local $/;
        $found ||= index(<$file>, $text) >= 0;
    } }, $t->testdir() . "/$directory");
    return $found;
}

my $client = 'Basic bXlfY2xpZW50X2lkOm15X2NsaWVudF9zZWNyZXQ=';
my $challenge = 'Bearer realm="myGoodAPI", scope="scope_a scope_b scope_c"';
my $max_age = ['Cache-Control' => 'max-age=300'];

# The C module's configuration, version 2.

use_configuration($c_v2);

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, headers => $max_age));
is(call('/api/things', $token)->status(), 200, 'C, version 2: a token');
is($api->authorization(), "Bearer $jwt", 'C, version 2: the JWT upstream');
my $question = $as->last_request($token);
is($question->{uri}, '/oauth/v2/oauth-introspect', 'C, version 2: path');
is($as->header($question, 'Authorization'), $client, 'C, version 2: credentials');
is($as->header($question, 'Accept'), 'application/jwt', 'C, version 2: Accept');
is($question->{body}, "token=$token", 'C, version 2: body');
is(call('/api/things', $token)->status(), 200, 'C, version 2: again');
is($as->questions($token), 1, 'C, version 2: one question');
ok(on_disk('cache', $token) && on_disk('cache', $jwt), 'C, version 2: proxy_cache stores token and JWT in files');

my $response = call('/api/things', undef, method => 'OPTIONS');
is($response->status(), 401, 'OPTIONS without a token');
$response = call('/api/things', undef, method => 'OPTIONS',
    headers => [Origin => 'https://app.example', 'Access-Control-Request-Method' => 'GET']);
is($response->status(), 204, 'a preflight');

$response = call('/api/things', undef);
is($response->status(), 401, 'no token');
is($response->header('WWW-Authenticate'), $challenge, 'no token: challenge');
like($response->header('Content-Type'), qr{^text/html}, 'no token: NGINX\'s page');
my $inactive = token();
$response = call('/api/things', $inactive);
is($response->status(), 401, 'an inactive token');
is($response->header('WWW-Authenticate'), "$challenge, error=\"invalid_token\"",
    'an inactive token: challenge');

my $questions = $as->count();
is(call('/api/things', 'a b')->status(), 401, 'a malformed token');
is(call("/api/things?access_token=$token", $token)->status(), 400, 'a token in two ways');
is(call('/api/things', undef, headers => [Authorization => "Basic x Bearer $token"])->status(), 401,
    'a token behind another scheme');
is($as->count(), $questions, 'none of them asked about');

my @answers = (
    ['{"active":false}', $as->inactive_answer(), 401],
    ['a login page', { type => 'text/html', body => '<html></html>' }, 502],
    ['401', { status => 401 }, 502],
    ['500', { status => 500 }, 502],
    ['503', { status => 503 }, 503],
    ['400', { status => 400 }, 502],
    ['400 unsupported_token_type', $as->json_answer({ error => 'unsupported_token_type' }, status => 400), 401],
    ['429', { status => 429, headers => ['Retry-After' => '7'] }, 503, '7'],
);

for my $case (@answers) {
    my ($name, $answer, $status, $retry_after) = @$case;
    my $fresh = token();
    $as->script($fresh, $answer);
    $response = call('/api/things', $fresh);
    is($response->status(), $status, "the server's $name");
    is($response->header('Retry-After'), $retry_after, "the server's $name: Retry-After");
}

# What nginx -t says where requests were let through.
like($t->conf_fails(configuration($c_v2 =~ s/^.*_endpoint .*\n//mr)) // 'accepted',
    qr/phantom_token_introspection_endpoint/, 'on without an endpoint');

# allow and deny come first.
use_configuration($c_v2 =~ s/phantom_token on;/phantom_token on; deny all;/r);
$questions = $as->count();
is(call('/api/things', token())->status(), 403, 'deny');
is($as->count(), $questions, 'deny: no question');

# Version 1.

use_configuration($c_v1);
($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, headers => $max_age));
is(call('/api/things', $token)->status(), 200, 'C, version 1: a token');
is($api->authorization(), "Bearer $jwt", 'C, version 1: the JWT upstream');
is($as->header($as->last_request($token), 'Authorization'), 'Basic Y2xpZW50X2lkOmNsaWVudF9zZWNyZXQ=',
    'C, version 1: credentials');

# What it becomes.

use_configuration($c_after);
($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt, headers => $max_age));
is(call('/api/things', $token)->status(), 200, 'C, after: a token');
is($api->authorization(), "Bearer $jwt", 'C, after: the JWT upstream');
is($as->last_request($token)->{uri}, '/oauth/v2/oauth-introspect', 'C, after: path');
is(call('/api/things', $token)->status(), 200, 'C, after: again');
is($as->questions($token), 1, 'C, after: one question');
ok(!on_disk('', $token) && !on_disk('', $jwt), 'C, after: neither token nor JWT is on disk');
$response = call('/api/things', undef);
is($response->header('WWW-Authenticate'), $challenge, 'C, after: challenge');
like($response->body(), qr/^\{"code":"unauthorized_request"/, 'C, after: JSON');

# auth_request, before: a service says yes with the JWT in a header, or no.

use_configuration($auth_request);
($token, $jwt) = (token(), jwt());
$as->script($token, { status => 200, headers => ['Phantom-Token' => $jwt] });
is(call('/api/things', $token)->status(), 200, 'auth_request: a token');
is($api->authorization(), "Bearer $jwt", 'auth_request: the JWT upstream');
is(call('/api/things', $token)->status(), 200, 'auth_request: again');
is($as->questions($token), 1, 'auth_request: one question');
my $down = token();
$as->script($down, { status => 503, headers => ['Retry-After' => '7'] });
is(call('/api/things', $down)->status(), 500, 'auth_request: an outage is a 500');
my $forgotten = token();
$as->script($forgotten, { status => 200 });
is(call('/api/things', $forgotten)->status(), 200, 'auth_request: a service that forgets the JWT');
is($api->authorization(), 'Bearer', 'auth_request: nothing but the scheme goes upstream');

use_configuration($auth_request_after);
($token, $jwt) = (token(), jwt());
$as->script($token, $as->json_answer({ active => JSON::PP::true, jwt => $jwt }));
is(call('/api/things', $token)->status(), 200, 'auth_request, after: a token');
is($api->authorization(), "Bearer $jwt", 'auth_request, after: the JWT upstream');
$response = call('/api/things', undef);
is($response->header('WWW-Authenticate'), 'Bearer realm="api"', 'auth_request, after: a challenge');
$down = token();
$as->script($down, { status => 503, headers => ['Retry-After' => '7'] });
is(call('/api/things', $down)->status(), 503, 'auth_request, after: an outage is a 503');
$forgotten = token();
$as->script($forgotten, $as->json_answer({ active => JSON::PP::true }));
is(call('/api/things', $forgotten)->status(), 502, 'auth_request, after: no JWT, no request');

# Another checker of the same token, beside the module: it never sees the token.

use_configuration($auth_request_after
    =~ s/phantom_token on;/phantom_token on; satisfy any; auth_request \/check;/r
    =~ s/(location \/api)/location = \/check { internal; proxy_pass http:\/\/127.0.0.1:8082\/check; }\n$1/r);
my $other = token();
$api->script('/check', { status => 401 });
is(call('/api/things', $other)->status(), 401, 'two checkers: a token that is the other one\'s');
my $check = $api->last_request();
is($check->{uri}, '/check', 'two checkers: the other one is asked');
is($api->header($check, 'Authorization'), undef, 'two checkers: without the token');

use_configuration($two_kinds);
($token, $jwt) = (token(), jwt());
$other = 'legacy_' . token();
$as->script($token, $as->json_answer({ active => JSON::PP::true, jwt => $jwt }));
$as->script('', { status => 200 }, { status => 401 });    # the other checker, which has no form
is(call('/api/things?a=b', $token)->status(), 200, 'two kinds: an opaque token');
is($api->authorization(), "Bearer $jwt", 'two kinds: the JWT upstream');
is($api->last_request()->{uri}, '/api/things?a=b', 'two kinds: the path');
is(call('/api/things', $other)->status(), 200, 'two kinds: a token of the other kind');
is($api->authorization(), "Bearer $other", 'two kinds: goes on as it is');
$check = $as->last_request('');
is($check->{uri} . ' ' . $as->header($check, 'Authorization'), "/check Bearer $other", 'two kinds: and was checked');
is(call('/api/things', $other)->status(), 401, 'two kinds: one that the other checker refuses');
is(call('/api/things', token())->status(), 401, 'two kinds: one that the server does not know');
is(call("/$_/things", $other)->status(), 404, "two kinds: /$_/ is not for clients") for qw(opaque legacy);

# Lua, after.

use_configuration($openidc_after);
$token = token();
$as->script($token, $as->json_answer({
    active => JSON::PP::true, sub => 'alice', client_id => 'app', scope => 'read write', exp => time + 300,
}));
is(call('/api/things', $token, headers => ['X-Subject' => 'mallory'])->status(), 200, 'lua-resty-openidc: a token');
is($api->header($api->last_request(), 'X-Subject'), 'alice', 'lua-resty-openidc: its subject');
is($api->header($api->last_request(), 'X-Client-Id'), 'app', 'lua-resty-openidc: its client');
is($api->header($api->last_request(), 'X-Scope'), 'read write', 'lua-resty-openidc: its scope');
is($api->authorization(), undef, 'lua-resty-openidc: no Authorization upstream');

use_configuration($script_after);
($token, $jwt) = ('a&b=' . token(), jwt());
is(call('/api/things', $token)->status(), 401, 'a script: what is no token');
$token = '+/' . token() . '==';
$as->script($token, $as->jwt_answer($jwt));
is(call('/api/things', $token)->status(), 200, 'a script: a token with characters of meaning');
is($api->authorization(), "Bearer $jwt", 'a script: the JWT upstream');
