#!/usr/bin/perl

# A new binary takes over while the old one is at work (USR2): each has memory of its own, and disturbs nothing in the
# other's.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(26);

my $conf = <<'CONF';
%%TEST_GLOBALS%%
daemon on;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone tokens:1m;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Worker $pid always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->write_file_expand('nginx.conf', $conf);

my $as = authorization_server($t);
my $api = api($t);
$t->run_detached();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# The workers that a master has started.
sub workers_of {
    my ($master) = @_;
    return map { $_ => 1 } $t->read_file('error.log') =~ /\[notice\] $master#\d+: start worker process (\d+)/g;
}

# Calls until each of these masters has answered 20 times: master => { 'status cache-status' => count }. Each response
# has the JWT, or this is said in the place of its status.
sub spread {
    my (@masters) = @_;
    my (%seen, %count);

    for (1 .. 2000) {
        my $response = call('/', $token);
        my $worker = $response->header('Worker');
        my ($master) = grep { my %workers = workers_of($_); $workers{$worker} } @masters;
        $master //= 'another';
        my $right = $response->status() == 200 && $api->authorization($response) eq "Bearer $jwt";
        $seen{$master}{ ($right ? 'right ' : 'wrong ') . $response->header('Cache-Status') }++;
        last if ++$count{$master} >= 20 && !grep { ($count{$_} // 0) < 20 } @masters;
    }

    return \%seen;
}

sub kinds { return join ', ', sort keys %{ $_[0] // {} } }

my $master = $t->read_file('nginx.pid') + 0;
spread($master);
my $seen = spread($master);
is(kinds($seen->{$master}), 'right HIT', 'hits');
is($as->questions($token), 1, 'after one question');

# A question that is open in the old binary.

my ($open, $open_jwt) = (token(), jwt());
$as->script($open, $as->jwt_answer($open_jwt, hold => 1), $as->jwt_answer($open_jwt));
my $connection = http_connection()->request('GET', '/',
    headers => [Authorization => "Bearer $open", Connection => 'close']);
$as->wait_for_question($open, 1);

# Both serve.

my ($old, $new) = $t->upgrade();
is($old, $master, 'the old master is there');
isnt($new, $master, 'and a new one');
$seen = spread($old, $new);
is(kinds($seen->{$old}), 'right HIT', 'both serve: the old one has its memory');
is(kinds($seen->{$new}), 'right HIT, right MISS', 'both serve: the new one has its own');
is($seen->{$new}{'right MISS'}, 1, 'which is empty');
is($as->questions($token), 2, 'one question more');
is(kinds($seen->{another}), '', 'nobody else');

# The old one ends.

$as->release($open);
my $response = $connection->response();
is($response->status(), 200, 'an old worker finishes its question');
is($api->authorization($response), "Bearer $open_jwt", 'with the JWT');
$connection->close();
$t->end_master($old, $new);
$seen = spread($new);
is(kinds($seen->{$new}), 'right HIT', 'the new one alone: hits');
is($as->questions($token), 2, 'and no question');

# The upgraded one reloads, with its memory.

$t->reload()->wait_old_workers();
$seen = spread($new);
is(kinds($seen->{$new}), 'right HIT', 'after a reload');

# An upgrade that is taken back while the old workers are there.

($old, $new) = $t->upgrade();
$seen = spread($old, $new);
is(kinds($seen->{$old}), 'right HIT', 'once more: the old one has its memory');
is($seen->{$new}{'right MISS'}, 1, 'once more: the new one has its own');
$t->end_master($new, $old);
$seen = spread($old);
is(kinds($seen->{$old}), 'right HIT', 'taken back: hits');
is(kinds($seen->{$new}), '', 'taken back: the new one is gone');
is($as->questions($token), 3, 'taken back: no question');

# An upgrade that is taken back when the old workers have gone: the old master starts others.

($old, $new) = $t->upgrade();
my %gone = workers_of($old);
kill WINCH => $old;
is(scalar(grep { !$t->wait_for_log(qr/ worker process $_ exited/) } keys %gone), 0, 'the old workers go');
$seen = spread($new);
is(join(' ', keys %$seen), $new, 'the new one alone');
kill HUP => $old;
my @started;
call_until(sub { @started = grep { !$gone{$_} } keys %{ { workers_of($old) } }; @started == 2 }, '/', $token);
is(scalar(@started), 2, 'the old one starts workers');
$t->end_master($new, $old);
$seen = spread($old);
is(kinds($seen->{$old}), 'right HIT', 'with the old memory');
is(kinds($seen->{$new}), '', 'and the new one is gone');
is($as->questions($token), 4, 'one question for each binary');
is(scalar(grep { $gone{$_} } $t->workers()), 0, 'in new workers');
