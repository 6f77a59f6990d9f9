#!/usr/bin/perl

# A worker that is stopped while it holds a lock of the zone does not stop the others: they give up waiting, go on as after
# a miss, and the log says so once. The lock is taken from here, in the name of a process that lives: no signal can be
# timed to land within the few instructions.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Memory qw(find_shared write_memory);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(22);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone tokens:1m;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Slug $phantom_token_error always;

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

# Where the locks lie in a zone of this size: behind the header of the cache, which has one shard, and of the table.
my %LOCK = ('a shard' => ["phantom\x01", 128], 'the table' => ["flights\x01", 16]);
my $master = $t->read_file('nginx.pid') + 0;

sub lock_of {
    my ($part) = @_;
    my ($begin, $at) = @{ $LOCK{$part} };
    my $place = find_shared($master, 1 << 20, $begin) // return;
    return $place + $at;
}

# The first word of a mutex of glibc's is the thread that has it.
sub hold { return write_memory($master, lock_of($_[0]), pack 'l', $$) }
sub give_back { return write_memory($master, lock_of($_[0]), pack 'l', 0) }

sub status {
    my ($token) = @_;
    my $response = call('/', $token);
    return join ' ', $response->status(), grep { defined } map { $response->header($_) } qw(Cache-Status Slug);
}

my $read = 0;

sub said {
    my $log = substr $t->read_file('error.log'), $read;
    $read += length $log;
    return scalar(() = $log =~ /\[error\] .*?phantom_token: zone "tokens": another worker has kept a lock/g);
}

SKIP: {
    skip 'no access to the memory of NGINX, or another libc', 22
        unless lock_of('a shard') && do { local (@ARGV, $/) = "/proc/$master/maps"; <> =~ /libc\.so\.6/ };

    my ($token, $jwt) = (token(), jwt());
    $as->script($token, $as->jwt_answer($jwt));
    is(status($token), '200 MISS', 'a token');
    is(status($token), '200 HIT', 'is known');
    is(said(), 0, 'nothing to say');

    hold('a shard');
    is(status($token), '200 MISS', 'a shard is held: its tokens are asked about');
    is(said(), 1, 'the log says so');
    is(status($token), '200 MISS', 'and again');
    is(said(), 0, 'but it is said once');
    is($as->questions($token), 3, 'so many questions');
    give_back('a shard');
    is(join(', ', map { status($token) } 1 .. 10), join(', ', ('200 HIT') x 10), 'given back: all is as it was');
    is(said(), 0, 'nothing to say');

    # It is waited for again, and told of again.

    hold('a shard');
    is(status($token), '200 MISS', 'held once more');
    give_back('a shard');
    is(status($token), '200 HIT', 'and given back');

    hold('the table');
    is(status($token), '200 HIT', 'the table of questions is held: a hit does not need it');
    $as->script(my $fresh = token(), $as->jwt_answer($jwt));
    said();
    is(status($fresh), '503 overload', 'what would have to be asked is refused');
    is(said(), 1, 'the log says so');
    is(status($fresh), '503 overload', 'and again');
    is(said(), 0, 'but it is said once');
    is($as->questions($fresh), 0, 'nothing was asked that nobody counts');
    give_back('the table');
    is(status($fresh), '200 MISS', 'given back: it is asked');
    is(status($fresh), '200 HIT', 'and known');
    is(status($token), '200 HIT', 'the cache is as it was');
    is(said(), 0, 'nothing to say');
}
