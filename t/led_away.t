#!/usr/bin/perl

# A request that NGINX takes out of a location that is on before it is decided there, by `post_action` or `error_page`,
# to one that is off: the opaque token does not get there, in whatever carried it, nor into its subrequests.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my @denied = qw(/deny /deny_uri /deny_header /deny_cookie /deny_asked);

my $t = Test::Nginx->new()->has(qw(http proxy access auth_request limit_req rewrite))
    ->plan(2 * @denied + 14);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    limit_req_zone $server_port zone=slow:1m rate=6r/m;

    server {
        listen 127.0.0.1:8080;

        location = / { phantom_token on; post_action /done; proxy_pass http://127.0.0.1:8082; }
        location = /back { phantom_token on; post_action /again; proxy_pass http://127.0.0.1:8082; }
        location = /again { try_files /nothing /back; }
        location = /limited {
            phantom_token on;
            limit_req zone=slow burst=9;
            post_action /done;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /done { post_action ""; proxy_pass http://127.0.0.1:8082; }

        location /deny { phantom_token on; deny all; error_page 403 = @off; }
        location /deny_uri { phantom_token on; deny all; error_page 403 = /off; }
        location /deny_header { phantom_token on token=$http_x_token; deny all; error_page 403 = @off; }
        location /deny_cookie { phantom_token on token=$cookie_session; deny all; error_page 403 = @off; }
        location /deny_asked { phantom_token on; deny all; error_page 403 = @asked; }
        location @off { proxy_pass http://127.0.0.1:8082; }
        location @asked { auth_request /check; proxy_pass http://127.0.0.1:8082; }
        location = /off { proxy_pass http://127.0.0.1:8082; }
        location = /check { proxy_pass http://127.0.0.1:8082; }

        # Where the request has never been.
        location /rewritten { phantom_token on; error_page 403 = @off; rewrite ^ /off last; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $jwt = jwt();
my $basic = 'Basic YTpi';

# Denied before the module has seen it.

for my $path (@denied) {
    my $token = token();
    my $response = $path =~ /header|cookie/
        ? http_request('GET', $path,
            headers => [Authorization => $basic, 'X-Token' => $token, Cookie => "a=b; session=$token"])
        : call($path, $token);
    is($response->status(), 200, "$path: led to a location that is off");
    my $carried = $path =~ /header/ ? qr/^X-Token: /mi : $path =~ /cookie/ ? qr/session=/ : qr/^Authorization:/mi;
    my @requests = map { $api->requests($_) } $path, $path =~ /uri/ ? '/off' : (), $path =~ /asked/ ? '/check' : ();
    is(scalar(grep { $_->{head} =~ $carried } @requests), 0, "$path: without what carried the token");
}

my ($request) = $api->requests('/deny_cookie');
is(scalar $api->header($request, 'Authorization'), $basic, 'credentials of another scheme stay');
is(scalar $api->header($request, 'Cookie'), 'a=b', 'and other cookies');
is($as->questions(), 0, 'nobody was asked');
is($api->count('/check'), 1, 'the subrequest was there');

my $own = token();
call('/rewritten', $own);
is(scalar $api->header($api->last_request('/off'), 'Authorization') eq "Bearer $own", 1,
    'a request that is rewritten has not been there');

# Starts a request, and says when NGINX has it.
sub started {
    my ($path, $token) = @_;
    my $connection = http_connection();
    $connection->send("GET $path HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $token\r\n\r\n");
    return $connection;
}

# The worker has seen all that came before.
sub barrier { return http_get('/nothing') }

# A client that goes away while limit_req holds it back.

{
    my @tokens = map { token() } 1 .. 2;
    $as->script($_, $as->jwt_answer($jwt)) for @tokens;
    call('/limited', $tokens[0]);
    $api->wait_for('/done', 1);
    my $client = started('/limited', $tokens[1]);
    barrier();
    $client->close();
    $api->wait_for('/done', 2);
    my @requests = $api->requests('/done');
    unlike($requests[1]{head}, qr/\Q$tokens[1]/, 'post_action of a request that was held back: not the token');
    is($as->questions($tokens[1]), 0, 'which nobody has asked about');
}

# A client that goes away in the moment of the answer.

for my $role (0, 1) {
    for my $answer_first (0, 1) {
        my $token = token();
        $as->script($token, $as->jwt_answer($jwt, hold => 1));
        my $before = $api->count('/done');
        my @clients = started('/', $token);
        $as->wait_for_question($token, 1);
        push @clients, started('/', $token);
        barrier();

        my @steps = (
            sub { $clients[$role]->close() },
            sub { $as->release($token); select undef, undef, undef, 0.01 while $as->busy() },
        );
        my ($worker) = $t->workers();
        kill STOP => $worker;
        $_->() for $answer_first ? reverse @steps : @steps;
        kill CONT => $worker;

        is($clients[1 - $role]->response()->status(), 200, 'the other one is served');
        $api->wait_for('/done', $before + 1);
        $clients[1 - $role]->close();
    }
}

# A wait that post_action leaves, and comes back to.

{
    my $token = token();
    $as->script($token, $as->jwt_answer($jwt, hold => 1));
    my $asking = started('/back', $token);
    $as->wait_for_question($token, 1);
    my $waiting = started('/back', $token);
    barrier();
    $waiting->close();
    barrier();
    $as->release($token);
    is($asking->response()->status(), 200, 'the one who asks is served');
    $asking->close();
    barrier();
    $t->stop();
    is(scalar(grep { /open socket/ } $t->alerts()), 0, 'no request is left behind');
}

my @opaque = grep { $_->{uri} ne '/off' && $_->{head} =~ /Bearer (?!eyJ)/ } $api->requests();
is(scalar @opaque, 0, 'no opaque token went upstream');
