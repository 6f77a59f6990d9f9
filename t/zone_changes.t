#!/usr/bin/perl

# Zones come, go, change their names and are left unused at reloads.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Memory qw(shared_memory);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy limit_req))->plan(27);

# A configuration with these zones, and what is said of the cache on the level of http.
sub configuration {
    my ($zones, $cache) = @_;
    my $declared = join "\n    ", map { "phantom_token_cache_zone $_;" } @$zones;

    return <<"CONF";
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    $declared
    phantom_token_dpop_zone 512k;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status \$phantom_token_cache_status always;
    $cache

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /other/ { phantom_token_cache @{[@$zones > 1 ? 'second' : 'off']}; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF
}

sub reload {
    my $offset = length $t->read_file('error.log');
    $t->write_file_expand('nginx.conf', configuration(@_));
    $t->reload()->wait_old_workers();
    return substr $t->read_file('error.log'), $offset;
}

sub status {
    my ($uri, $token) = @_;
    my $response = call($uri, $token);
    return $response->status() . ' ' . $response->header('Cache-Status');
}

# The sizes of the zones that the master has, in kilobytes.
sub memory {
    my @mappings = shared_memory($t->read_file('nginx.pid') + 0);
    return map { $_->{size} / 1024 } @mappings;
}

my $has_proc = -r '/proc/self/smaps';
my ($token, $jwt) = (token(), jwt());
my $as = authorization_server($t);
my $api = api($t);
$as->script($token, $as->jwt_answer($jwt));

$t->write_file_expand('nginx.conf', configuration(['first:1m', 'second:2m'], 'phantom_token_cache first;'));
$t->run();

# Several.

is(status('/', $token), '200 MISS', 'the first zone');
is(status('/', $token), '200 HIT', 'knows the token');
is(status('/other/', $token), '200 MISS', 'the second one has verdicts of its own');
is(status('/other/', $token), '200 HIT', 'and knows the token, too');

# One of them changes its size, and they change places.

my $log = reload(['second:3m', 'first:1m'], 'phantom_token_cache first;');
like($log, qr/zone "second" of 3072k replaces one of 2048k, 1 entries were copied/, 'one is copied');
unlike($log, qr/zone "first"/, 'the other is kept');
is(status('/', $token), '200 HIT', 'both know the token: the one that was kept');
is(status('/other/', $token), '200 HIT', 'and the one that was copied');

# Both at once, and they swap their sizes.

$log = reload(['second:1m', 'first:3m'], 'phantom_token_cache first;');
is(scalar(() = $log =~ /1 entries were copied/g), 2, 'both are copied');
is(status('/', $token) . ', ' . status('/other/', $token), '200 HIT, 200 HIT', 'both know the token');

# A zone goes.

$log = reload(['first:3m'], '');
is(status('/', $token), '200 HIT', 'the remaining one');
is(status('/other/', $token), '200 BYPASS', 'no cache');

# A zone gets another name.

$log = reload(['renamed:3m'], '');
unlike($log, qr/zone "/, 'another name: nothing to say');
is(status('/', $token), '200 MISS', 'another name: an empty zone');
is(status('/', $token), '200 HIT', 'another name: which works');

SKIP: {
    skip 'no /proc/PID/smaps', 1 unless $has_proc;
    is(join(' ', grep { $_ >= 1024 } memory()), 3072, 'the memory of the old ones is given back');
}

# The default zone takes over from a declared one.

reload([], '');
is(status('/', $token), '200 MISS', 'the default zone');
is(status('/', $token), '200 HIT', 'works');
reload(['phantom_token:17m'], '');
is(status('/', $token), '200 HIT', 'is copied into one of its name');

# No cache at all, and back.

reload([], 'phantom_token_cache off;');
is(status('/', $token), '200 BYPASS', 'no cache at all');
is($api->authorization(), "Bearer $jwt", 'but the JWT');

SKIP: {
    skip 'no /proc/PID/smaps', 1 unless $has_proc;
    is(join(' ', grep { $_ == 17 * 1024 } memory()), '', 'and its memory is given back');
}

reload(['first:1m'], '');
is(status('/', $token), '200 MISS', 'a zone again, which is empty');
is(status('/', $token), '200 HIT', 'and works');

# The name was another module's.

$t->write_file_expand('nginx.conf', configuration([], 'phantom_token_cache off;')
    =~ s/(phantom_token on;)/limit_req_zone \$uri zone=shared:1m rate=1000r\/s; $1/r);
$t->reload()->wait_old_workers();
$log = reload(['shared:1m'], '');
like($log, qr/\[error\].* zone "shared" starts empty: the one in use was made by another module/, 'the name was taken');
is(status('/', $token), '200 MISS', 'an empty zone');
is(status('/', $token), '200 HIT', 'which works');
