#!/usr/bin/perl

# nginx-conf/: NGINX accepts each file where its README.md says that it goes; and the connection to the
# authorization server that all of them share is verified, kept, and nobody else's.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Shipped qw(shipped_files shipped_text ship certificates);

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my @files = shipped_files();
my @servers = grep { m{^servers/} } @files;

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl limit_req))->plan(3 * @files + 2 * @servers + 3 + 25);

# How each file is included: what stands in http, and in the server block.

my $on = 'phantom_token on; proxy_pass http://127.0.0.1:8082;';
my $own = "location / { phantom_token_introspection_endpoint /introspect; $on }\n"
    . 'location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }';
my $curity = "include phantom-token/servers/curity.conf; location / { $on }";
my %place = (
    'upstream.conf' => ['%%INCLUDE%%', $curity],
    'upstream-resolve.conf' => ['%%INCLUDE%%', $curity],
    'connection.conf' => ['', $own =~ s/internal;/internal; %%INCLUDE%%/r],
    'claims.conf' => ['', $own =~ s/phantom_token on;/phantom_token on; phantom_token_forward claims; %%INCLUDE%%/r],
    'errors.conf' => ['', "%%INCLUDE%% $own"],
    'cors-origins.conf' => ['%%INCLUDE%%', "add_header Origin \$cors_origin; $own"],
    'cors.conf' => ['include phantom-token/cors-origins.conf;', "%%INCLUDE%% $own"],
    'mcp.conf' => ['upstream mcp { server 127.0.0.1:8082; }',
        "%%INCLUDE%% phantom_token_introspection_endpoint /introspect; $own"],
    'limit-junk.conf' => ['%%INCLUDE%%', $own],
    map { $_ => ['include phantom-token/upstream.conf;', "%%INCLUDE%% location / { $on }"] } @servers,
);

certificates($t, 'ca.crt', server => 'as.example.com', elsewhere => 'other.example.com');
certificates($t, 'other_ca.crt', stranger => 'as.example.com');

# The server's name is one that nginx -t can look up.
ship($t, 'as.example.com' => 'localhost', '/etc/ssl/certs/ca-certificates.crt' => 'ca.crt', REALM => 'demo');

my $readme = shipped_text('README.md');

for my $file (@files) {
    my ($http, $server) = map { s{%%INCLUDE%%}{include phantom-token/$file;}r } @{ $place{$file} // ['unknown', ''] };
    my $conf = <<"CONF";
%%TEST_GLOBALS%%
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    $http
    server {
        listen 127.0.0.1:8080;
        $server
    }
}
CONF
    my $verdict = $t->conf_fails($conf) // 'accepted';
    my $known = $file ne 'upstream-resolve.conf' || $t->has_version('1.27.3');
    like($verdict, $known ? qr/^accepted$/ : qr/"resolver" directive/, "$file: nginx -t");
    is(join(' ', $known ? $t->conf_warnings($conf) : ()), '', "$file: no warning");
    like($readme, $file =~ m{^servers/} ? qr{\| (?:.*, )?`\Q$file\E`.* \|} : qr{`\Q$file\E`}, "$file: in README.md");
}

for my $file (@servers) {
    my $text = shipped_text($file);
    like($text, qr/\A# .+\n(?:# .+\n)?# Gives: (?:a JWT|claims)\b.*\n(?:#.*\n)*\n/, "$file: what there, what here");
    my @locations = $text =~ /^location (.*)/mg;
    my @right = $text =~ /^location (.*)\n    internal;\n    include phantom-token\/connection\.conf;\n    proxy_pass https:/mg;
    is(@right ? "@right" : 'none', "@locations", "$file: internal, and the shared connection");
}

is_deeply([sort keys %place], \@files, 'and there is nothing else');

my ($example) = $readme =~ /^```nginx\n(.*?)^```/ms;
$example =~ s/^http \{$/%%TEST_GLOBALS%%\nevents {}\nhttp {\n%%TEST_GLOBALS_HTTP%%/m;
$example =~ s{http://api;}{http://127.0.0.1:8082;};
is($t->conf_fails($example), undef, 'the example of README.md');

$example =~ s{(?=include phantom-token/upstream)}{include phantom-token/$_.conf;\n} for qw(cors-origins limit-junk);
$example =~ s{(?=include phantom-token/servers)}{include phantom-token/$_.conf;\n} for qw(cors errors);
is($t->conf_fails($example), undef, 'and all at once');

# Driven. Of the shipped text, the address of the server and the bundle of certificates are replaced. The API's server
# block does what it can to get into the question.

sub address {
    my ($port) = @_;
    return ship($t, 'server as.example.com:443;' => 'server 127.0.0.1:' . port($port) . ';',
        '/etc/ssl/certs/ca-certificates.crt' => 'ca.crt');
}

address(8443);
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    proxy_cache_path %%TESTDIR%%/cache keys_zone=answers:1m;
    add_header Slug $phantom_token_error always;

    include phantom-token/upstream.conf;

    # Without TLS, so that the scripted server itself ends connections.
    upstream plain { server 127.0.0.1:8081; keepalive 8; }

    server {
        listen 127.0.0.1:8080;

        proxy_set_header Host $host;
        proxy_set_header Authorization $http_authorization;
        proxy_pass_request_headers off;
        proxy_pass_request_body off;
        proxy_intercept_errors on;
        error_page 400 /bad_request;
        proxy_cache answers;
        proxy_cache_methods GET POST;
        proxy_cache_key $request_body;
        proxy_cache_valid any 1m;
        proxy_ssl_verify off;

        include phantom-token/servers/curity.conf;
        phantom_token_cache_negative_ttl 0;

        location / {
            phantom_token on;
            proxy_cache off;
            proxy_pass http://127.0.0.1:8082;
        }

        location /elsewhere { return 204; }

        location /plain/ {
            phantom_token on;
            phantom_token_introspection_endpoint /plainly;
            proxy_cache off;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /plainly { internal; include phantom-token/connection.conf; proxy_pass http://plain; }

        location /idempotent/ {
            phantom_token on;
            phantom_token_introspection_endpoint /idempotently;
            proxy_cache off;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /idempotently {
            internal;
            proxy_cache off;
            proxy_pass_request_headers on;
            proxy_pass_request_body on;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://plain;
        }
    }

    # The authorization server, by three certificates: TLS here, the rest behind it.
    server {
        listen 127.0.0.1:8443 ssl;
        ssl_certificate server.crt;
        ssl_certificate_key server.key;

        proxy_set_header Host $http_host;
        proxy_set_header X-Server-Name $ssl_server_name;
        proxy_set_header X-Connection $connection;
        location / { proxy_pass http://127.0.0.1:8081; }
    }
    server {
        listen 127.0.0.1:8444 ssl;
        ssl_certificate elsewhere.crt;
        ssl_certificate_key elsewhere.key;
        location / { proxy_pass http://127.0.0.1:8081; }
    }
    server {
        listen 127.0.0.1:8445 ssl;
        ssl_certificate stranger.crt;
        ssl_certificate_key stranger.key;
        location / { proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));
is(call('/', $token)->status(), 200, 'the token is translated');

my $question = $as->last_request($token);
is($as->header($question, 'Host'), 'as.example.com', 'Host is the name of the server');
is($as->header($question, 'X-Server-Name'), 'as.example.com', 'and so is the name in the TLS handshake');
is($as->header($question, 'Authorization'), 'Basic Z2F0ZXdheTpzM2NyJTI2dCtvZit0aGUrZ2F0ZXdheQ==', 'our credentials');
is($as->header($question, 'Accept'), 'application/jwt', 'our Accept');
is($question->{body}, "token=$token", 'the whole body');

my $foreign = token();
$as->script($foreign, $as->json_answer({ error => 'unsupported_token_type' }, status => 400));
is(call('/', $foreign)->status(), 401, 'the body of a 400 is read');
is($as->header($as->last_request($foreign), 'X-Connection'), $as->header($question, 'X-Connection'),
    'the connection is kept');

my $unknown = token();
$as->script($unknown, { status => 204 });
is(call('/', $unknown)->status(), 401, 'inactive');
is(call('/', $unknown)->status(), 401, 'still inactive');
is($as->questions($unknown), 2, 'no proxy_cache of an outer level answers');

my $lured = token();
$as->script($lured, $as->jwt_answer(jwt(), headers => ['X-Accel-Redirect' => '/elsewhere']));
is(call('/plain/', $lured)->status(), 200, 'X-Accel-Redirect leads nowhere');

# The server closes a kept connection just when the next question is sent: with our proxy_next_upstream, and without.

for my $case (['/plain/', 200, 'another connection'], ['/idempotent/', 502, 'the kept connection']) {
    my ($uri, $status, $last) = @$case;
    my ($first, $second) = (token(), token());
    $as->script($first, $as->jwt_answer(jwt()));
    $as->script($second, { hang_up => 1 }, $as->jwt_answer(jwt()));
    is(call($uri, $first)->status(), 200, "$uri a connection to keep");
    is(call($uri, $second)->status(), $status, "$uri closed: status");

    my $kept = $as->last_request($first)->{connection};
    my @connections = map { $_->{connection} == $kept ? 'the kept connection' : 'another connection' }
        $as->requests($second);
    is($connections[0], 'the kept connection', "$uri closed: asked on the kept connection");
    is($connections[-1], $last, "$uri closed: the last question");
}

# Neither another name nor another authority.

for my $port (8444, 8445) {
    address($port);
    $t->reload();
    my $fresh = token();
    is(call('/', $fresh)->status(), 502, "$port: status");
    is($as->questions($fresh), 0, "$port: the token is not sent");
}

is(call('/', $token)->header('Slug'), undef, 'a token in the cache passes meanwhile');
