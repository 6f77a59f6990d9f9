#!/usr/bin/perl

# Memory that is no cache of ours, or of another copy of the module, is replaced at a reload, never refused and never
# written to: old workers go on in it.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use File::Copy qw(copy);

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Memory qw(read_memory shared_memory write_memory);
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(50);

my $conf = <<'CONF';
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone tokens:1m;

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

# The module is loaded from files of this test's own.
my $built = $ENV{TEST_NGINX_MODULE};
my $modules = $t->testdir();

sub install {
    my ($name) = @_;
    copy($built, "$modules/new.so") or die "cannot copy $built: $!\n";
    rename "$modules/new.so", "$modules/$name" or die "cannot rename new.so: $!\n";
    return;
}

sub load { $ENV{TEST_NGINX_MODULE} = "$modules/$_[0]"; return }

install('module.so');
load('module.so');
$t->write_file_expand('nginx.conf', $conf);

my $as = authorization_server($t);
my $api = api($t);
$t->run();

sub status {
    my ($token) = @_;
    my $response = call('/', $token);
    return $response->status() . ' ' . $response->header('Cache-Status');
}

sub master { return $t->read_file('nginx.pid') + 0 }

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# Reloads while an old worker has a question open, which it finishes afterwards; what the log says of the zone.
sub reload {
    my ($name) = @_;

    my ($open, $open_jwt) = (token(), jwt());
    $as->script($open, $as->jwt_answer($open_jwt, hold => 1));
    my $connection = http_connection()->request('GET', '/',
        headers => [Authorization => "Bearer $open", Connection => 'close']);
    $as->wait_for_question($open, 1);

    my $offset = length $t->read_file('error.log');
    $t->write_file_expand('nginx.conf', $conf);
    $t->reload();
    $as->release($open);
    my $response = $connection->response();
    is($response->status(), 200, "$name: an old worker finishes its question");
    is($api->authorization($response), "Bearer $open_jwt", "$name: with the JWT");
    $connection->close();
    $t->wait_old_workers();
    return join "\n", substr($t->read_file('error.log'), $offset) =~ /\[(?:notice|error)\].* (zone ".*)/g;
}

# The file is replaced, as an upgrade of a package does. Where the C library goes by names, the module in memory stays
# the one that it was; else the new one is another to NGINX.

is(status($token), '200 MISS', 'a token');
install('module.so');
my $said = reload('a new file');
is(status($token), $said ? '200 MISS' : '200 HIT', 'a new file: in use or not, the log tells');
is(status($token), '200 HIT', 'a new file: the zone works');

# The file has another name.

for my $name ('other.so', 'module.so') {
    install($name);
    load($name);
    like(reload($name), qr/^zone "tokens" starts empty: the one in use was made by another .*copy of this one$/,
        "$name: another copy of the module");
    is(status($token), '200 MISS', "$name: nothing is known");
    is(status($token), '200 HIT', "$name: the zone works");
    is(reload("$name again"), '', "$name: nothing to say");
    is(status($token), '200 HIT', "$name: the memory is kept");
}

# The memory is damaged, or was laid out in another way.

# The zone of the master, and where in it a part begins; nothing where that cannot be found out.
sub place {
    my ($mark) = @_;
    my ($zone) = grep { $_->{size} == 1 << 20 } shared_memory(master()) or return;
    my $offset = index read_memory(master(), $zone->{from}, $zone->{size}) // '', $mark;
    return $offset < 0 ? () : $zone->{from} + $offset;
}

# Writes to the memory that all processes share, through the master.
sub damage {
    my ($mark, $at, $bytes) = @_;
    write_memory(master(), place($mark) + $at, $bytes);
    is(status($token), '200 HIT', 'the workers that have it go on');
    return;
}

sub zones {
    my $count = grep { $_->{size} == 1 << 20 } shared_memory(master());
    return $count;
}

SKIP: {
    skip 'no access to the memory of NGINX', 27 unless place("phantom\x01");

    damage("phantom\x01", 16, pack 'L', 4711);
    like(reload('layout'), qr/^zone "tokens" starts empty: .* by another version .*layout 4711, this one has \d+\)$/,
        'another layout');
    is(status($token), '200 MISS', 'layout: nothing is known');
    is(status($token), '200 HIT', 'layout: the zone works');
    is(zones(), 1, 'layout: the old memory is given back');

    damage("flights\x01", 0, "\0" x 8);
    my @lines = split /\n/, reload('questions');
    like($lines[0], qr/^zone "tokens" is made anew: the zone holds no table of questions/, 'no table of questions');
    like($lines[1], qr/[1-9]\d* entries were copied/, 'questions: entries are copied');
    is(status($token), '200 HIT', 'questions: the token is known');
    is(zones(), 1, 'questions: the old memory is given back');

    damage("phantom\x01", 0, "\0" x 8);

    # A reload that fails: nothing has happened.

    $t->expect_alerts(qr/\[emerg\].*(?:bind\(\)|still could not bind)/);
    my $offset = length $t->read_file('error.log');
    $t->write_file_expand('nginx.conf', $conf =~ s/listen 127.0.0.1:8084;/listen 127.0.0.1:8081;/r);
    $t->signal('HUP');
    ok($t->wait_for_log(qr/still could not bind/, $offset), 'a reload fails');
    is(status($token), '200 HIT', 'the old memory is in use');
    ok(eventually(sub { zones() == 1 }), 'and the new one given back');

    like(reload('no cache'), qr/^zone "tokens" starts empty: the cache zone holds no cache$/, 'no cache');
    is(status($token), '200 MISS', 'no cache: nothing is known');
    is(status($token), '200 HIT', 'no cache: the zone works');
    is(reload('no cache again'), '', 'no cache: nothing more to say');
    is(status($token), '200 HIT', 'no cache: the memory is kept');
}
