#!/usr/bin/perl

# Where used DPoP proofs are remembered: apart from the caches, over reloads.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Memory qw(shared_memory);
use Test::PhantomToken;
use Test::PhantomToken::DPoP qw(jkt proof);
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(17);

sub configuration {
    my ($zones, $rules) = @_;
    return <<"CONF";
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    $zones

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    large_client_header_buffers 4 32k;
    $rules
    add_header Slug \$phantom_token_error always;
    add_header Cache-Status \$phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF
}

sub reload {
    $t->write_file_expand('nginx.conf', configuration(@_));
    $t->reload()->wait_old_workers();
    return;
}

# The sizes of the zones, in kilobytes; NGINX has smaller memory of its own.
sub zones {
    my @sizes = map { $_->{size} / 1024 } shared_memory($t->read_file('nginx.pid') + 0);
    return join ' ', grep { $_ >= 64 } sort { $a <=> $b } @sizes;
}

my $as = authorization_server($t);
my $api = api($t);
$t->write_file_expand('nginx.conf', configuration('phantom_token_cache_zone one:1m;', ''));
$t->run();

my $key = Test::PhantomToken::Keys->new($t, 'EdDSA');
my ($token, $jwt) = (token(), jwt(claims => { cnf => { jkt => jkt($key) } }));
$as->script($token, $as->jwt_answer($jwt));

sub status {
    my ($proof) = @_;
    my $response = call('/', undef, headers => [Authorization => "DPoP $token", DPoP => $proof]);
    return join ' ', $response->status(), $response->header('Slug') || $response->header('Cache-Status');
}

my $has_proc = -r '/proc/self/smaps';
my $used = proof($key, $token, 'http://localhost/');
is(status($used), '200 MISS', 'a proof');
is(status($used), '401 binding', 'it counts once');

SKIP: {
    skip 'no /proc/PID/smaps', 2 unless $has_proc;
    is(zones(), '1024 8192', 'a zone of its own');
    reload('phantom_token_cache_zone one:1m;', 'phantom_token_binding off;');
    is(zones(), '1024', 'and none where no proof is checked');
}

# What changes around it.

reload('phantom_token_cache_zone one:1m;', '');
$used = proof($key, $token, 'http://localhost/');
is(status($used), '200 HIT', 'another one');
for (
    ['a cache of another size', 'phantom_token_cache_zone one:2m;', '', 'HIT'],
    ['another cache', 'phantom_token_cache_zone two:1m; phantom_token_cache_zone one:2m;', 'phantom_token_cache one;', 'HIT'],
    ['no cache', '', 'phantom_token_cache off;', 'BYPASS'],
    ['the size that is the default', 'phantom_token_dpop_zone 8m;', '', 'HIT'],
) {
    my ($name, $zones, $rules, $status) = @$_;
    reload($zones, $rules);
    is(status($used), '401 binding', "$name: it was used before");
    is(status(proof($key, $token, 'http://localhost/')), "200 $status", "$name: another one passes");
}
for my $size (qw(64k 3m)) {
    reload("phantom_token_dpop_zone $size;", '');
    is(status($used), '401 binding', "$size for proofs: it was used before");
    is(status(proof($key, $token, 'http://localhost/')), '200 HIT', "$size for proofs: another one passes");
}
