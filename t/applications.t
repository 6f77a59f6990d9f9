#!/usr/bin/perl

# Upstreams that are not spoken to in HTTP, FastCGI, uwsgi and SCGI: the JWT arrives in HTTP_AUTHORIZATION, or in the
# variable of phantom_token_header, and the opaque token in none.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Application::FastCGI;
use Test::PhantomToken::Application::SCGI;
use Test::PhantomToken::Application::Uwsgi;

my %port = (fastcgi => 8083, uwsgi => 8084, scgi => 8085);

my $t = Test::Nginx->new()->has(qw(http proxy access fastcgi uwsgi scgi))->plan(26 * keys %port);

my $locations = '';

for my $protocol (sort keys %port) {
    my $pass = "${protocol}_param REQUEST_METHOD \$request_method; ${protocol}_param REQUEST_URI \$request_uri; "
        . "${protocol}_param CONTENT_LENGTH \$content_length; ${protocol}_pass 127.0.0.1:$port{$protocol};";
    $locations .= <<"CONF";
        location /$protocol { phantom_token on; $pass }
        location /$protocol/header { phantom_token on; phantom_token_header X-Access-Token; $pass }
        location /$protocol/cookie { phantom_token on token=\$cookie_session; $pass }
        location /$protocol/streamed { phantom_token on; ${protocol}_request_buffering off; $pass }
        location /$protocol/own {
            phantom_token on;
            ${protocol}_pass_request_headers off;
            ${protocol}_param HTTP_AUTHORIZATION \$http_authorization;
            ${protocol}_param JWT \$phantom_token_jwt;
            $pass
        }
        location /$protocol/any { phantom_token on; satisfy any; allow all; $pass }
CONF
}

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LOCATIONS%%/$locations/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway secret-of-the-gateway;

    server {
        listen 127.0.0.1:8080;

%%LOCATIONS%%
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my %application = (
    fastcgi => Test::PhantomToken::Application::FastCGI->start($t, $port{fastcgi}),
    uwsgi => Test::PhantomToken::Application::Uwsgi->start($t, $port{uwsgi}),
    scgi => Test::PhantomToken::Application::SCGI->start($t, $port{scgi}),
);
$t->run();

my $jwt = jwt();
my $large = jwt(size => 20_000);

sub known {
    my ($known) = @_;
    my $token = token();
    $as->script($token, $as->jwt_answer($known // $jwt));
    return $token;
}

# Everything in a request that holds a text.
sub holding {
    my ($request, $text) = @_;
    return join ' ', grep { defined }
        map({ index($_->[1], $text) >= 0 ? $_->[0] : undef } @{ $request->{variables} }),
        index($request->{body}, $text) >= 0 ? 'body' : undef;
}

for my $protocol (sort keys %port) {
    my $application = $application{$protocol};
    my $token = known();

    for my $state (qw(miss hit)) {
        my $name = "$protocol, $state";
        my $response = call("/$protocol?a=b", $token, method => 'POST', body => 'a body',
            headers => ['X-Other' => 'kept', Accept => 'text/x', 'Content-Type' => 'text/y']);
        is($response->status() . ' ' . $response->body(), "200 served\n", "$name: served");

        my $request = $application->request();
        is($application->variable($request, 'HTTP_AUTHORIZATION') eq "Bearer $jwt", 1, "$name: the JWT");
        is(holding($request, $jwt), 'HTTP_AUTHORIZATION', "$name: nowhere else");
        is(holding($request, $token), '', "$name: not the token");
        is($request->{body}, 'a body', "$name: the body");
        is(join(' ', map { $application->variable($request, $_) } qw(REQUEST_METHOD REQUEST_URI HTTP_X_OTHER
            HTTP_ACCEPT HTTP_CONTENT_TYPE)), "POST /$protocol?a=b kept text/x text/y", "$name: all else as it was");
    }

    # Another header, and another source.

    $token = known();
    call("/$protocol/header", $token, headers => ['X-Access-Token' => 'forged']);
    my $request = $application->request();
    is($application->variable($request, 'HTTP_X_ACCESS_TOKEN') eq $jwt, 1, "$protocol, another header");
    is(holding($request, $jwt), 'HTTP_X_ACCESS_TOKEN', "$protocol, another header: nowhere else");
    is(holding($request, 'Bearer'), '', "$protocol, another header: no Authorization");

    call("/$protocol/cookie", 'forged', headers => [Cookie => "session=$token; a=b"]);
    $request = $application->request();
    is($application->variable($request, 'HTTP_AUTHORIZATION') eq "Bearer $jwt", 1, "$protocol, token from a cookie");
    is($application->variable($request, 'HTTP_COOKIE'), 'a=b', "$protocol, token from a cookie: which is removed");

    # A body that is passed on as it comes.

    my $body = 'x' x 100_000;
    call("/$protocol/streamed", known(), method => 'POST', body => $body);
    $request = $application->request();
    is($request->{body} eq $body, 1, "$protocol, streamed");
    is($application->variable($request, 'HTTP_AUTHORIZATION') eq "Bearer $jwt", 1, "$protocol, streamed: the JWT");

    # The operator's own variables.

    $token = known();
    call("/$protocol/own", $token);
    $request = $application->request();
    is(holding($request, $jwt), 'HTTP_AUTHORIZATION JWT', "$protocol, own variables");
    is(holding($request, $token), '', "$protocol, own variables: not the token");

    # A large JWT.

    call("/$protocol", known($large));
    $request = $application->request();
    is($application->variable($request, 'HTTP_AUTHORIZATION') eq "Bearer $large", 1, "$protocol, a JWT of 20 kB");

    # No verdict: none is needed, or none was reached.

    $token = known();
    is(call("/$protocol/any", $token)->status(), 200, "$protocol, satisfy any");
    is(holding($application->request(), $token), '', "$protocol, satisfy any: not the token");
    is(call("/$protocol", token())->status(), 401, "$protocol, inactive");
    is($application->idle(), 1, "$protocol, inactive: nothing arrives");
}
