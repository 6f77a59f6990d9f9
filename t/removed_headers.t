#!/usr/bin/perl

# What is removed from a request stays removed for all who look at it later, and from nobody else: neither do NGINX's
# pointers come to point to another header, nor does a request see what was taken from its subrequest.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy auth_request rewrite))->plan(15);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;

    server {
        listen 127.0.0.1:8080;
        proxy_set_header Seen-Cookie "<$http_cookie>";
        proxy_set_header Seen-Authorization "<$http_authorization>";

        location = /cookie { phantom_token on token=$cookie_tok; proxy_pass http://127.0.0.1:8082; }
        location = /own {
            phantom_token on token=$cookie_tok;
            phantom_token_header X-Access-Token;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /header {
            phantom_token on token=$http_x_token;
            proxy_set_header Seen-Token "<$http_x_token>";
            proxy_pass http://127.0.0.1:8082;
        }

        # The API has authorization of its own, which a location that is on is asked about.
        location = /parent { auth_request /check; proxy_pass http://127.0.0.1:8082; }
        location = /parent_cookie { auth_request /check_cookie; proxy_pass http://127.0.0.1:8082; }
        location = /check { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /check_cookie { phantom_token on token=$cookie_tok; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# What the API sees of a request with just these header lines.
sub seen {
    my ($path, $at, @lines) = @_;

    my $connection = http_connection();
    $connection->send(join "\r\n", "GET $path HTTP/1.0", @lines, '', '');
    is($connection->response()->status(), 200, "$path passes");
    $connection->close();
    return $api->last_request($at);
}

# The only header, which the first part of NGINX's list holds alone.

for my $case (['/cookie', 'Authorization', "Bearer $jwt"], ['/own', 'X-Access-Token', $jwt]) {
    my ($path, $header, $value) = @$case;
    my $request = seen($path, $path, "Cookie: tok=$token");
    is(scalar $api->header($request, 'Seen-Cookie'), '<>', "$path: no cookie is left, nor anything in its place");
    is(scalar $api->header($request, $header) eq $value, 1, "$path: the JWT");
}

{
    my $request = seen('/header', '/header', "X-Token: $token");
    is(scalar $api->header($request, 'Seen-Token'), '<>', '/header: no token is left');
    is(scalar $api->header($request, 'Authorization') eq "Bearer $jwt", 1, '/header: the JWT');
}

# A subrequest that is stripped, and then its parent.

{
    my $request = seen('/parent', '/parent', "Authorization: Bearer $token");
    is(scalar $api->header($request, 'Seen-Authorization') eq "<Bearer $token>", 1, 'the request has what is its own');
    $request = $api->last_request('/check');
    is(scalar $api->header($request, 'Seen-Authorization'), '<>', 'its subrequest has not');

    $request = seen('/parent_cookie', '/parent_cookie', "Cookie: a=b; tok=$token");
    is(scalar $api->header($request, 'Seen-Cookie') eq "<a=b; tok=$token>", 1, 'nor is its cookie taken');
    $request = $api->last_request('/check_cookie');
    unlike($request->{head}, qr/\Q$token/, 'which its subrequest does not send');
}
