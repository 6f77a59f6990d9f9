#!/usr/bin/perl

# nginx-conf/mcp.conf: a client of the Model Context Protocol that knows the URL of the server alone finds its way in, by
# the protocol's authorization (2025-06-18) and RFC 9728; a browser's page does, too, beside cors.conf and errors.conf.

use strict;
use warnings;

use JSON::PP qw(decode_json encode_json);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Browser;
use Test::PhantomToken::Shipped qw(ship);

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(44);

ship($t);
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    include phantom-token/cors-origins.conf;
    upstream mcp { server 127.0.0.1:8082; }

    server {
        listen 127.0.0.1:8080;

        include phantom-token/cors.conf;
        include phantom-token/errors.conf;
        include phantom-token/mcp.conf;

        phantom_token on;
        phantom_token_introspection_endpoint /introspect;
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $mcp = api($t);
$t->run();

my $url = 'https://mcp.example.com/mcp';
my $app = 'https://app.example.com';
my $initialize = encode_json({ jsonrpc => '2.0', id => 1, method => 'initialize', params => {} });
my @headers = ('Content-Type' => 'application/json', Accept => 'application/json, text/event-stream');

# A request of the client's, of a URL. The connection is what a proxy before us would make of it.
sub client {
    my ($method, $target, %args) = @_;
    my ($host, $path) = $target =~ m{^https://([^/]+)(/.*)?$} or die "not https: $target\n";
    return http_request($method, $path // '/', host => $host, headers => [@headers, @{ $args{headers} // [] }],
        body => $args{body});
}

# The parameters of the one Bearer challenge of a response.
sub challenge {
    my ($response) = @_;
    my @lines = $response->header_lines('WWW-Authenticate');
    return {} unless @lines == 1 && $lines[0] =~ s/^Bearer //;
    return { $lines[0] =~ /\G(\w+)="([^"\\]*)"(?:, |\z)/g };
}

# From the first refusal to the document.

my $response = client(POST => $url, body => $initialize);
is($response->status(), 401, 'no token');
my $parameters = challenge($response);
is_deeply([sort keys %$parameters], [qw(realm resource_metadata scope)], 'the challenge has no error');
is($parameters->{scope}, 'mcp:tools mcp:resources', 'the scopes to ask for');
like($response->body(), qr/^\{"code":"unauthorized_request"/, 'the body is that of errors.conf');

my $document = client(GET => $parameters->{resource_metadata});
is($document->status(), 200, 'the document is where the challenge says');
is($document->header('Content-Type'), 'application/json', 'as JSON');
my $metadata = decode_json($document->body());
is($metadata->{resource}, $url, 'and is that of the URL that was called (RFC 9728 section 3.3)');
is_deeply($metadata->{authorization_servers}, ['https://as.example.com'], 'the authorization server');
is_deeply($metadata->{scopes_supported}, ['mcp:tools', 'mcp:resources'], 'the scopes');
is_deeply($metadata->{bearer_methods_supported}, ['header'], 'how the token is sent');
is($mcp->count(), 0, 'nothing of it went to the server');

is(client(GET => 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp')->body(), $document->body(),
    'a client that does not read challenges finds the same');
is(client(GET => 'https://mcp.example.com/.well-known/oauth-protected-resource')->status(), 404,
    'no other resource has a document');
is(client(GET => 'https://mcp.example.com/mcp/.well-known/oauth-protected-resource')->status(), 401,
    'nor is it anywhere else');

# With the token.

my ($token, $jwt) = (token(), jwt(claims => { aud => $url }));
$as->script($token, $as->jwt_answer($jwt));
$mcp->script('/mcp', { body => "event: message\ndata: {}\n\n", headers => [
    'Content-Type' => 'text/event-stream', 'Mcp-Session-Id' => 'session',
] });
my @session = (Authorization => "Bearer $token", 'MCP-Protocol-Version' => '2025-06-18', 'Mcp-Session-Id' => 'session');

for my $method (qw(POST GET DELETE)) {
    $response = client($method => $url, headers => \@session, body => $method eq 'POST' ? $initialize : undef);
    is($response->status(), 200, "$method: passes");
    is($mcp->authorization(), "Bearer $jwt", "$method: with the JWT");
}
is($response->header('Mcp-Session-Id'), 'session', 'what the server says of the session arrives');
is($mcp->header($mcp->last_request(), 'MCP-Protocol-Version'), '2025-06-18', 'and what the client does');
is($as->count(), 1, 'one question');

my $revoked = token();
$as->script($revoked, $as->inactive_answer());
$response = client(POST => $url, headers => [Authorization => "Bearer $revoked"], body => $initialize);
is(challenge($response)->{error}, 'invalid_token', 'a token that is over');
is(challenge($response)->{resource_metadata}, $parameters->{resource_metadata}, 'leads to the document again');

my $others = token();
$as->script($others, $as->jwt_answer(jwt(claims => { aud => 'https://other.example.com/mcp' })));
$response = client(POST => $url, headers => [Authorization => "Bearer $others"], body => $initialize);
is($response->status(), 401, 'a token for another server');
is(challenge($response)->{error}, 'invalid_token', 'is refused');
is(challenge($response)->{resource_metadata}, $parameters->{resource_metadata}, 'and leads to the document');
is($mcp->count(), 3, 'it did not go to the server');

# A page, such as an inspector's.

for my $origin ($app, 'https://inspector.example') {
    my $seen = fetch($origin, 'GET', '/.well-known/oauth-protected-resource/mcp',
        headers => { 'MCP-Protocol-Version' => '2025-06-18' });
    is($seen->{body}, $document->body(), "$origin reads the document");
}
like(fetch($app, 'GET', '/mcp')->{headers}{'www-authenticate'}, qr/resource_metadata="\Q$parameters->{resource_metadata}\E"/,
    'a page of an origin that may call reads the challenge');

# A client that runs in a page, with the headers that the protocol has it send, and read.

$mcp->script('/mcp', { body => "event: message\ndata: {}\n\n", headers => [
    'Content-Type' => 'text/event-stream', 'Mcp-Session-Id' => 'session', 'Mcp-Protocol-Version' => '2025-06-18',
] });
my %page = (Authorization => "Bearer $token", 'Mcp-Protocol-Version' => '2025-06-18', 'Mcp-Session-Id' => 'session');

for my $case (['POST', { 'Content-Type' => 'application/json' }], ['GET', { 'Last-Event-ID' => '7' }], ['DELETE', {}]) {
    my ($method, $more) = @$case;
    my $seen = fetch($app, $method, '/mcp', headers => { %page, %$more }, body => $method eq 'POST' ? $initialize : undef);
    is($seen->{status}, 200, "a page: $method");
    is($seen->{headers}{'mcp-session-id'}, 'session', "a page: $method: reads the session");
    is($seen->{headers}{'mcp-protocol-version'}, '2025-06-18', "a page: $method: and the version");
}
is(fetch('https://inspector.example', 'GET', '/mcp', headers => \%page), undef, 'not a page of another origin');

# What the server sees of it. Those on a loopback address take no other Host, and no page's Origin.

fetch($app, 'POST', '/mcp', headers => { %page, 'Content-Type' => 'application/json' }, body => $initialize);
is($mcp->header($mcp->last_request(), 'Host'), 'localhost:8000', 'the Host that servers on a loopback address take');
is($mcp->header($mcp->last_request(), 'Origin'), undef, 'and no Origin');
