#!/usr/bin/perl

# Tokens, JWTs and client secrets stay where they belong: at debug level, in no line of ours, in no file, in no
# response. Each file of this suite checks lines and responses; this one provokes all that writes.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use File::Find qw(find);
use MIME::Base64 qw(encode_base64);

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Leaks qw(leaks);
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy debug))->plan(24);

my $client_secret = 'a client secret % with special + characters';

$t->write_file('secret', "$client_secret\n");
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_client_credential gateway file=secret;
    request_pool_size 4k;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
        location /header { phantom_token_header X-Access-Token; proxy_pass http://127.0.0.1:8082; }
        location /small {
            phantom_token_introspection_endpoint /introspect_small;
            proxy_pass http://127.0.0.1:8082;
        }
        location /exchange { phantom_token_exchange /introspect_small; proxy_pass http://127.0.0.1:8082; }
        location /claims {
            phantom_token_forward claims;
            phantom_token_envelope unverified;
            phantom_token_envelope_header X-Envelope;
            phantom_token_introspection_endpoint /introspect_small;
            proxy_pass http://127.0.0.1:8082;
        }
        location /refreshed {
            phantom_token_cache_refresh 1ms;
            proxy_pass http://127.0.0.1:8082;
        }
        location /limited {
            phantom_token_max_response 1k;
            proxy_pass http://127.0.0.1:8082;
        }
        location /down {
            phantom_token_introspection_endpoint /introspect_down;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_down { internal; proxy_pass http://127.0.0.1:8099; }
        location = /introspect_small {
            internal;
            proxy_buffer_size 1k;
            proxy_buffers 4 1k;
            proxy_busy_buffers_size 2k;
            client_body_buffer_size 1k;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my (@tokens, @jwts);
my $basic = encode_base64('gateway:a+client+secret+%25+with+special+%2B+characters', '');
my @client_secrets = ($client_secret, $basic, 'a+client+secret+%25+with+special+%2B+characters');
$t->secrets(@client_secrets);

my $as = authorization_server($t);
my $api = api($t);
$t->run();

sub called {
    my ($uri, $answer, %args) = @_;
    push @tokens, my $token = token();
    $as->script($token, $answer) if $answer;
    my $header = $uri eq '/cookie' ? [Cookie => "session=$token"] : [Authorization => "Bearer $token"];
    return map { http_request('GET', $uri, headers => $header, %args)->status() } 1 .. 2;
}

sub a_jwt {
    push @jwts, my $jwt = jwt(@_);
    return $jwt;
}

my $large = a_jwt(size => 20_000);

is_deeply([called('/', $as->jwt_answer(a_jwt()))], [200, 200], 'miss and hit');
is($as->header($as->last_request(), 'Authorization'), "Basic $basic", 'with client credentials');
is_deeply([called('/cookie', $as->jwt_answer(a_jwt()))], [200, 200], 'from a cookie');
is_deeply([called('/header', $as->jwt_answer(a_jwt()))], [200, 200], 'to another header');
is_deeply([called('/small', $as->jwt_answer($large))], [200, 200], 'large');
is_deeply([called('/small', $as->json_answer({ active => JSON::PP::true, jwt => $large, exp => time + 60 }))],
    [200, 200], 'large, in JSON');
is_deeply([called('/', $as->json_answer(
    { active => JSON::PP::true, pad => 'x' x 40_000, jwt => a_jwt(), exp => time + 60 }))], [200, 200],
    "larger than NGINX's default buffers");
is_deeply([called('/exchange', $as->exchange_answer($large))], [200, 200], 'exchanged');
push @jwts, my $envelope = Test::PhantomToken::JWT::envelope({ active => JSON::PP::true, exp => time + 60, pad => 'x' x 9_000 });
$t->secrets($envelope);
is_deeply([called('/claims', $as->envelope_answer($envelope))], [200, 200], 'a signed answer');
is($api->header($api->last_request(), 'X-Envelope'), $envelope, 'which goes upstream');
is_deeply([called('/refreshed', $as->jwt_answer(a_jwt()))], [200, 200], 'confirmed again');
is_deeply([called('/limited', $as->jwt_answer($large))], [502, 502], 'too large');
is_deeply([called('/', $as->jwt_answer(a_jwt(), type => 'text/html'))], [502, 502], 'HTML');
is_deeply([called('/', $as->jwt_answer(a_jwt(), status => 500))], [502, 502], 'JWT in an error');
is_deeply([called('/', $as->json_answer('{"active":true,"jwt":"' . a_jwt() . '"'))], [502, 502], 'broken JSON');
is_deeply([called('/', $as->jwt_answer(a_jwt(), truncate => 300))], [502, 502], 'truncated');
is_deeply([called('/', undef)], [401, 401], 'inactive');
is_deeply([called('/down', undef)], [502, 502], 'unreachable');
is_deeply([called('/', $as->jwt_answer(a_jwt(claims => { cnf => {} })))], [401, 401], 'bound');
is(call("/?access_token=$tokens[0]", $tokens[0])->status(), 400, 'two ways');

# Malformed ones as well.

push @tokens, my $malformed = Test::PhantomToken::JWT::opaque_token() . '=x';
$t->secrets($malformed);
is(call('/', $malformed)->status(), 401, 'malformed');

# NGINX itself writes request headers at debug level: so this log is one that would show a leak.

like($t->read_file('error.log'), qr/http header: "Authorization: Bearer \Q$tokens[0]\E"/, 'the level is debug');

$t->stop();

my (@files, @leaks);
my @secrets = (@tokens, @jwts, @client_secrets);

# error.log is judged by its lines, the secret was put there by the test.
find(sub { push @files, $File::Find::name if -f && !/^(?:error\.log|secret)$/ }, $t->testdir());

for my $path (@files) {
    my $name = substr $path, 1 + length $t->testdir();
    my $text = $t->read_file($name);

    # The request line is NGINX's to log.
    $text =~ s/access_token=\S+//g if $name eq 'access.log';
    push @leaks, map { "$name: $_" } leaks(\@secrets, $text);
}

is(join("\n", @leaks), '', 'no file has any of it');
my @buffered = $t->read_file('error.log') =~ /(is buffered to a temporary file .*?), client/g;
is(join("\n", @buffered), '', 'and no temporary file was made');
