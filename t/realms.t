#!/usr/bin/perl

# What a verdict belongs to: one token, one zone, and neither of two realms gets the other's verdict.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy));

# One endpoint, and what shapes a verdict.
my @own = (
    '',
    'phantom_token_accept application/json;',
    'phantom_token_jwt_member access_token;',
    'phantom_token_jwt_member access_token jwt;',
    'phantom_token_jwt_member jwt access_token;',
    'phantom_token_introspection_parameter a b;',
    'phantom_token_introspection_parameter a c;',
    'phantom_token_introspection_parameter audience a;',
    'phantom_token_client_credential a secret-a;',
    'phantom_token_cache_key a;',
    'phantom_token_forward claims;',
    'phantom_token_forward claims; phantom_token_accept application/jwt;',
    'phantom_token_forward claims; phantom_token_envelope unverified;',
    'phantom_token_forward claims; phantom_token_jwt_member access_token;',
    'phantom_token_forward claims; phantom_token_introspection_parameter a b;',
    'phantom_token_exchange /introspect;',
    'phantom_token_exchange /introspect; phantom_token_accept application/jwt;',
    'phantom_token_exchange /introspect; phantom_token_client_credential a secret-a;',
    'phantom_token_exchange /introspect; phantom_token_introspection_parameter audience a;',
    'phantom_token_exchange /introspect audience=a;',
    'phantom_token_exchange /introspect audience=b;',
    'phantom_token_exchange /introspect resource=a;',
    'phantom_token_exchange /introspect scope=a;',
    'phantom_token_exchange /introspect audience=a resource=b;',
    'phantom_token_exchange /introspect audience=b resource=a;',
    'phantom_token_exchange /introspect audience=ab;',
    'phantom_token_exchange /introspect audience=$arg_none;',
);

# What is a rule of the location alone.
my @shared = (
    'phantom_token_header X-Token;', 'phantom_token_envelope_header X-Envelope;', 'phantom_token_envelope unverified;',
    'phantom_token_binding off;', 'phantom_token_realm x;', 'phantom_token_scope x;', 'phantom_token_preflight pass;',
    'phantom_token_max_response 32k;', 'phantom_token_cache_max_ttl 1m;', 'phantom_token_cache_default_ttl 1m;',
    'phantom_token_cache_negative_ttl 1m;', 'phantom_token_cache_control obey;', 'phantom_token_lock_timeout 1s;',
);

sub locations {
    my ($name, @rules) = @_;
    my @locations = map { "location = /$name/$_ { $rules[$_] proxy_pass http://127.0.0.1:8082; }" } 0 .. $#rules;
    return join "\n        ", @locations;
}

my %locations = (OWN => locations('own', @own), SHARED => locations('shared', @shared));

$t->write_file('secret', "one\n");
$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%(OWN|SHARED)%%/$locations{$1}/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone shared:1m;

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;
        server_name one.example;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /same { phantom_token_realm other; proxy_pass http://127.0.0.1:8082; }

        location /endpoint {
            phantom_token_introspection_endpoint /introspect2;
            proxy_pass http://127.0.0.1:8082;
        }
        location /accept { phantom_token_accept application/json; proxy_pass http://127.0.0.1:8082; }
        location /members { phantom_token_jwt_member jwt; proxy_pass http://127.0.0.1:8082; }
        location /members_joined { phantom_token_jwt_member "jw" "t"; proxy_pass http://127.0.0.1:8082; }
        location /client_a { phantom_token_client_credential a secret-a; proxy_pass http://127.0.0.1:8082; }
        location /client_b { phantom_token_client_credential b secret-b; proxy_pass http://127.0.0.1:8082; }
        location /parameter {
            phantom_token_introspection_parameter resource $arg_r;
            proxy_pass http://127.0.0.1:8082;
        }
        location /parameters_split_one {
            phantom_token_introspection_parameter a b=c;
            proxy_pass http://127.0.0.1:8082;
        }
        location /parameters_split_two {
            phantom_token_introspection_parameter a=b c;
            proxy_pass http://127.0.0.1:8082;
        }
        location /key { phantom_token_cache_key key; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect2 { internal; proxy_pass http://127.0.0.1:8083; }
    }

    server {
        listen 127.0.0.1:8080;
        server_name two.example;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8083; }
    }

    server {
        listen 127.0.0.1:8084;
        server_name one.example;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8083; }
    }

    server {
        listen 127.0.0.1:8085;

        proxy_set_header X-Subject $phantom_token_claim_sub;

        %%OWN%%
        %%SHARED%%
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->secrets('secret-a', 'secret-b');

my ($as1, $as2) = (authorization_server($t), authorization_server($t, 8083));
my $api = api($t);

my @others = qw(
    /endpoint /accept /members /members_joined /client_a /client_b /parameter?r=1 /parameter?r=2
    /parameters_split_one /parameters_split_two /key
);

$t->plan(24 + 4 * @others + 4 * @own + 2 * @shared);
$t->run();

# Two server blocks, one endpoint URI, two authorization servers.

my ($token, $jwt1, $jwt2) = (token(), jwt(), jwt());
$as1->script($token, $as1->jwt_answer($jwt1));
$as2->script($token, $as2->jwt_answer($jwt2));

for my $status (qw(MISS HIT)) {
    my $one = call('/', $token, host => 'one.example');
    is($one->header('Cache-Status'), $status, "one: $status");
    is($api->authorization($one), "Bearer $jwt1", "one: its JWT, $status");

    my $two = call('/', $token, host => 'two.example');
    is($two->header('Cache-Status'), $status, "two: $status");
    is($api->authorization($two), "Bearer $jwt2", "two: its JWT, $status");

    my $port = call('/', $token, host => 'one.example', port => 8084);
    is($port->header('Cache-Status'), $status, "the same name at another port: $status");
    is($api->authorization($port), "Bearer $jwt2", "the same name at another port: its JWT, $status");
}

is($as1->questions($token), 1, 'one question to the one');
is($as2->questions($token), 2, 'two questions to the other');

# One knows the token, the other does not.

$token = token();
$as1->script($token, $as1->jwt_answer($jwt1));

for my $status (qw(MISS HIT)) {
    is(call('/', $token, host => 'one.example')->status(), 200, 'known to the one');
    is(call('/', $token, host => 'two.example')->status(), 401, 'unknown to the other');
}

is(call('/same', $token, host => 'one.example')->header('Cache-Status'), 'HIT',
    'what shapes no verdict is not part of it');
is($as1->questions($token), 1, 'known: one question');
is($as2->questions($token), 1, 'unknown: one question');

# Locations of one server block.

$as1->script($token, $as1->json_answer({ active => JSON::PP::true, exp => time + 300, jwt => $jwt1 }));
$as2->script($token, $as2->json_answer({ active => JSON::PP::true, exp => time + 300, jwt => $jwt2 }));

call('/', $token);
my $questions = $as1->questions($token) + $as2->questions($token);

for my $uri (@others) {
    my $response = call($uri, $token);
    my $none = $uri eq '/members_joined';
    is($response->header('Cache-Status'), 'MISS', "$uri: a verdict of its own");
    is($response->status(), $none ? 502 : 200, "$uri: status");
    is($as1->questions($token) + $as2->questions($token), ++$questions, "$uri: a question of its own");
    is(call($uri, $token)->header('Cache-Status'), $none ? 'MISS' : 'HIT', "$uri: which stays");
    $questions++ if $none;
}

is(call('/', $token)->header('Cache-Status'), 'HIT', 'and the first is still there');

# Locations of one endpoint. Each answer names another subject, so that whoever gets one that is not its own shows it.

$token = token();
my @answers = map {
    my $jwt = jwt(claims => { sub => "subject $_" });
    $as1->json_answer({
        active => JSON::PP::true, exp => time + 300, sub => "subject $_", jwt => $jwt, access_token => $jwt,
    });
} 0 .. $#own;
$as1->script($token, @answers);

for my $status (qw(MISS HIT)) {
    for my $i (0 .. $#own) {
        my $name = "$status, " . ($own[$i] || 'nothing');
        is(call("/own/$i", $token, port => 8085)->header('Cache-Status'), $status, $name);
        is(scalar $api->header($api->last_request(), 'X-Subject'), "subject $i", "$name: its own verdict");
    }
}

is($as1->questions($token), scalar @own, 'each has asked once');

for my $i (0 .. $#shared) {
    is(call("/shared/$i", $token, port => 8085)->header('Cache-Status'), 'HIT', "$shared[$i] shapes no verdict");
    is(scalar $api->header($api->last_request(), 'X-Subject'), 'subject 0', "$shared[$i]: that of the same question");
}

is($as1->questions($token), scalar @own, 'and nobody has asked again');
