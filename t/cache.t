#!/usr/bin/perl

# What is asked again and when: the life of a verdict, by the rules of the location that asks.

use strict;
use warnings;

use Test::More;
use Time::HiRes ();

BEGIN { use FindBin; chdir $FindBin::Bin; }

use JSON::PP;

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(98);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone one:1m;
    phantom_token_cache_zone two:1m;

    phantom_token on;
    phantom_token_cache one;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /short { phantom_token_cache_max_ttl 300ms; proxy_pass http://127.0.0.1:8082; }
        location /default_ttl { phantom_token_cache_default_ttl 1m; proxy_pass http://127.0.0.1:8082; }
        location /negative_ttl { phantom_token_cache_negative_ttl 300ms; proxy_pass http://127.0.0.1:8082; }
        location /obey {
            phantom_token_cache_control obey;
            phantom_token_cache_default_ttl 1m;
            proxy_pass http://127.0.0.1:8082;
        }
        location /ignore {
            phantom_token_cache_control ignore;
            phantom_token_cache_default_ttl 1m;
            proxy_pass http://127.0.0.1:8082;
        }
        location /ignore_no_default { phantom_token_cache_control ignore; proxy_pass http://127.0.0.1:8082; }
        location /off { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }
        location /two { phantom_token_cache two; proxy_pass http://127.0.0.1:8082; }
        location /key { phantom_token_cache_key $arg_k; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

# calls($name, $uri, $token, [status, cache status, slug], ...): one call after the other.
sub calls {
    my ($name, $uri, $token, @expected) = @_;

    for my $i (0 .. $#expected) {
        my $response = call($uri, $token);
        my @got = ($response->status(), $response->header('Cache-Status') // '', $response->header('Slug') // '');
        is("@got", join(' ', @{ $expected[$i] }, ('') x (3 - @{ $expected[$i] })), "$name, call " . ($i + 1));
    }

    return;
}

sub scripted {
    my (@answers) = @_;
    my $token = token();
    $as->script($token, @answers);
    return $token;
}

# Answers without exp, with further fields.
sub timeless {
    my (%fields) = @_;
    return $as->jwt_answer(jwt(claims => { exp => undef }), %fields);
}

# JSON with the one exp in a member and the other in the JWT.
sub json {
    my ($member, $claim) = @_;
    return $as->json_answer({ active => JSON::PP::true, exp => $member, jwt => jwt(claims => { exp => $claim }) });
}

sub cache_control { return (headers => [map { ('Cache-Control' => $_) } @_]) }

sub is_asked { return $_[0]->header('Cache-Status') eq 'MISS' }

my ($miss, $hit) = ([200, 'MISS'], [200, 'HIT']);

# Active.

my $token = scripted($as->jwt_answer(jwt()));
calls('exp', '/', $token, $miss, $hit, $hit);
is($as->questions($token), 1, 'exp: one question');

$token = scripted(json(time + 300, undef));
calls('exp in JSON', '/', $token, $miss, $hit);

# Inactive.

$token = scripted($as->inactive_answer(), $as->jwt_answer(jwt()));
calls('inactive', '/', $token, [401, 'MISS', 'inactive'], [401, 'NEGATIVE', 'inactive'], [401, 'NEGATIVE', 'inactive']);
is($as->questions($token), 1, 'inactive: one question');

$token = scripted($as->inactive_answer(), $as->jwt_answer(jwt()));
calls('negative_ttl', '/negative_ttl', $token, [401, 'MISS', 'inactive']);
is(call_until(\&is_asked, '/negative_ttl', $token)->status(), 200, 'negative_ttl: asked again, and active now');
calls('negative_ttl, afterwards', '/negative_ttl', $token, $hit);

# Failures are not cached.

$token = scripted({ status => 500 }, { status => 401 }, $as->jwt_answer(jwt()));
calls('failures', '/', $token, [502, 'MISS', 'server_unreachable'], [502, 'MISS', 'server_refused_us'], $miss, $hit);

# Expired.

$token = scripted($as->jwt_answer(jwt(claims => { exp => time - 1 })), $as->jwt_answer(jwt()));
calls('expired', '/', $token, [401, 'MISS', 'expired'], [401, 'EXPIRED', 'expired'], [401, 'EXPIRED', 'expired']);
is($as->questions($token), 1, 'expired: not asked again');

my $exp = time + 4;
$token = scripted($as->jwt_answer(jwt(claims => { exp => $exp })));
calls('about to expire', '/', $token, $miss, $hit);
my $response = call_until(sub { $_[0]->status() != 200 }, '/', $token);
is($response->status(), 401, 'exp passes');
is($response->header('Cache-Status'), 'EXPIRED', 'exp passes: status');
is($response->header('Slug'), 'expired', 'exp passes: slug');
# Not by time(2), which lags behind NGINX's clock by up to a tick.
cmp_ok(Time::HiRes::time(), '>=', $exp, 'exp passes: not before its time');
calls('exp has passed', '/', $token, [401, 'EXPIRED', 'expired']);
calls('exp has passed, by another rule', '/ignore', $token, [401, 'EXPIRED', 'expired']);
is($as->questions($token), 1, 'exp passes: one question');

# Of several exp the earliest counts.

for my $exps ([time + 300, time - 1], [time - 1, time + 300]) {
    $token = scripted(json(@$exps));
    calls('the earliest exp', '/', $token, [401, 'MISS', 'expired'], [401, 'EXPIRED', 'expired']);
}

# Dates as servers write them.

my $dates = sub {
    my ($exp) = @_;
    my $jwt = jwt(claims => { exp => undef });
    return $as->json_answer(qq({"active":true,"jwt":"$jwt","exp":$exp}));
};
calls("exp $_", '/', scripted($dates->($_)), [401, 'MISS', 'expired']) for qw(0 -1 1 1.5 1e3 "1000");
calls("exp $_", '/', scripted($dates->($_)), $miss, $hit)
    for (time + 300) . '.75', '"' . (time + 300) . '"', '1e300', '99999999999999999999';

# max_ttl belongs to the location that asks.

my $revoked = scripted($as->jwt_answer(jwt()), $as->jwt_answer(jwt()), $as->inactive_answer());
calls('max_ttl', '/', $revoked, $miss, $hit);
$response = call_until(\&is_asked, '/short', $revoked);
is($response->status(), 200, 'max_ttl: asked again where it is short');
is($as->questions($revoked), 2, 'max_ttl: one further question');
calls('max_ttl, elsewhere', '/', $revoked, $hit);

$response = call_until(\&is_asked, '/short', $revoked);
is($response->status(), 401, 'revoked');
calls('revoked, elsewhere', '/', $revoked, [401, 'NEGATIVE', 'inactive']);

# Neither exp nor max-age.

calls('no time at all', '/', scripted(timeless()), $miss, $miss);
calls('default_ttl', '/default_ttl', scripted(timeless()), $miss, $hit);
$token = scripted(timeless());
calls('default_ttl of one location', '/default_ttl', $token, $miss);
calls('is not that of another', '/', $token, $miss);
calls('null is no exp', '/', scripted($dates->('null')), $miss, $miss);

# Cache-Control: lower.

$token = scripted($as->jwt_answer(jwt(), cache_control('no-store, max-age=0')));
calls('lower, no-store beside exp', '/', $token, $miss, $hit);
calls('lower, no-store without exp', '/default_ttl', scripted(timeless(cache_control('no-store'))), $miss, $miss);
calls('lower, max-age without exp', '/', scripted(timeless(cache_control('max-age=60'))), $miss, $hit);
calls('lower, max-age=0 without exp', '/default_ttl', scripted(timeless(cache_control('max-age=0'))), $miss, $miss);
$token = scripted($as->jwt_answer(jwt(), cache_control('private=x', 'MAX-AGE="1"')));
calls('lower, a max-age that does not count', '/', $token, $miss, $hit);

$token = scripted($as->jwt_answer(jwt(), cache_control('max-age=3')));
calls('lower, max-age shortens', '/', $token, $miss, $hit);
is(call_until(\&is_asked, '/', $token)->status(), 200, 'lower, max-age is over');
calls('ignore, the same verdict', '/ignore', $token, $hit);

# Cache-Control: obey and ignore.

calls('obey, no-store beside exp', '/obey', scripted($as->jwt_answer(jwt(), cache_control('no-store'))), $miss, $miss);
calls('obey, exp', '/obey', scripted($as->jwt_answer(jwt())), $miss, $hit);
calls('ignore, no-store without exp', '/ignore', scripted(timeless(cache_control('no-store'))), $miss, $hit);
$token = scripted(timeless(cache_control('max-age=60')));
calls('ignore, max-age without exp', '/ignore_no_default', $token, $miss, $miss);

# No cache, another zone, another key.

$token = scripted($as->jwt_answer(jwt()));
calls('off', '/off', $token, [200, 'BYPASS'], [200, 'BYPASS']);
is($as->questions($token), 2, 'off: asked each time');
calls('off does not fill the zone', '/', $token, $miss, $hit);
calls('another zone', '/two', $token, $miss, $hit);
calls('another key', '/key?k=1', $token, $miss, $hit);
calls('and yet another', '/key?k=2', $token, $miss, $hit);
calls('no key', '/key', $token, $hit);
is($as->questions($token), 6, 'six questions');
