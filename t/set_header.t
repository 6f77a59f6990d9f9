#!/usr/bin/perl

# Headers that the gateway asserts (phantom_token_set_header, as nginx-conf/claims.conf has them): whatever forwards the
# request, the API gets the verdict's value, or none, and never what a client sent under that name.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use JSON::PP;

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Application::FastCGI;
use Test::PhantomToken::Application::SCGI;
use Test::PhantomToken::Application::Uwsgi;
use Test::PhantomToken::Shipped qw(ship);

my %port = (fastcgi => 8084, uwsgi => 8085, scgi => 8086);

my $t = Test::Nginx->new()->has(qw(http proxy grpc http_v2 access auth_request mirror fastcgi uwsgi scgi))->plan(63);

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');
my %pass = (
    proxy => 'proxy_pass http://127.0.0.1:8082;',
    grpc => 'grpc_pass grpc://127.0.0.1:8083;',
    map { $_ => "${_}_param REQUEST_URI \$request_uri; ${_}_pass 127.0.0.1:$port{$_};" } keys %port,
);
my $locations = join '', map { <<"CONF" } sort keys %pass;
        location /$_ { phantom_token on; include phantom-token/claims.conf; $pass{$_} }
        location /$_/any { phantom_token on; satisfy any; allow all; include phantom-token/claims.conf; $pass{$_} }
        location /$_/off { phantom_token off; include phantom-token/claims.conf; $pass{$_} }
CONF

ship($t);
$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LOCATIONS%%/$locations/r =~ s/%%LISTEN%%/$listen/r =~ s/%%H2%%/$directive/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    underscores_in_headers on;

    phantom_token_introspection_endpoint /introspect;
    phantom_token_forward claims;

    server {
        listen 127.0.0.1:8080;

%%LOCATIONS%%
        location /seen {
            set $before $http_x_subject;
            add_header After $http_x_subject always;
            phantom_token on;
            phantom_token_set_header X-Subject "user $phantom_token_claim_sub";
            phantom_token_set_header X-Tenant $arg_tenant;
            phantom_token_set_header X-Path $uri;
            proxy_pass http://127.0.0.1:8082;
        }
        location /preflight {
            phantom_token on;
            phantom_token_preflight pass;
            include phantom-token/claims.conf;
            proxy_pass http://127.0.0.1:8082;
        }
        location /mirrored {
            phantom_token on;
            include phantom-token/claims.conf;
            mirror /mirror;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /mirror { internal; include phantom-token/claims.conf; proxy_pass http://127.0.0.1:8082; }

        # A redirect to a location with other headers, and to one that is off.
        location /moved/ {
            phantom_token on;
            phantom_token_set_header X-Subject $phantom_token_claim_sub;
            try_files /nothing /to$uri;
        }
        location /to/moved/ {
            phantom_token on;
            phantom_token_set_header X-Tenant tenant;
            proxy_pass http://127.0.0.1:8082;
        }
        location /to/moved/off { phantom_token off; include phantom-token/claims.conf; proxy_pass http://127.0.0.1:8082; }

        location /checked {
            auth_request /check;
            include phantom-token/claims.conf;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /check {
            internal;
            phantom_token on;
            include phantom-token/claims.conf;
            proxy_pass http://127.0.0.1:8082/check;
        }

        # An inner level's replace the outer one's.
        location /inner {
            phantom_token_set_header X-Outer outer;
            phantom_token on;
            proxy_pass http://127.0.0.1:8082;

            location /inner/none { proxy_pass http://127.0.0.1:8082; }
            location /inner/own { phantom_token_set_header X-Own own; proxy_pass http://127.0.0.1:8082; }
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%
        location / { proxy_pass http://127.0.0.1:8082; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
my %application = (
    fastcgi => Test::PhantomToken::Application::FastCGI->start($t, $port{fastcgi}),
    uwsgi => Test::PhantomToken::Application::Uwsgi->start($t, $port{uwsgi}),
    scgi => Test::PhantomToken::Application::SCGI->start($t, $port{scgi}),
);
$t->run();

# The values of a header of the request that arrived last, joined; '-': there is none.
sub arrived {
    my ($protocol, @names) = @_;
    if (my $application = $application{$protocol}) {
        my $request = $application->request();
        return join '|', map {
            my $name = 'HTTP_' . uc tr/-/_/r;
            my @values = map { $_->[1] } grep { $_->[0] eq $name } @{ $request->{variables} };
            @values ? join(',', @values) : '-';
        } @names;
    }
    my $request = $api->last_request();
    return join '|', map { $api->header($request, $_) // '-' } @names;
}

sub known {
    my (%claims) = @_;
    my $token = token();
    $as->script($token, $as->json_answer({ active => JSON::PP::true, exp => time + 300, %claims }));
    return $token;
}

my @forged = ('X-Subject' => 'forged', 'x-subject' => 'again', 'X_Subject' => 'forged', 'X-Client-Id' => 'forged',
    'X-Scope' => 'admin', 'X-Kept' => 'kept');
my @names = qw(X-Subject X_Subject X-Client-Id X-Scope X-Kept);

for my $protocol (sort keys %pass) {
    my $token = known(sub => 'alice', scope => 'read write');
    my $expected = $application{$protocol} ? 'alice|alice|-|read write|kept' : 'alice|-|-|read write|kept';
    my $none = '-|-|-|-|kept';

    for my $state (qw(miss hit)) {
        is(call("/$protocol", $token, headers => \@forged)->status(), 200, "$protocol, $state: passes");
        is(arrived($protocol, @names), $expected, "$protocol, $state: the verdict's, and no other");
    }
    call("/$protocol", known(), headers => \@forged);
    is(arrived($protocol, @names), $none, "$protocol: nothing where there is no such claim");
    call("/$protocol/any", undef, headers => \@forged);
    is(arrived($protocol, @names), $none, "$protocol, satisfy any: nothing without a verdict");
    call("/$protocol/off", undef, headers => \@forged);
    is(arrived($protocol, @names), $none, "$protocol, off: nothing, for there is no verdict");
    is($as->questions($token), 1, "$protocol: one question");
}

# Any value; and what NGINX has read of the header before.

my $token = known(sub => 'alice');
my $response = call('/seen/a?tenant=blue', $token, headers => [@forged, 'X-Tenant' => 'forged']);
is(arrived('proxy', qw(X-Subject X-Tenant X-Path)), 'user alice|blue|/seen/a', 'values with text and other variables');
is($response->header('After'), 'user alice', 'the variable of the header shows what is there now');
call('/seen/a', $token, headers => ['X-Tenant' => 'forged']);
is(arrived('proxy', 'X-Tenant'), '-', 'an empty value is no header');
$response = call('/seen/a%0d%0aX-Evil:%201', $token, headers => ['X-Path' => 'forged']);
is($response->status() . ' ' . arrived('proxy', qw(X-Path X-Evil)), '200 -|-', 'nor is one with a control character');
like($t->read_file('error.log'), qr/phantom_token: the value of the header "X-Path" has a control character/,
    'which the log says');

# Without a verdict.

call('/preflight', undef, method => 'OPTIONS',
    headers => [@forged, Origin => 'https://app.example', 'Access-Control-Request-Method' => 'GET']);
is(arrived('proxy', @names), '-|-|-|-|kept', 'a preflight that passes');

# Subrequests.

my $before = $api->count();
call('/mirrored', $token, headers => \@forged);
$api->wait_for('/mirror', 1);
is($api->header($api->last_request('/mirror'), 'X-Subject'), 'alice', 'a mirror has what the request has');
is($api->header($api->last_request('/mirrored'), 'X-Subject'), 'alice', 'which has it once');
$api->script('/check', { status => 200 });
call('/checked', $token, headers => \@forged);
is($api->header($api->last_request('/check'), 'X-Subject'), undef, 'a check without a verdict gets none');
is($api->header($api->last_request('/checked'), 'X-Subject'), undef, 'nor does a location that is off behind it');

# Redirects.

call('/moved/on', $token, headers => [@forged, 'X-Tenant' => 'forged']);
is(arrived('proxy', qw(X-Subject X-Tenant)), '-|tenant', 'another location: its own, and not the former one\'s');
call('/moved/off', $token, headers => \@forged);
is(arrived('proxy', qw(X-Subject X-Scope)), 'alice|-', 'one that is off: what was asserted, and nothing of the client\'s');

# Levels.

for my $case (['/inner', 'outer|forged'], ['/inner/none', 'outer|forged'], ['/inner/own', 'forged|own']) {
    call($case->[0], $token, headers => ['X-Outer' => 'forged', 'X-Own' => 'forged']);
    is(arrived('proxy', qw(X-Outer X-Own)), $case->[1], "$case->[0]: inherited as proxy_set_header is");
}

# nginx -t.

for my $case (
    ['phantom_token_set_header Host $host;', 'cannot use the header "Host"'],
    ['phantom_token_set_header Authorization x;', 'cannot use the header "Authorization"'],
    ['phantom_token_set_header DPoP x;', 'cannot use the header "DPoP"'],
    ['phantom_token_set_header "X Y" x;', 'has an invalid header name "X Y"'],
    ['phantom_token_set_header X-Y x; phantom_token_set_header x_y z;', 'is duplicate'],
    ['phantom_token_set_header X-Y $nothing;', 'unknown "nothing" variable'],
    ['phantom_token_header X-Y; phantom_token_set_header X-Y z;', 'are both "X-Y"'],
    ['phantom_token_envelope_header X-Y; phantom_token_set_header X-Y z;', 'are both "X-Y"'],
) {
    my ($directives, $message) = @$case;
    like($t->conf_fails(<<"CONF") // 'accepted', qr/\Q$message\E/, $directives);
%%TEST_GLOBALS%%
events {}
http {
    server {
        listen 127.0.0.1:8080;
        location / { phantom_token on; phantom_token_introspection_endpoint /i; $directives }
    }
}
CONF
}
