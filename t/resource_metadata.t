#!/usr/bin/perl

# Protected resource metadata (RFC 9728): the challenge of each refusal leads to the document of the resource, by its
# configured identifier alone; the documents of a server block; who may read them, and how.

use strict;
use warnings;

use JSON::PP qw(decode_json);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;
use Test::PhantomToken::Browser;

my $t = Test::Nginx->new()->has(qw(http proxy http_v2 rewrite))->plan(254);

my ($listen, $directive) = $t->has_version('1.25.1') ? ('', 'http2 on;') : (' http2', '');

my $server = <<'SERVER';
        location / { proxy_pass http://127.0.0.1:8082; }

        location /mcp {
            phantom_token_resource https://api.example.com/mcp;
            phantom_token_scopes "tools prompts";
            proxy_pass http://127.0.0.1:8082;

            if ($arg_if) { set $unused 1; }
            limit_except GET POST { deny all; }

            location /mcp/admin { phantom_token_scopes "admin tools"; proxy_pass http://127.0.0.1:8082; }
            location /mcp/other {
                phantom_token_resource https://api.example.com/mcp/other;
                phantom_token_authorization_server https://one.example https://two.example;
                phantom_token_authorization_server https://one.example;
                proxy_pass http://127.0.0.1:8082;
            }
            location /mcp/public { phantom_token off; phantom_token_resource https://api.example.com/public; }
        }
        location /bare {
            phantom_token_realm "";
            phantom_token_resource https://api.example.com/;
            proxy_pass http://127.0.0.1:8082;
        }
        location /query {
            phantom_token on token=$arg_access_token;
            phantom_token_resource https://api.example.com/query?tenant=1&a=%2F;
            proxy_pass http://127.0.0.1:8082;
        }
        location /cookie {
            phantom_token on token=$cookie_session;
            phantom_token_resource https://api.example.com/cookie;
            proxy_pass http://127.0.0.1:8082;
        }
        location /both/ { phantom_token_resource https://api.example.com/both/; proxy_pass http://127.0.0.1:8082; }
        location /both/query {
            phantom_token on token=$arg_access_token;
            phantom_token_resource https://api.example.com/both/;
            proxy_pass http://127.0.0.1:8082;
        }
        location /odd {
            phantom_token_resource https://API.example.com:8443/a%20b/%C3%A4%2Fc;
            proxy_pass http://127.0.0.1:8082;
        }
        location /handled {
            phantom_token_resource https://api.example.com/handled;
            error_page 401 @handled;
            error_page 400 =401 /error_page;
            proxy_pass http://127.0.0.1:8082;
        }
        location /strict {
            phantom_token_resource https://api.example.com/strict;
            phantom_token_scope tools;
            phantom_token_require_scope write tools;
            proxy_pass http://127.0.0.1:8082;

            location /strict/bound { phantom_token_binding required; proxy_pass http://127.0.0.1:8082; }
            location /strict/audience { phantom_token_require_audience strict; proxy_pass http://127.0.0.1:8082; }
            location /strict/value {
                phantom_token_require $phantom_token_claim_role error=403;
                phantom_token_require_scope read;
                proxy_pass http://127.0.0.1:8082;
            }
        }
        location @handled { phantom_token off; return 401 handled; }
        location /error_page { phantom_token off; return 200 handled; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }

        location /.well-known/oauth-protected-resource {
            phantom_token_resource_metadata;
            if ($http_x_if) { add_header If yes always; }
            location /.well-known/oauth-protected-resource/private { proxy_pass http://127.0.0.1:8082; }
        }
        location /short { expires 1m; rewrite ^/short(.*) /.well-known/oauth-protected-resource$1 break;
            phantom_token_resource_metadata; }
        location /again {
            phantom_token_resource_metadata;
            error_page 404 =200 /.well-known/oauth-protected-resource/mcp;
        }
        location /page { phantom_token_resource_metadata; error_page 404 405 =410 /error_page; }
        location /closed {
            phantom_token on;
            rewrite ^/closed(.*) /.well-known/oauth-protected-resource$1 break;
            phantom_token_resource_metadata;
        }
        location /limited {
            rewrite ^/limited(.*) /.well-known/oauth-protected-resource$1 break;
            phantom_token_resource_metadata;
            limit_except GET { allow all; }
        }
SERVER

$t->write_file_expand('nginx.conf',
    <<'CONF' =~ s/%%LISTEN%%/$listen/r =~ s/%%H2%%/$directive/r =~ s/%%SERVER%%/$server/gr);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token_introspection_endpoint /introspect;
    phantom_token_authorization_server https://as.example.com/realms/a;

    server {
        listen 127.0.0.1:8080;
        phantom_token on;
%%SERVER%%
    }

    server {
        listen 127.0.0.1:8083%%LISTEN%%;
        %%H2%%
        phantom_token on;
%%SERVER%%
    }

    # The block's own resource, and nothing of the others'.
    server {
        listen 127.0.0.1:8084;
        phantom_token on;
        phantom_token_resource http://localhost:8084;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location /.well-known/ { phantom_token_resource_metadata; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my $well_known = '/.well-known/oauth-protected-resource';
my $challenge = sub { qq(Bearer realm="api"$_[0], resource_metadata="https://api.example.com$well_known$_[1]") };
my ($hint, $invalid) = (', scope="tools prompts"', ', error="invalid_token"');

# call1() and call2(): one request, over HTTP/1.1 and HTTP/2.
sub call1 { my ($method, $uri, %args) = @_; return http_request($method, $uri, %args) }
sub call2 { my ($method, $uri, %args) = @_; return Test::Nginx::HTTP2->new(port => 8083)->call($method, $uri, %args) }

my %versions = ('HTTP/1.1' => \&call1, 'HTTP/2' => \&call2);

# The challenge of each refusal.

my %dead = (
    inactive => $as->inactive_answer(),
    expired => $as->json_answer({ active => JSON::PP::true, jwt => jwt(), exp => time - 60 }),
    binding => $as->json_answer({ active => JSON::PP::true, jwt => jwt(), cnf => { jkt => 'x' } }),
);

for my $version (sort keys %versions) {
    my $call = $versions{$version};

    my @rows = (
        ['no credentials', [], 401, $hint],
        ['another scheme', [Authorization => 'Basic YTpi'], 401, $hint],
        ['malformed', [Authorization => 'Bearer a b'], 401, "$hint$invalid"],
        ['two ways', [Authorization => 'Bearer a'], 400, "$hint, error=\"invalid_request\"", '?access_token=b'],
    );

    for my $reason (sort keys %dead) {
        my $token = token();
        $as->script($token, $dead{$reason});
        push @rows, ["$reason, $_", [Authorization => "Bearer $token"], 401, "$hint$invalid"] for qw(asked known);
    }

    for my $row (@rows) {
        my ($name, $headers, $status, $parameters, $query) = @$row;
        my $response = $call->('GET', '/mcp/things' . ($query // ''), headers => $headers);
        is($response->status(), $status, "$version, $name: status");
        is_deeply([$response->header_lines('WWW-Authenticate')], [$challenge->($parameters, '/mcp')],
            "$version, $name: one challenge, which leads to the document");
    }

    my $weak = token();
    $as->script($weak, $as->jwt_answer(jwt(claims => { scope => 'read', aud => 'api' })));
    for my $row (
        ['/strict', 403, ', scope="write tools", error="insufficient_scope"'],
        ['/strict/audience', 401, ', scope="tools", error="invalid_token"'],
        ['/strict/value', 403, ', scope="tools"'],
    ) {
        my ($uri, $status, $parameters) = @$row;
        my $response = $call->('GET', $uri, headers => [Authorization => "Bearer $weak"]);
        is($response->status(), $status, "$version, $uri: status");
        is_deeply([$response->header_lines('WWW-Authenticate')], [$challenge->($parameters, '/strict')],
            "$version, $uri: one challenge, which leads to the document");
    }

    for my $case (['/mcp?if=1', $hint, '/mcp'], ['/mcp/admin', ', scope="admin tools"', '/mcp'],
        ['/mcp/other', $hint, '/mcp/other'], ['/query', '', '/query?tenant=1&a=%2F'], ['/cookie', '', '/cookie'],
        ['/both/x', '', '/both/'], ['/handled', '', '/handled']) {
        my ($uri, $parameters, $path) = @$case;
        is($call->('GET', $uri)->header('WWW-Authenticate'), $challenge->($parameters, $path), "$version, $uri");
    }
    is($call->('GET', '/bare')->header('WWW-Authenticate'),
        "Bearer resource_metadata=\"https://api.example.com$well_known\"", "$version: it is parameter enough");
    is($call->('GET', '/odd')->header('WWW-Authenticate'),
        "Bearer realm=\"api\", resource_metadata=\"https://API.example.com:8443$well_known/a%20b/%C3%A4%2Fc\"",
        "$version: the identifier as it is written");
    is($call->('GET', '/')->header('WWW-Authenticate'), 'Bearer realm="api"', "$version: a location without a resource");

    my $response = $call->('GET', '/handled', headers => [Authorization => 'Bearer a b']);
    is($response->body(), 'handled', "$version: error_page answers");
    is($response->header('WWW-Authenticate'), $challenge->($invalid, '/handled'), "$version: with the challenge");
    $response = $call->('GET', '/handled?access_token=b', headers => [Authorization => 'Bearer a']);
    is($response->status(), 401, "$version: a 400 as 401");
    is($response->header('WWW-Authenticate'), $challenge->(', error="invalid_request"', '/handled'),
        "$version: with the challenge");

    # Whatever a client says of the host.
    for my $headers ([], ['X-Forwarded-Host' => 'evil.example', 'X-Forwarded-Proto' => 'ftp', Forwarded => 'host=evil.example']) {
        $response = $call->('GET', '/mcp', host => 'evil.example', headers => $headers);
        is($response->header('WWW-Authenticate'), $challenge->($hint, '/mcp'), "$version: another Host in the request");
        unlike($call->('GET', "$well_known/mcp", host => 'evil.example', headers => $headers)->body(), qr/evil/,
            "$version: nor does the document know it");
    }

    my $late = token();
    $as->script($late, { status => 500 });
    $response = $call->('GET', '/mcp', headers => [Authorization => "Bearer $late"]);
    is($response->status(), 502, "$version: an outage");
    is($response->header('WWW-Authenticate'), undef, "$version: is no challenge");

    is($call->('DELETE', '/mcp')->status(), 403, "$version: limit_except");
    is($call->('DELETE', '/mcp')->header('WWW-Authenticate'), undef, "$version: is no refusal of ours");
}

# The documents.

my @servers = (authorization_servers => ['https://as.example.com/realms/a']);
my @header = (bearer_methods_supported => ['header']);

my %documents = (
    '/mcp' => { resource => 'https://api.example.com/mcp', scopes_supported => [qw(tools prompts admin)], @servers, @header },
    '/mcp/other' => {
        resource => 'https://api.example.com/mcp/other', scopes_supported => [qw(tools prompts)], @header,
        authorization_servers => ['https://one.example', 'https://two.example'],
    },
    '' => { resource => 'https://api.example.com/', @servers, @header },
    '/query?tenant=1&a=%2F' => {
        resource => 'https://api.example.com/query?tenant=1&a=%2F', @servers, bearer_methods_supported => ['query'],
    },
    '/cookie' => { resource => 'https://api.example.com/cookie', @servers },
    '/both/' => {
        resource => 'https://api.example.com/both/', @servers, bearer_methods_supported => [qw(header query)],
    },
    '/a%20b/%C3%A4%2Fc' => { resource => 'https://API.example.com:8443/a%20b/%C3%A4%2Fc', @servers, @header },
    '/a%20b/%c3%a4/c' => { resource => 'https://API.example.com:8443/a%20b/%C3%A4%2Fc', @servers, @header },
    '/strict' => {
        resource => 'https://api.example.com/strict', scopes_supported => [qw(tools write read)], @servers, @header,
        tls_client_certificate_bound_access_tokens => JSON::PP::true,
        dpop_signing_alg_values_supported => [qw(ES256 ES384 Ed25519 EdDSA PS256 PS384 PS512 RS256 RS384 RS512)],
    },
    '/handled' => { resource => 'https://api.example.com/handled', @servers, @header },
);

my @unknown = ('/', '/mcp/', '/MCP', '/mcp/admin', '/mcp/public', '/public', '/query', '/query?tenant=2', '/mcp?a=b', 's',
    '/both', '/cookie/x');

for my $version (sort keys %versions) {
    my $call = $versions{$version};

    for my $path (sort keys %documents) {
        my $response = $call->('GET', "$well_known$path");
        is($response->status(), 200, "$version, $path: status");
        is_deeply(eval { decode_json($response->body()) }, $documents{$path}, "$version, $path: the document");
    }

    my $response = $call->('GET', "$well_known/mcp");
    is($response->header('Content-Type'), 'application/json', "$version: a JSON object");
    is($response->header('Content-Length'), length $response->body(), "$version: its length");
    is_deeply([$response->header_lines('Cache-Control')], ['public, max-age=3600'], "$version: it may be kept");
    is($response->header('WWW-Authenticate'), undef, "$version: nobody is challenged");

    my $head = $call->('HEAD', "$well_known/mcp");
    is($head->status(), 200, "$version, HEAD");
    is($head->body(), '', "$version, HEAD: no body");
    is($head->header('Content-Length'), length $response->body(), "$version, HEAD: the length of the document");

    for my $path (@unknown) {
        is($call->('GET', "$well_known$path")->status(), 404, "$version, $path: no document");
    }

    for my $method (qw(POST PUT DELETE PATCH)) {
        $response = $call->($method, "$well_known/mcp", body => 'x' x 1000);
        is($response->status(), 405, "$version, $method: status");
        is($response->header('Allow'), 'GET, HEAD, OPTIONS', "$version, $method: what is allowed");
    }
    $response = $call->('OPTIONS', "$well_known/mcp");
    is($response->status(), 204, "$version, OPTIONS");
    is($response->header('Allow'), 'GET, HEAD, OPTIONS', "$version, OPTIONS: what is allowed");
}

ok($t->wait_for_log(qr{no resource of this server block has its metadata at "$well_known/MCP"}), 'a 404 is explained');

my $count = $as->count();
is(call("$well_known/mcp", token())->status(), 200, 'credentials do not matter');
is($as->count(), $count, 'nobody is asked about them');
is(call("$well_known/mcp", undef, version => '1.0')->status(), 200, 'HTTP/1.0');

my $connection = http_connection();
$connection->request('GET', "$well_known/mcp", body => 'GET /smuggled HTTP/1.1');
is($connection->response()->status(), 200, 'a body that nobody reads');
$connection->request('GET', "$well_known/handled");
like($connection->response()->body(), qr/handled/, 'is not the next request');
$connection->close();

is_deeply(decode_json(http_request('GET', $well_known, port => 8084)->body()),
    { resource => 'http://localhost:8084', @servers, @header }, 'another server block has its own, on this machine with http');
is(http_request('GET', "$well_known/mcp", port => 8084)->status(), 404, 'and none of others');
is(http_request('GET', '/x', port => 8084)->header('WWW-Authenticate'),
    "Bearer realm=\"api\", resource_metadata=\"http://localhost:8084$well_known\"", 'and its challenge leads there');

# What is around the handler.

is(call("$well_known/private")->status(), 401, 'a location within needs a token');
my $response = call("$well_known/mcp", undef, headers => ['X-If' => 1]);
is($response->status(), 200, 'a location answers within an if as around it');
is($response->header('If'), 'yes', 'the if came to pass');

$response = call('/closed/mcp');
is($response->status(), 401, 'where phantom_token on is said it holds');
my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));
is(decode_json(call('/closed/mcp', $token)->body())->{resource}, 'https://api.example.com/mcp', 'and with a token it is read');

is_deeply([call('/short/mcp')->header_lines('Cache-Control')], ['max-age=60'], 'expires wins');
is(call('/limited/mcp')->status(), 200, 'a location with limit_except');
is(call('/limited/mcp', undef, method => 'OPTIONS')->status(), 204, 'answers within it as around it');
$response = call('/limited/mcp', undef, method => 'POST');
is($response->status(), 405, 'even where it may not be called so');
is($response->header('Allow'), 'GET, HEAD, OPTIONS', 'by us');

$response = call('/again');
is(decode_json($response->body())->{resource}, 'https://api.example.com/mcp', 'error_page leads to a document');
is_deeply([$response->header_lines('Access-Control-Allow-Origin')], ['*'], 'each header once');
is(call('/page')->status(), 410, 'error_page answers a 404');
is(call('/page', undef, method => 'POST')->body(), 'handled', 'and a 405');

# As a browser sees it.

for my $origin ('https://inspector.example', 'http://localhost:6274', 'null') {
    my $seen = fetch($origin, 'GET', "$well_known/mcp", headers => { 'MCP-Protocol-Version' => '2025-06-18' });
    is(decode_json($seen->{body})->{resource}, 'https://api.example.com/mcp', "$origin: a page reads the document");
    is($seen->{headers}{'content-type'}, 'application/json', "$origin: as JSON");
}
ok(fetch('https://inspector.example', 'GET', "$well_known/mcp", headers => { Authorization => 'Bearer a' }),
    'even one that sends credentials with everything');
is(fetch('https://inspector.example', 'GET', "$well_known/none")->{status}, 404, 'a page can tell what is not there');
is(fetch('https://inspector.example', 'GET', "$well_known/none", headers => { 'MCP-Protocol-Version' => 1 })->{status}, 404,
    'after a preflight, too');
is(fetch('https://inspector.example', 'POST', "$well_known/mcp", body => 'x')->{status}, 405, 'or not allowed');
is(fetch('https://inspector.example', 'DELETE', "$well_known/mcp"), undef, 'which a preflight says before');

# What nginx -t refuses when all is read, and what it lets pass.

sub conf {
    my ($server) = @_;
    return <<"CONF";
%%TEST_GLOBALS%%
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    server {
        listen 127.0.0.1:8080;
        phantom_token_introspection_endpoint /introspect;
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location /.well-known/ { phantom_token_resource_metadata; }
        $server
    }
}
CONF
}

sub location { my ($name, $text) = @_; return "location $name { phantom_token on; $text }\n" }

my ($a, $b) = map { "phantom_token_resource https://a.example/$_;" } qw(a b);
my ($one, $two) = map { "phantom_token_authorization_server https://$_.example;" } qw(one two);

for my $case (
    ['no resource', location('/a', ''), qr/"phantom_token_resource_metadata" has no document/],
    ['a resource where phantom_token is off', "location /a { $a }", qr/"phantom_token_resource_metadata" has no document/],
    ['one place for two', location('/a', 'phantom_token_resource https://a.example;')
        . location('/b', 'phantom_token_resource https://a.example/;'),
        qr{"phantom_token_resource" has "https://a.example/" and "https://a.example" in one server block}],
    ['one place for two hosts', location('/a', $a) . location('/b', 'phantom_token_resource https://b.example/a;'),
        qr{"phantom_token_resource" has "https://b.example/a" and "https://a.example/a" in one server block}],
    ['one place, percent-encoded', location('/a', $a) . location('/b', 'phantom_token_resource https://a.example/%61;'),
        qr{"phantom_token_resource" has "https://a.example/%61" and "https://a.example/a" in one server block}],
    ['two directives that answer', location('/a', $a)
        . 'location /b { phantom_token_resource_metadata; proxy_pass http://127.0.0.1:8082; }',
        qr/"phantom_token_resource_metadata" cannot be beside another directive/],
    ['the same the other way round', location('/a', $a)
        . 'location /b { proxy_pass http://127.0.0.1:8082; phantom_token_resource_metadata; }',
        qr/"phantom_token_resource_metadata" cannot be beside another directive/],
    ['other servers', location('/a', "$a $one") . location('/b', "$a $two"),
        qr{"phantom_token_authorization_server" differs among the locations of "https://a.example/a"}],
    ['more servers', location('/a', "$a $one") . location('/b', "$a $one $two"),
        qr{"phantom_token_authorization_server" differs among the locations of "https://a.example/a"}],
) {
    my ($name, $server, $text) = @$case;
    my $error = $t->conf_fails(conf($server)) // 'accepted';
    like($error, $text, "$name: text");
    like($error, qr{ in \Q${\$t->testdir()}\E/conf_test\.conf:\d+$}, "$name: file and line");
}

for my $case (
    ['the same servers in another order', location('/a', "$a $one $two") . location('/b', "$a $two $one")],
    ['a location that names none', location('/a', "$a $one") . location('/b', $a)],
    ['two resources', location('/a', "$a $one") . location('/b', "$b $two")],
    ['the same path, told apart by the query', location('/a', $a) . location('/b', 'phantom_token_resource https://a.example/a?b;')],
    ['two locations for documents', location('/a', $a) . 'location /b { phantom_token_resource_metadata; }'],
    ['the other directive within an if, which inherits what is around',
        location('/a', $a) . 'location /b { phantom_token_resource_metadata; if ($arg_b) { return 204; } }'],
    ['a named location', location('/a', $a) . 'location @b { phantom_token_resource_metadata; }'],
) {
    my ($name, $server) = @$case;
    is($t->conf_fails(conf($server)), undef, "$name: accepted");
}

my $without = conf(location('/a', "$a $one") . location('/b', "$a $two")) =~ s/location .\.well-known.*//r;
is($t->conf_fails($without), undef, 'documents that others give are their own affair');
