#!/usr/bin/perl

# A request that NGINX takes to another location while it waits, or after its verdict: what belongs to one
# location is not applied in another one, and no credentials go along.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(time);

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy mirror))->plan(38);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    recursive_error_pages on;

    server {
        listen 127.0.0.1:8080;
        phantom_token on;
        phantom_token_introspection_endpoint /introspect;
        proxy_set_header Cookie $http_cookie;
        proxy_set_header X-Opaque $http_x_opaque;

        location / { proxy_pass http://127.0.0.1:8082; }

        # From one authorization server to the next.
        location /first {
            phantom_token_lock_timeout 2s;
            error_page 503 = /second;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /barrier { phantom_token off; return 204; }
        location = /leads_on { phantom_token_lock_timeout 1s; proxy_pass http://127.0.0.1:8082; }
        location = /led_on {
            internal;
            phantom_token_lock_timeout 1m;
            phantom_token_introspection_endpoint /introspect_second;
            proxy_pass http://127.0.0.1:8082;
        }
        location /second {
            phantom_token_introspection_endpoint /introspect_second;
            proxy_pass http://127.0.0.1:8082;
        }

        # To a location with other rules, which sees the request without an access phase.
        location /mirrored { mirror /other; proxy_pass http://127.0.0.1:8082; }
        location /tried { try_files /nothing @any; }
        location /other {
            phantom_token on token=$cookie_session;
            phantom_token_header X-Access-Token;
            phantom_token_introspection_endpoint /introspect_second;
            proxy_pass http://127.0.0.1:8082;
        }
        location @any {
            satisfy any;
            allow all;
            phantom_token on token=$cookie_session;
            phantom_token_header X-Access-Token;
            phantom_token_introspection_endpoint /introspect_second;
            proxy_pass http://127.0.0.1:8082;
        }

        # Away from a client that is gone.
        location /posted { post_action /after; proxy_pass http://127.0.0.1:8082; }
        location /posted_off { post_action /after_off; proxy_pass http://127.0.0.1:8082; }
        location /after {
            phantom_token_introspection_endpoint /introspect_second;
            proxy_pass http://127.0.0.1:8082;
        }
        location /after_off { phantom_token off; proxy_pass http://127.0.0.1:8082; }

        # Variables that were evaluated before the header was changed.
        location /cookie {
            if ($http_cookie ~ "nothing") { return 403; }
            phantom_token on token=$cookie_session;
            proxy_pass http://127.0.0.1:8082;
        }
        location /header { phantom_token on token=$http_x_opaque; proxy_pass http://127.0.0.1:8082; }

        location /gives_up { phantom_token_introspection_endpoint /closes; proxy_pass http://127.0.0.1:8082; }
        location /intercepts { phantom_token_introspection_endpoint /intercepted; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_second { internal; proxy_pass http://127.0.0.1:8083; }
        location = /closes { internal; return 499; }
        location = /intercepted {
            internal;
            proxy_intercept_errors on;
            error_page 408 /page;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my ($as, $second) = (authorization_server($t, 8081), authorization_server($t, 8083));
my $api = api($t);
$t->run();

sub start {
    my ($uri, $token) = @_;
    return http_connection()->request('GET', $uri, headers => [Authorization => "Bearer $token"]);
}

# A wait that timed out, then a question of its own, to the second server; the first one's answer comes last. The
# second request must come before the first one's question counts as late, which is after as long a time.

my ($token, $jwt, $other_jwt) = (token(), jwt(), jwt());
$as->script($token, $as->jwt_answer($jwt, hold => 1));
$second->script($token, $second->jwt_answer($other_jwt, hold => 1));

my $asking = start('/first', $token);
$as->wait_for_question($token, 1);
my $moved = start('/first', $token);
$second->wait_for_question($token, 1);
$second->release($token);
my $response = $moved->response();
is($response->status(), 200, 'asked again after the wait');
is($response->header('Cache-Status'), 'MISS', 'asked again after the wait: by itself');
is($api->authorization($response), "Bearer $other_jwt", 'the JWT of the second server');
is($response->header('Retry-After'), undef, 'and nothing of the refusal before');
$as->release($token);
$response = $asking->response();
is($response->status(), 200, 'the one who asked first');
is($api->authorization($response), "Bearer $jwt", 'the JWT of the first server');
is($api->authorization(call('/', $token)), "Bearer $jwt", 'each is kept: the first');
is($api->authorization(call('/second', $token)), "Bearer $other_jwt", 'each is kept: the second');
is($second->questions($token), 1, 'each was asked once');

# A wait that has brought a verdict, and later, in the location that the API names, another wait: it begins anew.

$token = token();
$as->script($token, $as->jwt_answer($jwt, hold => 1));
$second->script($token, $second->jwt_answer($other_jwt, hold => 1));
$api->script('/leads_on', { headers => ['X-Accel-Redirect' => '/led_on'], hold => 1 });
$asking = start('/second', $token);
$second->wait_for_question($token, 1);
my @led = (start('/leads_on', $token));
$as->wait_for_question($token, 1);
my $waited_since = time;
push @led, start('/leads_on', $token);
call('/barrier') for 1, 2;
$as->release($token);
$api->wait_for('/leads_on', 2);
# The time of the first wait is over, as if the API had taken so long.
ok(eventually(sub { time > $waited_since + 1.2 }), 'led on after a while');
$api->release('/leads_on');
call('/barrier') for 1, 2;
$second->release($token);
is(join(', ', map { $_->response()->status() } @led), '200, 200', 'both wait for the second question');
is($asking->response()->status(), 200, 'as does who asks it');

my $busy = token();
$as->script($busy, { status => 503, headers => ['Retry-After' => 5] });
$second->script($busy, { status => 429, headers => ['Retry-After' => 7] });
$response = call('/first', $busy);
is($response->status(), 503, 'both are busy');
is(join(' ', $response->head() =~ /^Retry-After: (\w+)/mg), '7', 'both are busy: one Retry-After, the last');

# Locations with other rules.

my $session = token();
for my $case (['/mirrored', '/other', 'a mirror'], ['/tried', '/tried', 'try_files']) {
    my ($uri, $seen_at, $name) = @$case;
    $response = call($uri, $token, headers => ['X-Access-Token' => 'forged', Cookie => "session=$session; a=b"]);
    is($response->status(), 200, "$name: status");
    $api->wait_for($seen_at, 1);
    my $request = $api->last_request($seen_at);
    is($api->header($request, 'X-Access-Token'), undef, "$name: nothing that only we may assert");
    is($api->header($request, 'Authorization'), undef, "$name: not the JWT of another server");
    is($api->header($request, 'Cookie'), $name eq 'a mirror' ? undef : 'a=b', "$name: not the cookie with the token");
}
is($second->questions($session), 0, 'and nobody was asked');

# Clients that go away.

for my $uri ('/posted', '/posted_off') {
    my $fresh = token();
    $as->script($fresh, $as->jwt_answer($jwt, hold => 1));
    my $asks = start($uri, $fresh);
    $as->wait_for_question($fresh, 1);
    start($uri, $fresh)->close();

    if ($uri eq '/posted') {
        $second->wait_for_question($fresh, 1);
        is($second->questions($fresh), 1, 'post_action to a location that is on: it asks by itself');
    } else {
        $api->wait_for('/after_off', 1);
        unlike($api->last_request('/after_off')->{head}, qr/\Q$fresh/, 'post_action to one that is off: not the token');
    }
    $as->release($fresh);
    my $answer = $asks->response();
    is($answer->status(), 200, "$uri: the one who asked has its answer");
    is($api->authorization($answer), "Bearer $jwt", "$uri: and its JWT");
    $asks->close();
}
is($api->count('/after'), 0, 'and no verdict of another location was applied');

# Variables.

call('/cookie', undef, headers => [Cookie => "session=$token; a=b"]);
is($api->header($api->last_request('/cookie'), 'Cookie'), 'a=b', '$http_cookie is evaluated anew');
call('/header', undef, headers => ['X-Opaque' => $token]);
is($api->header($api->last_request('/header'), 'X-Opaque'), undef, 'the variable of token= is evaluated anew');
is($api->authorization(call('/header', undef, headers => ['X-Opaque' => $token])), "Bearer $jwt", 'with the JWT');

# A question that ends like a client that goes away.

my $fresh = token();
$response = call('/gives_up', $fresh);
is($response->status(), 500, '499 in the introspection location');
is($response->header('Slug'), 'internal', '499 in the introspection location: slug');
$as->script($fresh, { status => 408, type => 'text/html', body => 'late' });
$response = call('/intercepts', $fresh);
is($response->status(), 502, '408 of the server, intercepted');
is($response->header('Slug'), 'server_refused_us', '408 of the server, intercepted: slug');

is(call('/', $token)->status(), 200, 'and all goes on');
