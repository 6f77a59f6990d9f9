#!/usr/bin/perl

# A gateway whose id and secret have every character that there may be (RFC 6749 appendix A: 0x20 to 0x7E), known to a
# real OpenID provider: by HTTP Basic, which is form-encoded before base64 (section 2.3.1), and in the form.

use strict;
use warnings;

use MIME::Base64 qw(encode_base64);
use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib', 'oidc';
use OpenIDProvider;
use Test::Nginx;
use Test::PhantomToken;

if (my $missing = OpenIDProvider::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(37);

# The API first: a process that is forked later would keep the provider's standard input open.
my $api = api($t);
my $provider = OpenIDProvider->start($t, 8081);

my %odd = map { $_ => $provider->client($_) } qw(odd odd-post);

# An argument of a directive, in quotes; as a value with variables a dollar sign can only come out of one.
sub quoted { return '"' . $_[0] =~ s/(["\\])/\\$1/gr . '"' }
sub complex { return quoted($_[0] =~ s/\$/\${dollar}/gr) }

my ($id, $secret) = @{ $odd{odd} }{qw(id secret)};
my %text = (
    ID => quoted($id), SECRET => quoted($secret), LESS => quoted(substr $secret, 1), SWAPPED => quoted(lc $secret),
    POST_ID => complex($odd{'odd-post'}{id}), POST_SECRET => complex($odd{'odd-post'}{secret}),
    PLAIN => quoted('Basic ' . encode_base64("$id:$secret", '')),
    UMLAUT => quoted("$secret\xc3\xbc"),
);

# One newline at the end is cut, and nothing else.
$t->write_file('odd.secret', "$secret\n");

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%(\w+)%%/$text{$1} \/\/ "%%$1%%"/ger);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    geo $dollar { default '$'; }

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    phantom_token_accept application/json;
    phantom_token_jwks /jwks;
    phantom_token_issuer http://127.0.0.1:8081;
    phantom_token_cache off;
    add_header Slug $phantom_token_error always;

    server {
        listen 127.0.0.1:8080;

        location /basic { phantom_token_client_credential %%ID%% %%SECRET%%; proxy_pass http://127.0.0.1:8082; }
        location /file { phantom_token_client_credential %%ID%% file=odd.secret; proxy_pass http://127.0.0.1:8082; }
        location /form {
            phantom_token_introspection_parameter client_id %%POST_ID%%;
            phantom_token_introspection_parameter client_secret %%POST_SECRET%%;
            proxy_pass http://127.0.0.1:8082;
        }
        # The envelope's audience is the client id.
        location /envelope {
            phantom_token_client_credential %%ID%% %%SECRET%%;
            phantom_token_forward claims;
            phantom_token_accept application/token-introspection+jwt;
            phantom_token_audience %%ID%%;
            proxy_pass http://127.0.0.1:8082;
        }

        location /less { phantom_token_client_credential %%ID%% %%LESS%%; proxy_pass http://127.0.0.1:8082; }
        location /swapped { phantom_token_client_credential %%ID%% %%SWAPPED%%; proxy_pass http://127.0.0.1:8082; }
        # What RFC 6749 does not allow, and this provider does not take.
        location /umlaut { phantom_token_client_credential %%ID%% %%UMLAUT%%; proxy_pass http://127.0.0.1:8082; }
        # What many clients send: base64 alone.
        location /plain { phantom_token_introspection_endpoint /plainly; proxy_pass http://127.0.0.1:8082; }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081/token/introspection; }
        location = /plainly {
            internal;
            proxy_set_header Authorization %%PLAIN%%;
            proxy_pass http://127.0.0.1:8081/token/introspection;
        }
        location = /jwks { internal; proxy_pass http://127.0.0.1:8081/jwks; }
    }
}
CONF

$t->run();

my @characters = map { chr } 0x20 .. 0x7e;
is(join('', sort split //, $id), join('', @characters), 'the id has every character');
is(join('', sort split //, $secret), join('', @characters), 'the secret has every character');
isnt($id, $secret, 'in another order');

my $token = $provider->token('https://api.example/');

for my $way (qw(basic file form envelope)) {
    my $client = $odd{ $way eq 'form' ? 'odd-post' : 'odd' };
    my $response = call("/$way", $token);
    is($response->status(), 200, "$way: passes") or diag($t->new_module_lines());
    my @questions = $provider->introspections();
    is(scalar(@questions), 1, "$way: one question");
    is($questions[0]{client}, $client->{id}, "$way: by that client");
    my ($jwt) = ($api->authorization($response) // '') =~ /^Bearer (\S+)$/;
    $t->secrets($jwt // ());
    is(defined $jwt ? 'a JWT' : 'none', $way eq 'envelope' ? 'none' : 'a JWT', "$way: upstream");

    $response = call("/$way", token());
    is(join(' ', $response->status(), $response->header('Slug')), '401 inactive', "$way: an unknown token");
    $provider->introspections();
}

for my $way (qw(less swapped umlaut plain)) {
    my $response = call("/$way", $token);
    is(join(' ', $response->status(), $response->header('Slug')), '502 server_refused_us', "$way: refused");
    is($response->header('WWW-Authenticate'), undef, "$way: no challenge");
    my @questions = $provider->introspections();
    # Whether what is not encoded is malformed or unknown depends on the characters behind "%".
    my $status = $way eq 'plain' ? qr/^40[01]$/ : $way eq 'umlaut' ? qr/^400$/ : qr/^401$/;
    like(join(' ', map { $_->{status} } @questions), $status, "$way: the provider's status");
}

is(call('/basic', $token)->status(), 200, 'and with the right ones the token still works');
$provider->introspections();

is($provider->stop(), 0, 'the provider ends with its standard input');
