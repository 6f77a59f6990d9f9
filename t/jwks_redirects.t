#!/usr/bin/perl

# `phantom_token_jwks uri` where NGINX leads a request on after its location has looked for newer keys: the next one has
# keys of its own, and may look for newer ones, too.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Time::HiRes qw(sleep time);

use lib 'lib';
use Test::Nginx;
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

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(7);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;

    server {
        listen 127.0.0.1:8080;

        location / {
            phantom_token_accept_jwt verify;
            phantom_token_issuer https://as.example;
            phantom_token_audience api;
            phantom_token_jwks /jwks/last;
            proxy_pass http://127.0.0.1:8082;

            location = /one { phantom_token_jwks /jwks/one; error_page 401 = /two; proxy_pass http://127.0.0.1:8082; }
            location = /two { phantom_token_jwks /jwks/two; proxy_pass http://127.0.0.1:8082; }
        }
        location /jwks/ { internal; proxy_pass http://127.0.0.1:8083; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $api = api($t);
my $jwks = Test::Jwks->start($t, 8083);
$t->run();

my %key = map { $_ => Test::PhantomToken::Keys->new($t, 'ES256') } qw(old new);
my %jwt = map {
    ($_ => $key{$_}->jwt(header => { kid => $_ }, claims => { iss => 'https://as.example', aud => 'api', exp => time + 600 }))
} keys %key;

sub keys_answer {
    my $set = Test::PhantomToken::Keys::set(map { $key{$_}->jwk(kid => $_) } @_);
    return { type => 'application/jwk-set+json', body => $set };
}

$jwks->script('/jwks/one', keys_answer('old'));
$jwks->script('/jwks/two', keys_answer('old'), keys_answer('new'));
$jwks->script('/jwks/last', keys_answer('old'));
is(call("/$_", $jwt{old})->status(), 200, "/$_: the first keys") for qw(two one last);

# Just after the fetch a key that is not there is none of the server's. When the keys that were fetched last are old
# enough to be fetched again, those of the other two are.

my $deadline = time() + 3 * $TIMEOUT;
until ($jwks->count('/jwks/last') == 2 || time() > $deadline) {
    call('/last', $jwt{new});
    sleep 0.1;
}
is($jwks->count('/jwks/last'), 2, 'the keys are old enough');

my $status = call('/one', $jwt{new})->status();
is($jwks->count('/jwks/one'), 2, 'the first location has looked for newer keys');
is($jwks->count('/jwks/two'), 2, 'and so has the second one');
is($status, 200, 'which has found them');
