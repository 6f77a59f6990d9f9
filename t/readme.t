#!/usr/bin/perl

# The quick start of README.md, word by word: names and addresses of the outside world are all that is replaced.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Keys;
use Test::PhantomToken::Shipped qw(ship certificates);

if (my $missing = Test::PhantomToken::Keys::missing()) {
    plan(skip_all => $missing);
}
plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

sub file {
    my ($name) = @_;
    open my $handle, '<', "../$name" or die "$name: $!\n";
    local $/;
    return scalar <$handle>;
}

my $readme = file('README.md');
my ($quick_start) = $readme =~ /```nginx\n(include phantom-token.*?)```/s;
my ($requirements) = $readme =~ /```nginx\n(location \/payments\/ .*?)```/s;
my ($log_format) = $readme =~ /```nginx\n(log_format .*?)```/s;

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl))->plan(17);

$quick_start =~ s/^server \{$/server { listen 127.0.0.1:8080; access_log readme.log phantom;/m;
$quick_start =~ s/^\}\s*\z/$requirements}/m;

my ($key, $other_key) = map { Test::PhantomToken::Keys->new($t, 'ES256') } 1, 2;
$t->write_file('as.jwks', Test::PhantomToken::Keys::set($key->jwk()));

certificates($t, 'ca.crt', server => 'as.example.com');
ship($t, 'server as.example.com:443;' => 'server 127.0.0.1:' . port(8443) . ';',
    '/etc/ssl/certs/ca-certificates.crt' => 'ca.crt');
$t->write_file_expand('nginx.conf', <<"CONF");
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    $log_format
    upstream api { server 127.0.0.1:8082; }
    upstream payments { server 127.0.0.1:8082; }
    $quick_start

    server {
        listen 127.0.0.1:8443 ssl;
        ssl_certificate server.crt;
        ssl_certificate_key server.key;
        location / {
            proxy_set_header X-Connection \$connection;
            proxy_set_header X-Host \$http_host;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

my $response = call('/api/things', $token);
is($response->status(), 200, 'the first call passes');
is($api->authorization($response), "Bearer $jwt", 'with the JWT');
my $question = $as->last_request($token);
is($as->header($question, 'X-Host'), 'as.example.com', 'the server is asked by its name');
is($as->header($question, 'Authorization'), 'Basic Z2F0ZXdheTpzM2NyJTI2dCtvZit0aGUrZ2F0ZXdheQ==',
    'with the credentials of the file, form-encoded');

call('/api/things', $token);
is($as->questions($token), 1, 'the second call is a hit');

my $unknown = token();
$as->script($unknown, $as->inactive_answer());
is(call('/api/things', $unknown)->status(), 401, 'an inactive token is refused');
is($as->header($as->last_request($unknown), 'X-Connection'), $as->header($question, 'X-Connection'),
    'the connection to the server is kept open');

# What a location can ask for.

my %meets = (aud => 'https://payments.example.com', scope => 'openid payments:write');
for (
    ['as required', 200, $key, %meets],
    ['of another audience', 401, $key, %meets, aud => 'https://other.example.com'],
    ['without the scope', 403, $key, %meets, scope => 'openid'],
    ['signed by another key', 502, $other_key, %meets],
) {
    my ($name, $status, $by, %claims) = @$_;
    my $token = token();
    $as->script($token, $as->jwt_answer($by->jwt(claims => { exp => time + 60, %claims })));
    is(call('/payments/', $token)->status(), $status, "a token $name");
}

$t->stop();
my @lines = split /\n/, $t->read_file('readme.log');
like($lines[0], qr{"GET /api/things" 200 token=[0-9a-f]{8} cache=MISS refused=- asked=\d+\.\d{3}$}, 'log: a miss');
like($lines[1], qr{" 200 token=[0-9a-f]{8} cache=HIT refused=- asked=-$}, 'log: a hit');
like($lines[2], qr{" 401 token=[0-9a-f]{8} cache=MISS refused=inactive asked=\d+\.\d{3}$}, 'log: a refusal');

# Every slug that the module knows is in README.md, every directive and variable in the reference.

my $reference = file('docs/directives.md');

my ($slug) = file('core/src/reason.rs') =~ /fn slug\((.*?)\n    \}\n/s;
my @slugs = $slug =~ /=> "(\w+)",/g;
my @missing = grep { $readme !~ /\| `$_` \|/ } @slugs;
is("@missing", @slugs < 15 ? 'the slugs were not found' : '', 'every slug is explained');
my @directives = file('src/directives.rs') =~ /ngx_string!\("(phantom_token\w*)"\)/g;
@missing = grep { $reference !~ /^\*\*Syntax:\*\* `$_[ `]/m } @directives;
is("@missing", '', 'every directive has its reference');
my @variables = file('src/variables.rs') =~ /b"(phantom_token_\w+)"/g;
@missing = grep { $reference !~ /\| `\$$_\w*` \|/ } @variables;
is("@missing", '', 'every variable is in the table');
