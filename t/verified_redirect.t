#!/usr/bin/perl

# A location that asks nobody takes the verdict of the one before it: not if that has verified less.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Keys;

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(6);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8080;
        add_header Slug $phantom_token_error always;

        location /loose {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            try_files /nothing /strict;
        }
        location /other {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            phantom_token_jwks file=keys.jwks;
            phantom_token_issuer https://other.example;
            try_files /nothing /strict;
        }
        location /verified {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            phantom_token_jwks file=keys.jwks;
            phantom_token_issuer https://as.example;
            try_files /nothing /strict;
        }
        location /plain {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            try_files /nothing /any;
        }
        location = /strict {
            internal;
            phantom_token on;
            phantom_token_jwks file=keys.jwks;
            phantom_token_issuer https://as.example;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /any { internal; phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $key = Test::PhantomToken::Keys->new($t, 'ES256');
$t->write_file('keys.jwks', Test::PhantomToken::Keys::set($key->jwk()));

my $as = authorization_server($t);
my $api = api($t);
$t->run();

sub known {
    my ($jwt) = @_;
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt));
    return $token;
}

sub by { return $key->jwt(claims => { exp => time + 60, @_ }) }

sub outcome { return join ' ', $_[0]->status(), $_[0]->header('Slug') // () }

is(outcome(call('/plain', known(jwt()))), '200', 'nothing is verified in either');
is(outcome(call('/verified', known(by(iss => 'https://as.example')))), '200', 'verified as it has to be');
is(outcome(call('/loose', known(jwt()))), '500 internal', 'not verified');
is(outcome(call('/loose', known(by(iss => 'https://as.example')))), '500 internal', 'not verified, though it would be right');
is(outcome(call('/other', known(by(iss => 'https://other.example')))), '500 internal', 'verified as another issuer\'s');
is($api->count(), 2, 'nothing of that went upstream');
