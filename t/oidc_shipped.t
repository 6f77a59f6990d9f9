#!/usr/bin/perl

# nginx-conf/servers/node-oidc-provider.conf, and a real one: the paths, issuer and audience of the file are the
# provider's own. Replaced are what an operator replaces, and https.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib', 'oidc';
use OpenIDProvider;
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::Shipped qw(ship);

if (my $missing = OpenIDProvider::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(19);

# The API first: a process that is forked later would keep the provider's standard input open.
my $api = api($t);
my $provider = OpenIDProvider->start($t, 8081);
my $gateway = $provider->client('gateway');

ship($t, 'https://as.example.com' => 'http://127.0.0.1:' . port(8081),
    map { ("$_ gateway" => "$_ $gateway->{id}") } qw(phantom_token_client_credential phantom_token_audience));
$t->write_file('introspection.secret', "$gateway->{secret}\n");

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;
        include phantom-token/servers/node-oidc-provider.conf;
        location / { phantom_token on; include phantom-token/claims.conf; proxy_pass http://127.0.0.1:8082; }
        location /issuer { phantom_token on; phantom_token_issuer http://other.example; proxy_pass http://127.0.0.1:8082; }
        location /audience { phantom_token on; phantom_token_audience gateway-ES256; proxy_pass http://127.0.0.1:8082; }
    }
}
CONF

$t->run();

sub outcome {
    my ($response) = @_;
    return join ' ', grep { length } $response->status(), map { $response->header($_) // '' } qw(Cache-Status Slug);
}

my $signed = 'application/token-introspection+jwt';
my $token = $provider->token('https://api.example/');

for my $state (qw(MISS HIT)) {
    is(outcome(call('/', $token)), "200 $state", "$state: passes");
    my $request = $api->last_request();
    is($api->header($request, 'X-Client-Id'), 'app', "$state: the client");
    is($api->header($request, 'X-Scope'), 'read write', "$state: the scopes");
    is($api->header($request, 'Authorization'), undef, "$state: no Authorization");
    my $envelope = $api->header($request, 'Token-Introspection') // '';
    $t->secrets($envelope);
    my $claims = $provider->verified_claims($envelope, $gateway->{id}, 'token-introspection+jwt') // {};
    is($claims->{token_introspection}{client_id}, 'app', "$state: the signed answer, which verifies");
}

my @questions = $provider->introspections();
is(join(', ', map { "$_->{client} $_->{accept} $_->{type} $_->{status}" } @questions),
    "$gateway->{id} $signed $signed 200", 'one question');

is(outcome(call('/', token())), '401 MISS inactive', 'an unknown token');

for my $claim (qw(issuer audience)) {
    $t->new_module_lines();
    my $before = $api->count();
    is(outcome(call("/$claim", $token)), '502 MISS server_bad_answer', "another $claim");
    is($api->count(), $before, "another $claim: nothing goes upstream");
    is(scalar(grep { /\[error\].*does not verify/ } $t->new_module_lines()), 1, "another $claim: the log says so");
}

is($provider->stop(), 0, 'the provider ends with its standard input');
