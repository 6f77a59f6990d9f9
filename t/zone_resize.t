#!/usr/bin/perl

# A zone gets another size at a reload: what was known is copied, old and new workers go on, and a reload that fails
# afterwards changes nothing. No zone is part of a core dump.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Memory qw(shared_memory);
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy limit_req))->plan(52);

my $conf = <<'CONF';
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone tokens:1m;
    limit_req_zone $uri zone=requests:96k rate=1000r/s;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8084;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->write_file_expand('nginx.conf', $conf);

my $as = authorization_server($t);
my $api = api($t);
$t->run();

sub with_size { return $conf =~ s/tokens:1m/tokens:$_[0]/r }

# Reloads with a zone of that size; what the log says of entries that were copied.
sub resize {
    my ($size) = @_;

    my $offset = length $t->read_file('error.log');
    $t->write_file_expand('nginx.conf', with_size($size));
    $t->reload()->wait_old_workers();
    my ($copied) = substr($t->read_file('error.log'), $offset)
        =~ /\[notice\].* zone "tokens" of \d+k replaces one of \d+k, (\d+) entries were copied in \d+ ms/;
    return $copied;
}

sub status {
    my ($token) = @_;
    my $response = call('/', $token);
    return $response->status() . ' ' . $response->header('Cache-Status');
}

sub known {
    my (%jwt) = @_;
    my $token = token();
    my $jwt = jwt(%jwt);
    $as->script($token, $as->jwt_answer($jwt));
    call('/', $token);
    return ($token, $jwt);
}

sub master { return $t->read_file('nginx.pid') + 0 }

# How many mappings of that size a process has.
sub mappings {
    my ($pid, $kilobytes) = @_;
    return scalar grep { $_->{size} == $kilobytes * 1024 } shared_memory($pid);
}

# Larger and smaller.

my ($token, $jwt) = known();
my $gone = token();
is(status($gone), '401 MISS', 'an inactive token');

for my $size (qw(2m 80k 1000k 1m)) {
    is(resize($size), 2, "$size: both are copied");
    my $response = call('/', $token);
    is($response->header('Cache-Status'), 'HIT', "$size: a hit");
    is($api->authorization($response), "Bearer $jwt", "$size: with the JWT");
    is(status($gone), '401 NEGATIVE', "$size: the inactive one as well");
}

is($as->questions($token), 1, 'one question in all');

# The memory is kept by the reloads that follow.

for my $workers (3, 1, 2) {
    $t->write_file_expand('nginx.conf', $conf =~ s/worker_processes 2/worker_processes $workers/r);
    $t->reload()->wait_old_workers();
    is(scalar($t->workers()), $workers, "$workers workers");
    is(status($token), '200 HIT', "$workers workers: the memory is kept");
}

is(resize('1m'), undef, 'nothing is copied where the size is the same');

# Hits while the size changes.

$t->write_file_expand('nginx.conf', with_size('3m'));
my @old = $t->workers();
$t->signal('HUP');
my %seen;

do {
    $seen{ status($token) }++;
} while grep { my $worker = $_; grep { $_ == $worker } $t->workers() } @old;

is_deeply([keys %seen], ['200 HIT'], 'hits before, during and after');

# What was asked for lately and the newest fit into a smaller one.

is(resize('1m'), 2, 'as many as before');
my @many = map { (known(size => 8000))[0] } 1 .. 60;
is(status($many[5]), '200 HIT', 'an old one is asked for');
cmp_ok(resize('256k'), '>', 20, 'some fit');
my %found = map { $_ => status($many[$_]) } 5, 41 .. 59;
is_deeply([grep { $found{$_} ne '200 HIT' } sort { $a <=> $b } keys %found], [], 'the newest, and it');
is(status($many[10]), '200 MISS', 'an older one does not');

# A question that is open while the size changes: old and new workers have a table each.

my ($open, $open_jwt) = (token(), jwt());
$as->script($open, $as->jwt_answer($open_jwt, hold => 1), $as->jwt_answer($open_jwt));
my $connection = http_connection()->request('GET', '/',
    headers => [Authorization => "Bearer $open", Connection => 'close']);
$as->wait_for_question($open, 1);
$t->write_file_expand('nginx.conf', with_size('1m'));
$t->reload();
is(status($open), '200 MISS', 'a new worker asks by itself');
$as->release($open);
my $response = $connection->response();
is($response->status(), 200, 'an old worker finishes its question');
is($api->authorization($response), "Bearer $open_jwt", 'with the JWT');
$connection->close();
$t->wait_old_workers();
is($as->questions($open), 2, 'two questions');
is(status($open), '200 HIT', 'and one answer that stays');

# What does not become the running configuration changes nothing: a test of it, one with an error, and one that fails
# when all has been copied, for a port is in use.

is($t->conf_fails(with_size('4m')), undef, 'nginx -t');
is(status($token), '200 HIT', 'disturbs nothing');

$t->expect_alerts(qr/\[emerg\].*unknown directive "nonsense"/);
my $offset = length $t->read_file('error.log');
$t->write_file_expand('nginx.conf', with_size('4m') . "nonsense;\n");
$t->signal('HUP');
ok($t->wait_for_log(qr/unknown directive "nonsense"/, $offset), 'an error in the configuration');
is(status($token), '200 HIT', 'disturbs nothing');

$t->expect_alerts(qr/\[emerg\].*(?:bind\(\)|still could not bind)/);
$offset = length $t->read_file('error.log');
$t->write_file_expand('nginx.conf', with_size('4m') =~ s/listen 127.0.0.1:8084;/listen 127.0.0.1:8081;/r);
$t->signal('HUP');
ok($t->wait_for_log(qr/replaces one of 1024k, \d+ entries were copied/, $offset), 'a reload copies');
is(status($token), '200 HIT', 'while it is failing');
ok($t->wait_for_log(qr/still could not bind/, $offset), 'and fails');
is(status($token), '200 HIT', 'the old zone is in use');
my ($later) = known();
is(status($later), '200 HIT', 'and learns');

SKIP: {
    skip 'no /proc/PID/smaps', 4 unless shared_memory(master());
    ok(eventually(sub { mappings(master(), 4096) == 0 }), 'the new memory is given back');
    is(mappings(master(), 1024), 1, 'the old one is not');
    ok(resize('5m'), 'the next one succeeds');
    is(mappings(master(), 1024) . mappings(master(), 5120), '01', 'and the old memory is given back');
}

is(status($later), '200 HIT', 'all that was learned meanwhile is there');

# Core dumps.

SKIP: {
    my @zones = map { [shared_memory($_)] } master(), $t->workers();
    skip 'no /proc/PID/smaps', 2 unless @{ $zones[0] };
    my $excluded = sub {
        my ($kilobytes) = @_;
        return join '', map { $_->{flags}{dd} ? 'y' : 'n' } grep { $_->{size} == $kilobytes * 1024 } map { @$_ } @zones;
    };
    is($excluded->(5120), 'yyy', 'the zone is in no core dump of master and workers');
    is($excluded->(96), 'nnn', 'unlike one of NGINX');
}
