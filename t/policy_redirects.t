#!/usr/bin/perl

# A verdict that a request brings along from another location, or that a subrequest finds, holds where the policy of
# the location that it comes to is met, and nowhere else.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy map mirror ssi access auth_basic))->plan(83);

$t->write_file('page.shtml', '<!--#include virtual="/inside/met" --> <!--#include virtual="/inside/unmet" -->');
$t->write_file('htpasswd', 'user:{PLAIN}password');
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_cache_zone one:1m;
    phantom_token_cache_zone two:1m;
    phantom_token_cache one;
    phantom_token on;
    add_header Slug $phantom_token_error always;
    map $phantom_token_claim_sub $is_alice { alice 1; default 0; }
    map $phantom_token_claim_sub $is_bob { bob 1; default 0; }
    recursive_error_pages on;

    server {
        listen 127.0.0.1:8080;
        phantom_token_introspection_endpoint /introspect;

        location / { proxy_pass http://127.0.0.1:8082; }

        # From a location without rules to one with some, and back.
        location /to_met { try_files /none /met; }
        location /to_unmet { try_files /none /unmet; }
        location /to_elsewhere { try_files /none /elsewhere; }
        location /to_required { try_files /none /required; }
        location /to_forbidden { try_files /none /forbidden; }
        location = /met {
            phantom_token_require_scope write read;
            phantom_token_require_audience api;
            phantom_token_require $is_alice;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /unmet { phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }
        location = /elsewhere { phantom_token_require_audience other; proxy_pass http://127.0.0.1:8082; }
        location = /required { phantom_token_require $is_bob; proxy_pass http://127.0.0.1:8082; }
        location = /forbidden { phantom_token_require $is_bob error=403; proxy_pass http://127.0.0.1:8082; }
        location /strict_first { phantom_token_require_scope read; try_files /none /open; }
        location = /open { proxy_pass http://127.0.0.1:8082; }

        # After a refusal.
        location /falls_back { phantom_token_require_scope admin; error_page 403 = /open; proxy_pass http://127.0.0.1:8082; }
        location /falls_further {
            phantom_token_require_scope admin;
            error_page 403 = /elsewhere;
            proxy_pass http://127.0.0.1:8082;
        }
        location /falls_to_page {
            phantom_token_require_scope admin;
            error_page 403 /page;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /page { phantom_token off; proxy_set_header X-Subject $phantom_token_claim_sub; proxy_pass http://127.0.0.1:8082; }

        # What another method lets pass has no verdict.
        location /any_met { satisfy any; allow all; phantom_token_require_scope read; proxy_pass http://127.0.0.1:8082; }
        location /any_unmet { satisfy any; allow all; phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }
        location /brings_met { try_files /none /any_met; }
        location /brings_unmet { try_files /none /any_unmet; }
        location /brings_required { try_files /none /any_required; }
        location /any_required { satisfy any; allow all; phantom_token_require $is_bob; proxy_pass http://127.0.0.1:8082; }
        location /basic {
            satisfy any;
            auth_basic closed;
            auth_basic_user_file %%TESTDIR%%/htpasswd;
            phantom_token_require_scope admin;
            proxy_pass http://127.0.0.1:8082;
        }
        location /denied { deny all; phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }

        # Subrequests.
        location = /page.shtml { ssi on; default_type text/html; root %%TESTDIR%%; }
        location /inside/met { phantom_token_require_scope read; proxy_pass http://127.0.0.1:8082; }
        location /inside/unmet { phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }
        location /mirrored_met { mirror /inside/met; proxy_pass http://127.0.0.1:8082; }
        location /mirrored_unmet { mirror /inside/unmet; proxy_pass http://127.0.0.1:8082; }
        location /mirrored_required { mirror /inside/required; proxy_pass http://127.0.0.1:8082; }
        location /inside/required { phantom_token_require $is_bob; proxy_pass http://127.0.0.1:8082; }
        location /mirrored_other_zone { mirror /inside/other_zone; proxy_pass http://127.0.0.1:8082; }
        location /inside/other_zone {
            phantom_token_cache two;
            phantom_token_require_scope read;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # Named locations that have nobody to ask apply the verdict that is there, by their own rules.
    server {
        listen 127.0.0.1:8083;
        location /met { phantom_token_introspection_endpoint /introspect; try_files /none @met; }
        location /unmet { phantom_token_introspection_endpoint /introspect; try_files /none @unmet; }
        location /other_zone { phantom_token_introspection_endpoint /introspect; try_files /none @other_zone; }
        location /other_unmet { phantom_token_introspection_endpoint /introspect; try_files /none @other_unmet; }
        location @met { phantom_token_require_scope read; proxy_pass http://127.0.0.1:8082; }
        location @unmet { phantom_token_require_scope admin; proxy_pass http://127.0.0.1:8082; }
        location @other_zone {
            phantom_token_cache two;
            phantom_token_require_scope read;
            phantom_token_require_audience api;
            proxy_pass http://127.0.0.1:8082;
        }
        location @other_unmet {
            phantom_token_cache off;
            phantom_token_require_scope read admin;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# status slug
sub said {
    my ($response) = @_;
    return join ' ', $response->status(), grep { defined } $response->header('Slug');
}

# The first time the token is asked about, then it is a hit: twice each.

for my $case (
    ['/to_met', '200'], ['/to_unmet', '403 insufficient_scope'], ['/to_elsewhere', '401 audience'],
    ['/to_required', '401 requirement'], ['/to_forbidden', '403 requirement'], ['/strict_first', '200'],
    ['/met', '200', 8083], ['/unmet', '403 insufficient_scope', 8083], ['/other_zone', '200', 8083],
    ['/other_unmet', '403 insufficient_scope', 8083],
) {
    my ($uri, $expected, $port) = @$case;
    my $fresh = token();
    $as->script($fresh, $as->jwt_answer($jwt));
    for my $state (qw(miss hit)) {
        my $response = call($uri, $fresh, port => $port // 8080);
        is(said($response), $expected, "$uri, $state");
        is($api->authorization($response), $expected eq '200' ? "Bearer $jwt" : undef, "$uri, $state: upstream");
    }
    is($as->questions($fresh), 1, "$uri: asked once");
}

# After a refusal: the next location decides anew, and nothing of the challenge is left.

my $response = call('/falls_back', $token);
is(said($response), '200', 'a location without rules');
is($response->header('WWW-Authenticate'), undef, 'no challenge');
is($api->authorization($response), "Bearer $jwt", 'its JWT');
$response = call('/falls_further', $token);
is(said($response), '401 audience', 'a location with others');
is(join('|', $response->head() =~ /^WWW-Authenticate: ([^\r\n]*)/mg), 'Bearer realm="api", error="invalid_token"',
    'its challenge alone');
$response = call('/falls_to_page', $token);
is($response->status(), 403, 'an error page');
is($response->header('WWW-Authenticate'), 'Bearer realm="api", scope="admin", error="insufficient_scope"',
    'an error page: the challenge');
my $request = $api->last_request('/page');
is($api->header($request, 'Authorization'), undef, 'an error page: no token, no JWT');
is($api->header($request, 'X-Subject'), undef, 'an error page: no claim');

# Another method.

for my $case (['/any_met'], ['/any_unmet'], ['/brings_met', 1], ['/brings_unmet'], ['/brings_required']) {
    my ($uri, $has_verdict) = @$case;
    $response = call($uri, $token);
    is($response->status(), 200, "$uri: open to all");
    # NGINX asks nobody else where the first method lets pass.
    is($api->authorization($response), $has_verdict ? "Bearer $jwt" : undef, "$uri: upstream");
}
is(call('/basic', $token)->status(), 401, 'neither a password nor the scope');
$response = call('/basic', undef, headers => [Authorization => 'Basic dXNlcjpwYXNzd29yZA==']);
is($response->status(), 200, 'a password instead');
my $denied = token();
is(call('/denied', $denied)->status(), 403, 'denied by address');
is($as->questions($denied), 0, 'denied by address: nobody is asked');

# Subrequests.

call('/page.shtml', $token);
is($api->header($api->last_request('/inside/met'), 'Authorization'), "Bearer $jwt", 'SSI: a policy that is met');
is($api->header($api->last_request('/inside/unmet'), 'Authorization'), undef, 'SSI: one that is not');

for my $case (['met', 1], ['unmet'], ['required'], ['other_zone', 1]) {
    my ($name, $is_met) = @$case;
    my $before = $api->count("/inside/$name");
    is(call("/mirrored_$name", $token)->status(), 200, "a mirror, $name");
    $api->wait_for("/inside/$name", $before + 1);
    is($api->header($api->last_request("/inside/$name"), 'Authorization'), $is_met ? "Bearer $jwt" : undef,
        "a mirror, $name: upstream");
}
