#!/usr/bin/perl

# `phantom_token_jwks uri`: keys are fetched once for all who need them, kept while they are good, fetched again before
# they are too old and when a JWT has an unknown `kid`, and the last good ones go on while the server gives no others.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use MIME::Base64 qw(encode_base64url);
use Time::HiRes qw(sleep time);

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::Nginx::Timeout qw($TIMEOUT);
use Test::PhantomToken;
use Test::PhantomToken::Keys;

# The server of the keys: scripts go by the path.
package Test::Jwks {
    use parent -norequire, 'Test::PhantomToken::Peer';
    sub key { my ($class, $request) = @_; return $request->{uri} }
    sub default { return { status => 404 } }
}

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy http_v2));
my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

my %key = map { $_ => Test::PhantomToken::Keys->new($t, 'ES256') } qw(old new stranger nameless twin);

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr);
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events { worker_connections 1024; }
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway hunter2;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Worker $pid always;

    server {
        listen 127.0.0.1:8080;

        location /bad/ { phantom_token_jwks /jwks/bad; proxy_pass http://127.0.0.1:8082; }
        location /first/ {
            phantom_token_jwks /jwks/first?tenant=one;
            phantom_token_lock_timeout 1m;
            proxy_pass http://127.0.0.1:8082;

            location /first/within { proxy_pass http://127.0.0.1:8082; }
        }
        location /same/ { phantom_token_jwks /jwks/first?tenant=one; proxy_pass http://127.0.0.1:8082; }
        location /twins/ {
            phantom_token_jwks /jwks/twins;
            proxy_pass http://127.0.0.1:8082;

            location /twins/presented { phantom_token_accept_jwt verify; phantom_token_issuer https://as.example; phantom_token_audience api; proxy_pass http://127.0.0.1:8082; }
        }
        location /unusable/ { phantom_token_jwks /jwks/unusable; proxy_pass http://127.0.0.1:8082; }
        location /gone/ { phantom_token_jwks /jwks/gone; proxy_pass http://127.0.0.1:8082; }
        location /rotated/ { phantom_token_jwks /jwks/rotated; proxy_pass http://127.0.0.1:8082; }
        location /nameless/ { phantom_token_jwks /jwks/nameless; proxy_pass http://127.0.0.1:8082; }
        location /aging/ { phantom_token_jwks /jwks/aging; proxy_pass http://127.0.0.1:8082; }
        location /down/ { phantom_token_jwks /jwks/down; proxy_pass http://127.0.0.1:8082; }
        location /off/ { phantom_token_cache off; phantom_token_jwks /jwks/off; proxy_pass http://127.0.0.1:8082; }
        location /small/ { phantom_token_max_response 1k; phantom_token_jwks /jwks/large; proxy_pass http://127.0.0.1:8082; }
        location /alone/ { phantom_token_jwks /static; proxy_pass http://127.0.0.1:8082; }
        location /hung/ { phantom_token_lock_timeout 300ms; phantom_token_jwks /jwks/hung; proxy_pass http://127.0.0.1:8082; }
        # Who asks for the keys here is waited for as long as it takes; each of those at /hung/ waits for 300 ms.
        location /asks_hung/ { phantom_token_lock_timeout 1m; phantom_token_jwks /jwks/hung; proxy_pass http://127.0.0.1:8082; }
        location /presented/ {
            phantom_token_accept_jwt verify;
            phantom_token_issuer https://as.example;
            phantom_token_audience api;
            phantom_token_jwks /jwks/presented;
            proxy_pass http://127.0.0.1:8082;

            location /presented/unnamed { phantom_token_jwks /jwks/unnamed; proxy_pass http://127.0.0.1:8082; }
            location /presented/unnamed_down { phantom_token_jwks /jwks/unnamed_down; proxy_pass http://127.0.0.1:8082; }
        }
        location = /free { phantom_token off; return 204; }

        location /jwks/ { internal; proxy_pass http://127.0.0.1:8083; }
        location = /static { internal; return 200 '{"keys":[]}'; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # The same URI in another block.
    server {
        listen 127.0.0.1:8084;

        location /first/ { phantom_token_jwks /jwks/first?tenant=one; proxy_pass http://127.0.0.1:8082; }
        location /jwks/ { internal; proxy_pass http://127.0.0.1:8083/other/; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # The client goes away, and a location without keys is next.
    server {
        listen 127.0.0.1:8085%%LISTEN%%;
        listen 127.0.0.1:8086;
        %%H2%%
        post_action /done;

        location /moved/ { phantom_token_jwks /jwks/moved; proxy_pass http://127.0.0.1:8082; }
        location = /done { internal; post_action ""; proxy_pass http://127.0.0.1:8082; }
        location /jwks/ { internal; proxy_pass http://127.0.0.1:8083; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
my $jwks = Test::Jwks->start($t, 8083);

my %jwk = map { $_ => $key{$_}->jwk($_ eq 'nameless' ? () : (kid => $_)) } keys %key;
my $other = Test::PhantomToken::Keys->new($t, 'ES256');
my %jwt = map { $_ => $key{$_}->jwt($_ eq 'nameless' ? () : (header => { kid => $_ })) } keys %key;
$jwt{other} = $other->jwt();

# An answer with these keys.
sub keys_answer {
    my ($names, %fields) = @_;
    return { type => 'application/jwk-set+json', body => Test::PhantomToken::Keys::set(map { $jwk{$_} } @$names), %fields };
}

# A new token whose JWT is by that key.
sub signed_by {
    my ($name, %fields) = @_;
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt{$name}, %fields));
    return $token;
}

sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

# Sends a request without waiting for its response.
sub start {
    my ($uri, $token, @headers) = @_;
    return http_connection()->request('GET', $uri, headers => [Authorization => "Bearer $token", Connection => 'close', @headers]);
}

sub responses { return map { my $response = $_->response(); $_->close(); $response } @_ }

# The outcomes with their numbers.
sub outcomes {
    my %count;
    $count{ outcome($_) }++ for @_;
    return join ', ', map { "$count{$_} x $_" } sort keys %count;
}

# Polls with new tokens until the condition holds; an interval is 10 s, the shortest life of keys 20 s. Returns all responses.
sub poll {
    my ($condition, $uri, $name) = @_;
    my $deadline = time() + 3 * $TIMEOUT;
    my @responses;
    until ($condition->($responses[-1]) || time() > $deadline) {
        push @responses, call($uri, signed_by($name));
        sleep 0.1;
    }
    return @responses;
}

# A JWT by that key which a client presents.
sub presented {
    my ($name, %args) = @_;
    my %claims = (iss => 'https://as.example', aud => 'api', exp => time + 600);
    return $key{$name}->jwt(header => { kid => $name }, claims => \%claims, %args);
}

my @bad = (
    ['HTML', { type => 'text/html', body => '<html>' }, '502', 'server_bad_answer', 'answered 200 with text/html'],
    ['no body', { type => 'application/json', body => '' }, '502', 'server_bad_answer', 'it is empty'],
    ['no keys', { type => 'application/json', body => '{"keys":[]}' }, '502', 'server_bad_answer', '"keys" is empty'],
    ['a JWT', { type => 'application/jwt', body => $jwt{old} }, '502', 'server_bad_answer', 'with application/jwt'],
    ['compressed', keys_answer(['old'], gzip => 1), '502', 'server_bad_answer', 'is compressed'],
    ['500', keys_answer(['old'], status => 500), '502', 'server_unreachable', 'answered 500'],
    ['404', keys_answer(['old'], status => 404), '502', 'server_refused_us', 'answered 404'],
    ['503', keys_answer(['old'], status => 503, headers => ['Retry-After' => 7]), '503', 'server_busy', 'answered 503'],
    ['a redirect', keys_answer(['old'], status => 302, headers => [Location => 'http://127.0.0.1:8083/jwks/first']),
        '502', 'server_bad_answer', 'answered 302'],
    ['too large', keys_answer(['old'], body => ' ' x (256 * 1024 + 1)), '502', 'server_bad_answer', 'more than 256 KiB'],
    ['cut off', keys_answer(['old'], truncate => 40), '502', 'server_unreachable', 'no complete answer'],
    ['nothing', { hang_up => 1 }, '502', 'server_unreachable', 'no complete answer'],
);

$t->plan(6 * @bad + 102);
$t->run();

# No keys: nobody is asked about the token, and nothing passes.

$jwks->script('/jwks/bad', (map { $_->[1] } @bad), keys_answer(['old']));
for my $case (@bad) {
    my ($name, undef, $status, $slug, $text) = @$case;
    my $token = signed_by('old');
    $t->new_module_lines();
    my $response = call('/bad/', $token);
    is($response->status() . ' ' . $response->header('Slug'), "$status $slug", "$name: refused");
    is($response->header('WWW-Authenticate'), undef, "$name: no challenge");
    is($response->header('Retry-After'), $status eq '503' ? '7' : undef, "$name: Retry-After");
    my @lines = grep { /\[error\].*: $slug, no keys: .*\Q$text\E.*location "[^"]+", endpoint "\/jwks\/bad", server ""/ } $t->new_module_lines();
    is(scalar(@lines), 1, "$name: the log says why");
    is($as->questions($token), 0, "$name: the token is not asked about");
    is($api->count(), 0, "$name: nothing goes upstream");
}
is(outcome(call('/bad/', signed_by('old'))), '200 MISS', 'keys at last');
is($jwks->count('/jwks/bad'), @bad + 1, 'each was asked for once');

$t->new_module_lines();
is(call('/alone/', signed_by('old'))->status(), 502, 'a location that asks nobody');
like(join("", $t->new_module_lines()), qr/answered 200 with text\/plain/, "and what the log says");

# Keys of 20 s, the shortest life; what becomes of them is seen at the end.

$jwks->script('/jwks/hung', keys_answer(['old'], headers => ['Cache-Control' => 'max-age=1']), keys_answer(['old'], hold => 1));
is(outcome(call('/hung/', signed_by('old'))), '200 MISS', 'keys of a short life');
my $short_life = time() + 20;

# One fetch for many tokens in two workers. Nothing of the clients' is in it.

$jwks->script('/jwks/first?tenant=one', keys_answer(['old'], hold => 1));
my @tokens = map { signed_by('old') } 1 .. 40;
my @requests = start('/first/a?secret=1', $tokens[0], Cookie => 'session=mine', 'X-Client' => 'mine', Range => 'bytes=0-1');
$jwks->wait_for('/jwks/first?tenant=one', 1);
push @requests, map { start('/first/', $_) } @tokens[1 .. $#tokens];
my %workers = map { http_request('GET', '/free')->header('Worker') => 1 } 1 .. 200;
is(scalar(keys %workers), 2, 'two workers');
is(scalar(grep { $as->questions($_) } @tokens), 0, 'no token is asked about before the keys are there');
$jwks->release('/jwks/first?tenant=one');
my @responses = responses(@requests);
is(scalar(grep { $_->status() == 200 } @responses), 40, 'all pass');
is(scalar(grep { $as->questions($_) == 1 } @tokens), 40, 'each token is asked about once');
is($jwks->count('/jwks/first?tenant=one'), 1, 'the keys are fetched once');

my ($fetch) = $jwks->requests('/jwks/first?tenant=one');
is($fetch->{method}, 'GET', 'a GET');
is($fetch->{body}, '', 'without a body');
is(scalar($jwks->header($fetch, 'Accept')), 'application/jwk-set+json, application/json', 'which says what it accepts');
is(join(' ', sort map { lc $_->[0] } @{ $fetch->{headers} }), sent($t, qw(accept host)), 'and nothing else: no credentials');

is(outcome(call('/first/', $tokens[0])), '200 HIT', 'a hit');
is(outcome(call('/first/within', signed_by('old'))), '200 MISS', 'a location within');
is(outcome(call('/same/', signed_by('old'))), '200 MISS', 'another location with the same URI');
is($jwks->count('/jwks/first?tenant=one'), 1, 'have the same keys');
is(outcome(call('/first/', signed_by('stranger'))), '502 MISS server_bad_answer', 'another key is refused');

$jwks->script('/other/first?tenant=one', keys_answer(['stranger']));
is(outcome(call('/first/', $tokens[0], port => 8084)), '502 MISS server_bad_answer', 'another server block has keys of its own');
is(outcome(call('/first/', signed_by('stranger'), port => 8084)), '200 MISS', 'namely these');

# Two keys of one kid, as in the middle of a rotation: each verifies.

$jwks->script('/jwks/twins', keys_answer([], body => Test::PhantomToken::Keys::set($jwk{old}, { %{ $jwk{twin} }, kid => 'old' })));
$jwt{twin} = $key{twin}->jwt(header => { kid => 'old' });
$jwt{impostor} = $key{stranger}->jwt(header => { kid => 'old' });
is(outcome(call('/twins/', signed_by('old'))), '200 MISS', 'two keys of one kid: the first');
is(outcome(call('/twins/', signed_by('twin'))), '200 MISS', 'two keys of one kid: the second');
is(outcome(call('/twins/', signed_by('impostor'))), '502 MISS server_bad_answer', 'two keys of one kid: none of them');
is(outcome(call('/twins/presented', presented($_, header => { kid => 'old' }))), '200 MISS', "$_, presented") for qw(old twin);
is(outcome(call('/twins/presented', presented('stranger', header => { kid => 'old' }))), '401 MISS signature', 'none of them, presented');

# Keys that cannot be used: the log says so once for a set, and why of a JWT that names one.

my @unusable = ({ kty => 'RSA', kid => 'short', n => encode_base64url("\xff" x 128), e => 'AQAB' }, { %{ $jwk{new} }, d => 'hidden-secret' },
    { %{ $jwk{stranger} }, kid => 'enc', use => 'enc' });
sub unusable_answer {
    return keys_answer([], body => Test::PhantomToken::Keys::set(@_), headers => ['Cache-Control' => 'max-age=1']);
}
$jwks->script('/jwks/unusable', unusable_answer($jwk{old}, @unusable), unusable_answer($jwk{old}, @unusable, $jwk{stranger}));
$t->secrets('hidden-secret');
$t->new_module_lines();
is(outcome(call('/unusable/', signed_by('old'))), '200 MISS', 'a key that can be used beside others that cannot');
my @told = grep { /not all of the server's keys are used/ } $t->new_module_lines();
is(scalar(@told), 1, 'the log says that these are not used');
like($told[0] // '', qr{\[warn\].* used: key 2 \("kid" short\) has 1024 bits.*; key 3 \("kid" new\) is a private key[^;]*, endpoint "/jwks/unusable"},
    'and why');
for (['short', 'it has 1024 bits'], ['new', 'it is a private key'], ['enc', 'it is not for signatures']) {
    my ($kid, $why) = @$_;
    $jwt{unusable} = $key{stranger}->jwt(header => { kid => $kid });
    $t->new_module_lines();
    is(outcome(call('/unusable/', signed_by('unusable'))), '502 MISS server_bad_answer', "$kid: refused");
    is(scalar(grep { /its "kid" names a key that cannot be used: \Q$why\E/ } $t->new_module_lines()), 1, "$kid: the log says why");
}

# A set that is larger than answers may be, and no zone.

$jwks->script('/jwks/large', keys_answer(['old'], headers => ['X-Padding' => 'x'], body =>
    Test::PhantomToken::Keys::set({ %{ $jwk{old} }, x5c => ['x' x 200_000] })));
is(call('/small/', signed_by('old'))->status(), 200, 'a large set');
$jwks->script('/jwks/off', keys_answer(['old']));
is(outcomes(map { call('/off/', signed_by('old')) } 1 .. 20), '20 x 200 BYPASS', 'without a zone');
cmp_ok($jwks->count('/jwks/off'), '<=', 2, 'each worker fetches its keys once');

# Clients that go away while the keys are fetched.

$jwks->script('/jwks/gone', keys_answer(['old'], hold => 1));
my $gone = start('/gone/', signed_by('old'));
$jwks->wait_for('/jwks/gone', 1);
@requests = map { start('/gone/', signed_by('old')) } 1 .. 10;
http_request('GET', '/free') for 1 .. 20;
$_->abort() for $gone, splice @requests, 0, 5;
http_request('GET', '/free') for 1 .. 20;
$jwks->release('/jwks/gone');
is(scalar(grep { $_->status() == 200 } responses(@requests)), 5, 'those that stay are served');
is($jwks->count('/jwks/gone'), 1, 'by the fetch that was under way');

# Clients over HTTP/2 that go away, where there is a post_action to a location without keys.

$jwks->script('/jwks/moved', keys_answer(['old'], hold => 1));
my ($moved, $forged) = (signed_by('old'), signed_by('other', hold => 1));
my $h2 = Test::Nginx::HTTP2->new(port => 8085);
my $stream = $h2->request('GET', '/moved/', headers => [Authorization => "Bearer $moved"]);
$jwks->wait_for('/jwks/moved', 1);
$h2->reset($stream);
$h2->ping();
$jwks->release('/jwks/moved');
is(call('/moved/', $moved, port => 8086)->status(), 200, 'the keys of a client that is gone count');
is($jwks->count('/jwks/moved'), 1, 'and were fetched once');
$stream = $h2->request('GET', '/moved/', headers => [Authorization => "Bearer $forged"]);
$as->wait_for_question($forged, 1);
$h2->reset($stream);
$h2->ping();
$as->release($forged);
$as->script($forged, $as->jwt_answer($jwt{other}));
like(outcome(call('/moved/', $forged, port => 8086)), qr/^502 \w+ server_bad_answer$/, 'and what they do not verify is not kept');

# From here on time passes: all sets are fetched now.

$jwks->script('/jwks/rotated', keys_answer(['old']), keys_answer(['new', 'old']));
$jwks->script('/jwks/nameless', keys_answer(['nameless']), keys_answer(['nameless', 'stranger']));
$jwks->script('/jwks/aging', keys_answer(['old'], headers => ['Cache-Control' => 'max-age=1']),
    keys_answer(['new'], hold => 1, headers => ['Cache-Control' => 'max-age=1']), keys_answer(['new']));
$jwks->script('/jwks/down', keys_answer(['old'], headers => ['Cache-Control' => 'max-age=10']),
    { status => 500 }, { type => 'text/html', body => '<html>' }, keys_answer(['new']));
$jwks->script('/jwks/unnamed', keys_answer(['nameless']), keys_answer([], body =>
    Test::PhantomToken::Keys::set($key{new}->jwk(), $jwk{nameless})));
$jwks->script('/jwks/unnamed_down', keys_answer(['nameless']), { status => 500 });
my @unnamed = map { presented($_, header => {}) } qw(nameless new nameless stranger);
is(outcome(call("/presented/$_", $unnamed[0])), '200 MISS', "/$_: the first keys") for qw(unnamed unnamed_down);
is(outcome(call('/presented/unnamed', $unnamed[1])), '401 MISS signature', 'a key without a name, just after the fetch');
my $rotated = signed_by('old');
is(outcome(call('/rotated/', $rotated)), '200 MISS', 'before the rotation');
is(outcome(call("/$_/", signed_by($_ eq 'nameless' ? 'nameless' : 'old'))), '200 MISS', "/$_: the first keys") for qw(nameless aging down);

# A new kid, just after the keys were fetched: not again so soon.

$t->new_module_lines();
my $new = signed_by('new');
is(outcome(call('/rotated/', $new)), '502 MISS server_bad_answer', 'a new kid, just after the fetch');
is($as->questions($new), 1, 'the token is asked about once');
is(scalar(grep { /its "kid" is that of no key/ } $t->new_module_lines()), 1, 'the log says why');
is($jwks->count('/jwks/rotated'), 1, 'and the keys are not fetched again');

# Half of a life is over: fetched again in the background, while the old keys are used.

@responses = poll(sub { $jwks->count('/jwks/aging') == 2 }, '/aging/', 'old');
is($jwks->count('/jwks/aging'), 2, 'keys that age are fetched again');
is(outcomes(@responses), @responses . ' x 200 MISS', 'and all requests passed meanwhile');
is(outcomes(map { call('/aging/', signed_by('old')) } 1 .. 10), '10 x 200 MISS', 'while the answer is held back, too');
is($jwks->count('/jwks/aging'), 2, 'nobody else fetches them');
$jwks->release('/jwks/aging');
@responses = poll(sub { $_[0] && $_[0]->status() == 200 }, '/aging/', 'new');
is(outcome($responses[-1]), '200 MISS', 'the new keys are used');

# The server is down: the last good keys go on, past their life, too.

my $begun = time();
@responses = poll(sub { $jwks->count('/jwks/down') == 3 }, '/down/', 'old');
is($jwks->count('/jwks/down'), 3, 'keys that cannot be fetched are asked for again');
is(outcomes(@responses), @responses . ' x 200 MISS', 'and the last good ones are used, past their life');
my @lines = grep { /no keys:.*last good keys are used/ } split /^/, $t->read_file('error.log');
cmp_ok(scalar(@lines), '>=', 1, 'the log says so');
cmp_ok(scalar(@lines), '<=', 2, 'once for each worker');

# By now an interval has passed. One fetch for many JWTs with a kid that is not known.

@tokens = map { signed_by('new') } 1 .. 20;
@responses = responses(map { start('/rotated/', $_) } @tokens);
is(scalar(grep { $_->status() == 200 } @responses), 20, 'new kids: the keys are fetched again, and all pass');
is($jwks->count('/jwks/rotated'), 2, 'in one fetch');
is(outcome(call('/rotated/', $new)), '200 MISS', 'the one that was refused passes');
is(outcome(call('/rotated/', $rotated)), '200 HIT', 'what the old keys have verified is kept');

@responses = responses(map { start('/rotated/', signed_by('stranger')) } 1 .. 20);
is(outcomes(@responses), '20 x 502 MISS server_bad_answer', 'a flood of kids that nobody knows');
is($jwks->count('/jwks/rotated'), 2, 'causes no fetch so soon');

is(outcome(call('/nameless/', signed_by('stranger'))), '200 MISS', 'a kid that is new where keys had none');
is($jwks->count('/jwks/nameless'), 2, 'by one fetch');

# The zone keeps the keys over a reload.

$jwks->script('/jwks/first?tenant=one', { status => 500 });
$t->reload();
is(outcome(call('/first/', signed_by('old'))), '200 MISS', 'a reload keeps the keys');
is($jwks->count('/jwks/first?tenant=one'), 1, 'without a fetch');

@responses = poll(sub { $jwks->count('/jwks/down') == 4 }, '/down/', 'old');
@responses = poll(sub { $_[0] && $_[0]->status() == 200 }, '/down/', 'new');
is(outcome($responses[-1]), '200 MISS', 'the server is there again');

@responses = poll(sub { $jwks->count('/jwks/rotated') == 3 }, '/rotated/', 'stranger');
is(outcomes(@responses), @responses . ' x 502 MISS server_bad_answer', 'kids that nobody knows');
is($jwks->count('/jwks/rotated'), 3, 'cause one fetch per interval');

# The same keys are not used in the next set: of that the log has told.

@responses = poll(sub { $_[0] && $_[0]->status() == 200 }, '/unusable/', 'stranger');
is(outcome($responses[-1]), '200 MISS', 'a new set with the same unusable keys');
is(scalar(grep { /not all of the server's keys are used/ } split /^/, $t->read_file('error.log')), 1, 'causes no other line');

# None of the clients' tokens has reached the server of the keys.

is(scalar(grep { $_->{head} =~ /Bearer|Basic|mine|secret/ || length $_->{body} } $jwks->requests()), 0, 'nothing of the clients\'');

# JWTs that clients present: verified by keys that are fetched first, and nobody is asked about them.

my $asked = $as->count();
my @presented = map { presented('old') } 1 .. 2;
$jwks->script('/jwks/presented', keys_answer([], status => 500), keys_answer(['old'], hold => 1), keys_answer(['old', 'new']),
    { status => 500 });
is(outcome(call('/presented/', $presented[0])), '502 MISS server_unreachable', 'no keys: that is no fault of the JWT');
@requests = map { start('/presented/', $_) } @presented;
$jwks->wait_for('/jwks/presented', 2);
$jwks->release('/jwks/presented');
is(outcomes(responses(@requests)), '2 x 200 MISS', 'who waits for the keys is verified then');
is($api->authorization(call('/presented/', $_)), "Bearer $_", 'the JWT goes upstream') for @presented;
is(outcome(call('/presented/', $presented[0])), '200 HIT', 'and is kept');
is($jwks->count('/jwks/presented'), 2, 'the keys were asked for once');

my $later = presented('new');
is(outcome(call('/presented/', $later)), '401 MISS signature', 'a newer key: looked for once in a while');
my $deadline = time() + 3 * $TIMEOUT;
my $response = call('/presented/', $later);
until ($response->status() == 200 || time() > $deadline) {
    sleep 0.1;
    $response = call('/presented/', $later);
}
is(outcome($response), '200 MISS', 'a newer key: found');
is($jwks->count('/jwks/presented'), 3, 'by one question');
is(outcome(call('/presented/', presented('stranger'))), '401 MISS signature', 'a key that is none');
is($jwks->count('/jwks/presented'), 3, 'is not looked for again at once');
is($as->count(), $asked, 'nobody was asked about a JWT');

$deadline = time() + 3 * $TIMEOUT;
until ($jwks->count('/jwks/presented') == 4 || time() > $deadline) {
    sleep 0.1;
    $response = call('/presented/', presented('stranger'));
}
is(outcome($response), '502 MISS server_unreachable', 'whether there is such a key cannot be told now');

# A JWT that names no key may be by one of now as well.

is(outcome(call('/presented/unnamed', $unnamed[1])), '200 MISS', 'a key without a name: looked for');
is($jwks->count('/jwks/unnamed'), 2, 'by one question');
is(outcome(call('/presented/unnamed', $unnamed[2])), '200 MISS', 'the earlier key');
is(outcome(call('/presented/unnamed', $unnamed[3])), '401 MISS signature', 'a key that is none');
is($jwks->count('/jwks/unnamed'), 2, 'is not looked for again at once');
is(outcome(call('/presented/unnamed_down', $unnamed[3])), '502 MISS server_unreachable', 'a key that may be one');
is(outcome(call('/presented/unnamed_down', $unnamed[2])), '200 MISS', 'and one that is');

# A server that is silent: who waits for its keys goes on with the last good ones.

sleep 0.1 until time() > $short_life;
my $asking = start('/asks_hung/', signed_by('old'));
$jwks->wait_for('/jwks/hung', 2);
is(outcome(call('/hung/', signed_by('old'))), '200 MISS', 'old keys, and a server that is silent');
$jwks->release('/jwks/hung');
is(outcome(responses($asking)), '200 MISS', 'who asks goes on when there is an answer');
