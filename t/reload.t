#!/usr/bin/perl

# Two workers share the cache; it outlives a reload and a worker that is killed.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use MIME::Base64 qw(encode_base64);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(35);

my $conf = <<'CONF';
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone tokens:1m;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway file=secret;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Worker $pid always;

    server {
        listen 127.0.0.1:8080 reuseport;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->write_file('secret', "old-secret\n");
$t->secrets('old-secret', 'new-secret');
$t->write_file_expand('nginx.conf', $conf);

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# Calls on connections of their own, which the kernel spreads over the workers, until each of them has served
# once: { cache status => count }, and the workers.
sub spread {
    my ($token, $workers) = @_;

    my (%statuses, %seen);

    for (1 .. 500) {
        my $response = call('/', $token);
        $statuses{ $response->header('Cache-Status') }++;
        $seen{ $response->header('Worker') }++;
        last if keys %seen == $workers;
    }

    return (\%statuses, \%seen);
}

sub reload {
    my ($text) = @_;
    $t->write_file_expand('nginx.conf', $text // $conf);
    return $t->reload()->wait_old_workers();
}

# Two workers.

my ($token, $jwt, $gone) = (token(), jwt(), token());
$as->script($token, $as->jwt_answer($jwt));

my ($statuses, $workers) = spread($token, 2);
is(scalar(keys %$workers), 2, 'two workers');
is($statuses->{MISS}, 1, 'one asks');
is($statuses->{HIT} >= 1, 1, 'and both know');
is($as->questions($token), 1, 'one question');
is(call('/', $gone)->status(), 401, 'an inactive token');
is((spread($gone, 2))[0]{MISS}, undef, 'is known to both');

# Reload.

reload();
($statuses, my $new_workers) = spread($token, 2);
is(scalar(grep { $workers->{$_} } keys %$new_workers), 0, 'new workers');
is_deeply([keys %$statuses], ['HIT'], 'the cache outlives a reload');
is($api->authorization(), "Bearer $jwt", 'with the JWT');
is($as->questions($token), 1, 'still one question');
is(call('/', $gone)->header('Cache-Status'), 'NEGATIVE', 'inactive tokens as well');

# Rules that changed apply at once; what does not shape the verdict leaves it alone.

reload($conf =~ s/phantom_token on;/phantom_token on; phantom_token_realm other;/r);
is(call('/', $token)->header('Cache-Status'), 'HIT', 'another realm, the same verdict');
is(call('/')->header('WWW-Authenticate'), 'Bearer realm="other"', 'another realm in the challenge');

reload($conf =~ s{(listen 127.0.0.1:8080 reuseport;)}{$1 location /before { return 204; }}r
    =~ s/(http \{)/$1 server { listen 127.0.0.1:8084; }/r);
is(call('/', $token)->header('Cache-Status'), 'HIT', 'another server block before it, the same verdict');

reload($conf =~ s/phantom_token on;/phantom_token on; phantom_token_accept application\/json;/r);
is(call('/', $token)->header('Cache-Status'), 'MISS', 'another Accept, another verdict');
is($as->questions($token), 2, 'which was asked for');

# The secret is read again.

$t->write_file('secret', "new-secret\n");
reload();
$as->script(my $fresh = token(), $as->jwt_answer(jwt()));
call('/', $fresh);
is($as->header($as->last_request($fresh), 'Authorization'), 'Basic ' . encode_base64('gateway:new-secret', ''),
    'the secret is read again');

# A question that is open while the workers change.

my ($open, $open_jwt) = (token(), jwt());
$as->script($open, $as->jwt_answer($open_jwt, hold => 1), $as->jwt_answer($open_jwt));
my $connection = http_connection()->request('GET', '/',
    headers => [Authorization => "Bearer $open", Connection => 'close']);
$as->wait_for_question($open, 1);
$t->reload();
$as->release($open);
my $response = $connection->response();
is($response->status(), 200, 'an old worker finishes its question');
is($api->authorization($response), "Bearer $open_jwt", 'with the JWT');
$connection->close();
$t->wait_old_workers();
is(call('/', $open)->header('Cache-Status'), 'HIT', 'and the new ones have its answer');

# A zone of another size.

reload($conf =~ s/tokens:1m/tokens:2m/r);
$response = call('/', $token);
is($response->status(), 200, 'a larger zone');
is($api->authorization($response), "Bearer $jwt", 'a larger zone: the JWT');
is(call('/', $token)->header('Cache-Status'), 'HIT', 'a larger zone: cached');

reload($conf =~ s/tokens:1m/tokens:512k/r);
is(call('/', $token)->status(), 200, 'a smaller zone');
is(call('/', $token)->header('Cache-Status'), 'HIT', 'a smaller zone: cached');

reload($conf =~ s/tokens:/others:/r);
is(call('/', $token)->status(), 200, 'another zone');
is(call('/', $token)->header('Cache-Status'), 'HIT', 'another zone: cached');

# A configuration that is refused changes nothing.

reload();
call('/', $token);
my $offset = length $t->read_file('error.log');
$t->expect_alerts(qr/\[emerg\].*nowhere/);
$t->write_file_expand('nginx.conf', $conf =~ s/phantom_token on;/phantom_token on; phantom_token_cache nowhere;/r);
$t->signal('HUP');
ok($t->wait_for_log(qr/\[emerg\].*nowhere/, $offset), 'a configuration is refused');
is(call('/', $token)->header('Cache-Status'), 'HIT', 'the old one goes on');
$t->write_file_expand('nginx.conf', $conf);

# A worker is killed.

my @before = $t->workers();
$t->expect_alerts(qr/worker process \d+ exited on signal 9/);

for my $worker (@before) {
    kill KILL => $worker;
    ok($t->wait_for_log(qr/worker process $worker exited on signal 9/), 'a worker is killed');
}

ok($t->wait_for_workers(2), 'and replaced');
($statuses, $new_workers) = spread($token, 2);
is_deeply([keys %$statuses], ['HIT'], 'the cache outlives it');
is(scalar(grep { my $new = $_; grep { $new == $_ } @before } keys %$new_workers), 0, 'in new workers');

# Many reloads.

reload() for 1 .. 5;
is(call('/', $token)->header('Cache-Status'), 'HIT', 'after many reloads');
