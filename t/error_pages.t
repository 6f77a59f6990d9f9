#!/usr/bin/perl

# Each of our statuses, over HTTP/1.1 and HTTP/2, as it is and with error_page: a named location, a file, a proxied
# page, another status. WWW-Authenticate and Retry-After survive it, and no page sees what the request or the
# question carried.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy rewrite http_v2));

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');
my $statuses = '400 401 500 502 503 504';

# Locations: what they say, what status they answer with, if not the refusal's own, and what page.
my %pages = (
    plain => ['', undef, qr/^<html>/],
    named => ["error_page $statuses \@page;", undef, qr/^page of \w+$/],
    file => ["error_page $statuses /page.html;", undef, qr/^a file$/],
    proxied => ["error_page $statuses /proxied.html;", undef, qr{^GET /proxied\.html$}m],
    named_proxied => ["error_page $statuses = \@proxied;", 200, qr{^GET /named_proxied\?}m],
    replaced => ["error_page $statuses =418 \@page;", 418, qr/^page of \w+$/],
);

my $locations = join '', map {
    "location /$_ { $pages{$_}[0] proxy_pass http://127.0.0.1:8082; }\n"
} sort keys %pages;

$t->write_file('page.html', "a file\n");
my $conf = <<'CONF' =~ s/%%LOCATIONS%%/$locations/r =~ s/%%LISTEN%%/$listen/gr =~ s/%%H2%%/$directive/gr;
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_client_credential gateway secret-of-the-gateway;
    phantom_token_lock_timeout 50ms;
    add_header Slug $phantom_token_error always;

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8443%%LISTEN%%;
        %%H2%%

        phantom_token_introspection_endpoint /introspect/$arg_as;

        %%LOCATIONS%%
        location /external {
            error_page 401 https://login.example/;
            proxy_pass http://127.0.0.1:8082;
        }
        location /passes { proxy_pass http://127.0.0.1:8082; }

        # Who asks here is waited for by others as long as it takes, while each of them waits for 50 ms.
        location /asks { phantom_token_lock_timeout 1m; proxy_pass http://127.0.0.1:8082; }

        location @page { phantom_token off; return 200 "page of $phantom_token_error\n"; }
        location = /page.html { internal; phantom_token off; }
        location = /proxied.html { internal; phantom_token off; proxy_pass http://127.0.0.1:8082; }
        location @proxied { phantom_token off; proxy_pass http://127.0.0.1:8082; }

        location = /introspect/server { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect/slow { internal; proxy_read_timeout 50ms; proxy_pass http://127.0.0.1:8081; }
        location = /introspect/down { internal; proxy_pass http://127.0.0.1:8099; }
        location = /introspect/none { internal; return 403; }
    }

    # All of it on the outermost level, so that the introspection location inherits it.
    server {
        listen 127.0.0.1:8083;

        phantom_token_introspection_endpoint /introspect/$arg_as;
        proxy_intercept_errors on;
        error_page 400 401 403 404 429 500 502 503 504 /errors;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /errors { internal; phantom_token off; proxy_pass http://127.0.0.1:8082; }
        location = /introspect/server { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect/slow { internal; proxy_read_timeout 50ms; proxy_pass http://127.0.0.1:8081; }
        location = /introspect/down { internal; proxy_pass http://127.0.0.1:8099; }
    }
}
CONF
$t->write_file_expand('nginx.conf', $conf);

my $as = authorization_server($t);
my $api = api($t);

my $none = 'Bearer realm="api"';
my $invalid = 'Bearer realm="api", error="invalid_token"';
my $past = $as->json_answer({ active => JSON::PP::true, exp => time - 60, jwt => jwt() });

# Slug, status, challenge, Retry-After; the answer and the arguments that lead to it.
my @cases = (
    ['no_credentials', 401, $none, '', undef, 'as=server'],
    ['malformed', 401, $invalid, '', undef, 'as=server'],
    ['several_tokens', 400, 'Bearer realm="api", error="invalid_request"', '', undef, 'as=server&access_token=another'],
    ['inactive', 401, $invalid, '', $as->inactive_answer(), 'as=server'],
    ['expired', 401, $invalid, '', $past, 'as=server'],
    ['server_refused_us', 502, '', '', { status => 401, headers => ['WWW-Authenticate' => 'Basic'] }, 'as=server'],
    ['server_bad_answer', 502, '', '', { type => 'text/html', body => '<html></html>' }, 'as=server'],
    ['server_unreachable', 502, '', '', undef, 'as=down'],
    ['server_busy', 503, '', '7', { status => 429, headers => ['Retry-After' => 7] }, 'as=server'],
    ['overload', 503, '', '1', $as->inactive_answer(hold => 1), 'as=server'],
    ['server_timeout', 504, '', '', { hold => 1 }, 'as=slow'],
    ['internal', 500, '', '', undef, 'as=none'],
);

# Answers of the server that NGINX would make a page of, where it inherits that.
my @intercepted = (
    ['server_refused_us', 502, { status => 401, headers => ['WWW-Authenticate' => 'Basic realm="as"'] }, 'server'],
    ['server_refused_us', 502, { status => 404, type => 'text/html', body => '<html></html>' }, 'server'],
    ['server_unreachable', 502, { status => 500 }, 'server'],
    ['server_busy', 503, { status => 503, headers => ['Retry-After' => 7] }, 'server'],
    ['server_unreachable', 502, undef, 'down'],
    ['server_timeout', 504, { hold => 1 }, 'slow'],
);

$t->plan(2 * 3 * @cases * keys(%pages) + 4 * @intercepted + 4 * keys(%pages) + 8);
$t->run();

my $h2 = Test::Nginx::HTTP2->new(port => 8443);
my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

for my $protocol ('HTTP/1.1', 'HTTP/2') {
    for my $page (sort keys %pages) {
        for my $case (@cases) {
            my ($slug, $status, $challenge, $retry_after, $answer, $arguments) = @$case;

            my $bearer = token();
            $as->script($bearer, $answer) if $answer;
            my $value = "Bearer $bearer" . ($slug eq 'malformed' ? ' x' : '');
            my @headers = $slug eq 'no_credentials' ? () : (Authorization => $value);
            my $uri = "/$page?$arguments";
            my $before = $api->count();

            # Somebody who asks before, and keeps the others waiting.
            my $asking = $slug eq 'overload' ? http_connection() : undef;

            if ($asking) {
                $asking->request('GET', '/asks?as=server', headers => \@headers);
                $as->wait_for_question($bearer, 1);
            }

            my $response = $protocol eq 'HTTP/2' ? $h2->call('GET', $uri, headers => \@headers)
                : http_request('GET', $uri, headers => \@headers);
            my ($expected, $body) = ($pages{$page}[1] // $status, $pages{$page}[2]);
            my $name = "$protocol, $page, $slug";

            my @headers_out = map { $response->header($_) // '' } qw(Slug WWW-Authenticate Retry-After);
            is(join(' ', $response->status(), map { "<$_>" } @headers_out),
                "$expected <$slug> <$challenge> <$retry_after>", "$name: status and headers");
            like($response->body(), $body, "$name: body");

            my @seen = splice @{ [$api->requests()] }, $before;
            my $credentials = grep { "$_->{head}\n$_->{body}" =~ /Authorization|\Q$bearer/ } @seen;
            is(@seen . ", $credentials", ($page =~ /proxied/ ? 1 : 0) . ', 0', "$name: upstream: the page at most");

            if ($asking) {
                $as->release($bearer);
                $asking->response();
                $asking->close();
            }
        }
    }
}

# A refused body is not taken for the next request, whoever makes the page.

for my $page (sort keys %pages) {
    my @request = (headers => [Authorization => "Bearer $token"]);
    my @refused = ('POST', "/$page?as=server", body => "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n" x 2_000);
    my $status = $pages{$page}[1] // 401;

    my $connection = http_connection();
    $connection->request(@refused)->request('GET', '/passes?as=server', @request);
    is($connection->response()->status(), $status, "HTTP/1.1, $page: refused with a body");
    like($connection->response()->body(), qr{^GET /passes\?as=server$}m, "HTTP/1.1, $page: the next request");
    $connection->close();

    my $stream = $h2->request(@refused);
    is($h2->response($stream)->status(), $status, "HTTP/2, $page: refused with a body");
    like($h2->call('GET', '/passes?as=server', @request)->body(), qr{^GET /passes\?as=server$}m,
        "HTTP/2, $page: the next request");
}

is($api->count('/smuggled'), 0, 'no body was taken for a request');

# A page elsewhere.

my $response = call('/external?as=server', my $unknown = token());
is($response->status(), 302, 'a page elsewhere');
is($response->header('Location'), 'https://login.example/', 'a page elsewhere: Location');
unlike($response->head(), qr/\Q$unknown/, 'a page elsewhere: not the token');

# Inherited by the introspection location: the page is for the client, never for the question.

for my $case (@intercepted) {
    my ($slug, $status, $answer, $server) = @$case;

    my $bearer = token();
    $as->script($bearer, $answer) if $answer;
    my $before = $api->count('/errors');
    my $said = $answer->{status} // $server;
    my $response = call("/x?as=$server", $bearer, port => 8083);
    is($response->status() . ' ' . $response->header('Slug'), "$status $slug", "inherited, $said: status and slug");
    is($response->header('WWW-Authenticate'), undef, "inherited, $said: no challenge");
    is($api->count('/errors'), $before + 1, "inherited, $said: one page");
    unlike($api->last_request()->{head} . $api->last_request()->{body}, qr/Authorization|\Q$bearer/,
        "inherited, $said: the page sees no credentials");
}

is($api->count('/x'), 0, 'nothing refused went upstream');
is($api->authorization(call('/x?as=server', $token, port => 8083)), "Bearer $jwt", 'what is not refused does');
is(scalar(grep { $_->{body} =~ /token=/ } $api->requests()), 0, 'no question went upstream');
is(scalar(grep { /secret-of-the/ } map { $_->{head} } $api->requests()), 0, 'nor did our own credentials');
$h2->close();
