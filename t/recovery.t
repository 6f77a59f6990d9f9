#!/usr/bin/perl

# What a worker that died has left half changed is emptied by the next one that comes upon it, and the log says so
# once. The marks that it leaves are set from here: no kill can be timed to land between two writes.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Config;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Memory qw(find_shared read_memory write_memory);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(28);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone tokens:1m;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();
$t->wait_for_workers(2);

# A system's mutex, and where the marks lie behind it: a zone of this size has one shard.
my $MUTEX = $Config{archname} =~ /^aarch64/ ? 48 : 40;
my %MARK = (
    'part of the cache' => ["phantom\x01", 128 + $MUTEX],
    'the table of questions in flight' => ["flights\x01", 16 + $MUTEX],
);

my $master = $t->read_file('nginx.pid') + 0;

# Where the mark is that a part of the zone is being changed; nothing where that cannot be found out.
sub place {
    my ($part) = @_;
    my ($begin, $at) = @{ $MARK{$part} };
    my $place = find_shared($master, 1 << 20, $begin) // return;
    return $place + $at;
}

sub mark {
    my ($part) = @_;
    is(unpack('L', read_memory($master, place($part), 4)), 0, "$part: nothing is being changed");
    write_memory($master, place($part), pack 'L', 1);
    return;
}

sub status {
    my ($token) = @_;
    my $response = call('/', $token);
    return $response->status() . ' ' . $response->header('Cache-Status');
}

# What the log has said at warn since the last time.
my $read = 0;

sub said {
    my $log = substr $t->read_file('error.log'), $read;
    $read += length $log;
    return join "\n", $log =~ /\[error\] .*?phantom_token: (.*?)(?:, client:.*)?\n/g;
}

sub emptied {
    my ($part, $count) = @_;
    return qq(zone "tokens": $part was not in order, as after the death of a worker: it was emptied, $count such )
        . 'events in all';
}

SKIP: {
    skip 'no access to the memory of NGINX', 28 unless place('part of the cache');

    my ($token, $jwt) = (token(), jwt());
    $as->script($token, $as->jwt_answer($jwt));
    is(status($token), '200 MISS', 'a token');
    is(status($token), '200 HIT', 'is known');
    is(said(), '', 'nothing to say');

    # The next look-up empties the shard.

    my $cache = 'part of the cache';
    for my $count (1, 2) {
        mark($cache);
        is(status($token), '200 MISS', "cache, $count: nothing is known");
        is(said(), emptied($cache, $count), "cache, $count: the log says so");
        is(join(', ', map { status($token) } 1 .. 20), join(', ', ('200 HIT') x 20), "cache, $count: it works");
        $as->script(my $other = token(), $as->jwt_answer(jwt()));
        is(status($other), '200 MISS', "cache, $count: it works for others");
        is(said(), '', "cache, $count: it is said once");
    }

    # So does who stores a verdict.

    my $late = token();
    $as->script($late, $as->jwt_answer($jwt, hold => 1));
    my $asker = http_connection()->request('GET', '/', headers => [Authorization => "Bearer $late"]);
    $as->wait_for_question($late);
    mark($cache);
    $as->release($late);
    is($asker->response()->status(), 200, 'an answer arrives');
    is(said(), emptied($cache, 3), 'the log says that the shard was emptied');
    is(status($late), '200 HIT', 'and it is stored');

    # The table of questions: when one is asked, and when one is answered.

    my $table = 'the table of questions in flight';
    mark($table);
    is(status($late), '200 HIT', 'table: a hit does not need it');
    $as->script(my $fresh = token(), $as->jwt_answer($jwt, hold => 1));
    $asker->request('GET', '/', headers => [Authorization => "Bearer $fresh"]);
    $as->wait_for_question($fresh);
    is(said(), emptied($table, 1), 'table: who asks says so');
    mark($table);
    $as->release($fresh);
    is($asker->response()->status(), 200, 'table: an answer arrives');
    is(said(), emptied($table, 2), 'table: who is answered says so');
    is(status($_), '200 HIT', 'table: the cache is as it was') for $late, $fresh;
    is(said(), '', 'table: it is said once');
}
