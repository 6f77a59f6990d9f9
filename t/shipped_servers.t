#!/usr/bin/perl

# nginx-conf/servers/: each file asks a server that speaks as the one of its name does, behind HTTPS, and signs as that
# does. The address, the bundle of certificates and the name of a realm are all that is replaced.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use JSON::PP;

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::JWT;
use Test::PhantomToken::Keys;
use Test::PhantomToken::Shipped qw(shipped_files shipped_text ship certificates);

if (my $missing = Test::PhantomToken::Keys::missing()) {
    die "$missing\n" if $ENV{CI};
    plan(skip_all => $missing);
}
plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl));

my $URN = 'urn:ietf:params:oauth';
my $SIGNED = 'application/token-introspection+jwt';
my $ours = 'Basic Z2F0ZXdheTpzM2NyJTI2dCtvZit0aGUrZ2F0ZXdheQ==';

my %inactive = (active => JSON::PP::false);
my %alice = (
    active => JSON::PP::true, sub => 'alice', scope => 'read write', iat => time - 5, exp => time + 300,
    iss => 'https://as.example.com', token_type => 'Bearer',
);

# Answers: of a type, with a body, and further header lines.

sub answer {
    my ($type, $body, %fields) = @_;
    return { type => $type, body => ref $body ? JSON::PP->new->encode($body) : $body, %fields };
}

# The key of all the servers, and one that is none of theirs though it has the same name.
my ($key, $stranger) = map { Test::PhantomToken::Keys->new($t, 'RS256') } 1, 2;
my %mine = (kid => 'mine');

# A JWT that is no access token: an envelope (RFC 9701), or a flat answer.

sub envelope {
    my ($introspection, %args) = @_;
    return ($args{key} // $key)->envelope($introspection,
        claims => { iss => 'https://as.example.com', %{ $args{claims} // {} } },
        header => { %mine, %{ $args{header} // {} } });
}

sub flat {
    my ($claims, %args) = @_;
    return ($args{key} // $key)->sign(Test::PhantomToken::JWT::signed({ alg => 'RS256', typ => 'JWT', %mine }, $claims));
}

# An access token.
sub access_token {
    my ($issuer, $audience, %args) = @_;
    return ($args{key} // $key)->jwt(header => \%mine,
        claims => { iss => $issuer, aud => $audience, %{ $args{claims} // {} } });
}

# Without typ, and for the client that the token was issued to.
my %for_the_client = (header => { typ => undef }, claims => { aud => 'app' });

# What each server is asked: path, Accept, credentials and form (TOKEN stands for the token). What it answers about an
# active token, given the JWT or the envelope, and about another one. The API gets the JWT; or claims, and the envelope
# (undef: the configuration is for one, and the answer is none). Where answers are verified: the path of the keys; and what
# is refused, by names, each as the JWT or the envelope with a difference. Of a JWT that only README.md says how to verify:
# the path of the keys, issuer and audience.
my %by_another = ('another key' => [key => $stranger], 'another issuer' => [claims => { iss => 'https://other.example.com' }]);
my %for_another = (%by_another, 'another audience' => [claims => { aud => 'other' }]);

my %servers = (
    curity => {
        signs => ['/oauth/v2/oauth-anonymous/jwks', 'https://as.example.com/oauth/v2/oauth-anonymous', 'https://api.example.com'],
        path => '/oauth/v2/oauth-introspect', accept => 'application/jwt', jwt => sub { jwt() },
        active => sub { answer('application/jwt', $_[0], headers => ['Cache-Control' => 'max-age=299']) },
        inactive => { status => 204 },
    },
    keycloak => {
        signs => ['/realms/demo/protocol/openid-connect/certs', 'https://as.example.com/realms/demo', 'https://api.example.com'],
        path => '/realms/demo/protocol/openid-connect/token/introspect', accept => 'application/jwt',
        jwt => sub { jwt() },
        active => sub { answer('application/json', { %alice, azp => 'app', typ => 'Bearer', jwt => $_[0] }) },
        inactive => answer('application/json', \%inactive),
    },
    wso2 => {
        path => '/oauth2/introspect', accept => 'application/json', jwt => sub { jwt() },
        form => [[token => 'TOKEN'], [required_claims => 'http://wso2.org/claims/emailaddress']],
        active => sub { answer('application/json', { %alice, nbf => time - 5, token_string => $_[0] }) },
        inactive => answer('application/json', \%inactive),
    },
    spring => {
        signs => ['/oauth2/jwks', 'https://as.example.com', 'gateway'],
        path => '/oauth2/token', accept => 'application/json', jwt => sub { jwt() },
        form => [
            [grant_type => "$URN:grant-type:token-exchange"], [subject_token => 'TOKEN'],
            [subject_token_type => "$URN:token-type:access_token"], [requested_token_type => "$URN:token-type:jwt"],
        ],
        active => sub {
            my %members = (access_token => $_[0], issued_token_type => "$URN:token-type:jwt", token_type => 'Bearer');
            return answer('application/json;charset=UTF-8', { %members, expires_in => 299 },
                headers => ['Cache-Control' => 'no-cache, no-store, max-age=0, must-revalidate']);
        },
        inactive => answer('application/json;charset=UTF-8', { error => 'invalid_grant' }, status => 400),
    },
    zitadel => {
        signs => ['/oauth/v2/keys', 'https://as.example.com', 'https://api.example.com'],
        path => '/oauth/v2/token', accept => 'application/json', jwt => sub { jwt() },
        form => [
            [grant_type => "$URN:grant-type:token-exchange"], [subject_token => 'TOKEN'],
            [subject_token_type => "$URN:token-type:access_token"], [requested_token_type => "$URN:token-type:jwt"],
            [scope => 'openid profile'],
        ],
        active => sub {
            my %members = (access_token => $_[0], issued_token_type => "$URN:token-type:jwt", token_type => 'Bearer');
            return answer('application/json', { %members, expires_in => 43_199, scope => 'openid', id_token => jwt() },
                headers => ['Cache-Control' => 'no-store']);
        },
        inactive => answer('application/json', { error => 'invalid_request', error_description => 'invalid' },
            status => 400),
    },
    hydra => {
        path => '/admin/oauth2/introspect', accept => 'application/json', credentials => undef,
        active => sub {
            answer('application/json; charset=utf-8', { %alice, client_id => 'app', token_use => 'access_token' },
                headers => ['Cache-Control' => 'private, no-cache, no-store, must-revalidate']);
        },
        inactive => answer('application/json; charset=utf-8', \%inactive, headers => ['Cache-Control' => 'no-store']),
    },
    authentik => {
        path => '/application/o/introspect/', accept => 'application/json',
        active => sub { answer('application/json', { %alice, client_id => 'app' }, headers => [Vary => 'Cookie']) },
        inactive => answer('application/json', \%inactive),
    },
    pingam => {
        path => '/am/oauth2/realms/root/realms/demo/introspect', accept => 'application/jwt',
        active => sub { answer('application/jwt;charset=UTF-8', flat({ %alice, client_id => 'app' })) },
        inactive => answer('application/jwt;charset=UTF-8', flat(\%inactive)),
    },
    'node-oidc-provider' => {
        jwks => '/jwks', refused => \%for_another,
        path => '/token/introspection', accept => $SIGNED, envelope => sub { envelope({ %alice, client_id => 'app' }, @_) },
        active => sub { answer("$SIGNED; charset=utf-8", $_[0], headers => ['Cache-Control' => 'no-store']) },
        inactive => answer("$SIGNED; charset=utf-8", envelope(\%inactive), headers => ['Cache-Control' => 'no-store']),
    },
    duende => {
        jwks => '/.well-known/openid-configuration/jwks', refused => \%for_another,
        path => '/connect/introspect', accept => $SIGNED, envelope => sub { envelope({ %alice, client_id => 'app' }, @_) },
        active => sub { answer($SIGNED, $_[0], headers => ['Cache-Control' => 'no-store, no-cache, max-age=0']) },
        inactive => answer($SIGNED, envelope(\%inactive)),
    },
    janssen => {
        jwks => '/jans-auth/restv1/jwks', refused => \%by_another,
        path => '/jans-auth/restv1/introspection', accept => $SIGNED,
        envelope => sub { envelope({ %alice, client_id => 'app' }, %for_the_client, @_) },
        active => sub { answer($SIGNED, $_[0]) },
        inactive => answer($SIGNED, envelope(\%inactive, %for_the_client)),
    },
    # What the file says for other versions, "phantom_token_accept ...".
    'janssen, unsigned' => {
        jwks => '/jans-auth/restv1/jwks',
        path => '/jans-auth/restv1/introspection', accept => 'application/json', envelope => undef,
        active => sub { answer('application/json', { %alice, client_id => 'app' }) },
        inactive => answer('application/json', \%inactive),
    },
    'pingam, unsigned' => {
        path => '/am/oauth2/realms/root/realms/demo/introspect', accept => 'application/json',
        active => sub { answer('application/json;charset=UTF-8', { %alice, client_id => 'app', realm => '/demo' }) },
        inactive => answer('application/json;charset=UTF-8', \%inactive),
    },
    'connect2id, 9.0' => {
        jwks => '/jwks.json', refused => { 'another key' => [key => $stranger] },
        path => '/token/introspect', accept => 'application/jwt', envelope => undef,
        flat => sub { flat({ %alice, client_id => 'app' }, @_) },
        active => sub { answer('application/jwt; charset=UTF-8', $_[0]) },
        inactive => answer('application/jwt; charset=UTF-8', flat({ %inactive, iat => time })),
    },
    authlete => {
        jwks => '/api/jwks', refused => \%by_another,
        path => '/api/introspection', accept => $SIGNED, envelope => sub { envelope({ %alice, client_id => 'app' }, @_) },
        active => sub { answer($SIGNED, $_[0]) },
        inactive => answer($SIGNED, envelope(\%inactive)),
    },
    connect2id => {
        jwks => '/jwks.json', refused => \%for_another,
        path => '/token/introspect', accept => $SIGNED, envelope => sub { envelope({ %alice, client_id => 'app' }, @_) },
        active => sub { answer("$SIGNED; charset=UTF-8", $_[0]) },
        inactive => answer("$SIGNED; charset=UTF-8", envelope(\%inactive)),
    },
);

# What README.md says of verifying JWTs, too: lines to add, as they are for one server, and what they are for others.
my $readme = shipped_text('README.md') =~ s/REALM/demo/gr;
my ($example) = $readme =~ /^```nginx\n(phantom_token_jwks .*?)^```/ms;
my %added;

for my $row ($readme =~ m{^\| `servers/(\w+\.conf` \| `https://.*) \|$}mg) {
    my ($name, $uri, $issuer, $remark) = $row =~ /^(\w+)\.conf` \| `(\S+)` \| `(\S+)`(.*)/;
    my $audience = $remark =~ /the audience is the client's id/ ? 'gateway' : 'https://api.example.com';
    my %values = (proxy_pass => $uri, phantom_token_issuer => $issuer, phantom_token_audience => $audience);
    my $names = join '|', keys %values;
    $added{"$name, verified"} = $example =~ s/^( *)($names)( +)[^;]+;/$1$2$3$values{$2};/gmr;
}

for my $name (grep { $servers{$_}{signs} } keys %servers) {
    my ($jwks, $issuer, $audience) = @{ $servers{$name}{signs} };
    $servers{"$name, verified"} = {
        %{ $servers{$name} }, jwks => $jwks, refused => \%for_another,
        jwt => sub { access_token($issuer, $audience, @_) },
    };
}

my @names = sort keys %servers;

my $refusals = 0;
$refusals += 1 + keys %{ $servers{$_}{refused} } for grep { $servers{$_}{refused} } @names;
$t->plan(3 + 17 * @names + 4 * $refusals + 2 * (grep { $servers{$_}{jwks} } @names) + 1);

is_deeply([map { "servers/$_.conf" } grep { !/, / } @names], [grep { m{^servers/} } shipped_files()],
    'each file has its server');
is_deeply([sort keys %added], [grep { /, verified$/ } @names], 'README.md has lines for those that sign JWTs');
is($added{'keycloak, verified'}, $example, 'and the lines that it shows are those for one of them');

sub host { return $_[0] =~ s/, /-/r }

# One server block for each, with the headers for claims where there is no JWT.
my $blocks = join '', map {
    my $claims = $servers{$_}{jwt} ? '' : 'include phantom-token/claims.conf;';
    my $host = host($_);
    <<"CONF";
    server {
        listen 127.0.0.1:8080;
        server_name $host;
        include phantom-token/servers/$host.conf;
        location / { phantom_token on; $claims proxy_pass http://127.0.0.1:8082; }
    }
CONF
} @names;

certificates($t, 'ca.crt', server => 'as.example.com');
ship($t, 'server as.example.com:443;' => 'server 127.0.0.1:' . port(8443) . ';',
    '/etc/ssl/certs/ca-certificates.crt' => 'ca.crt', REALM => 'demo');

for my $name (grep { /, / } @names) {
    my ($file) = $name =~ /^(.+),/;
    my $text = $t->read_file("phantom-token/servers/$file.conf");

    if ($added{$name}) {
        $text .= $added{$name};
    } else {
        my ($accept, $without) = $text =~ /^#.*"(phantom_token_accept \S+)"(.*)/m or die "$file.conf has no other way\n";
        $text =~ s/^phantom_token_accept .*;/$accept;/m;
        for my $directive ($without =~ /(phantom_token_\w+)/g) {
            $text =~ s/^$directive .*\n//m or die "$file.conf has no $directive\n";
        }
    }

    $t->write_file('phantom-token/servers/' . host($name) . '.conf', $text);
}

$t->write_file_expand('nginx.conf', <<"CONF");
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    add_header Slug \$phantom_token_error always;

    include phantom-token/upstream.conf;
$blocks
    # The authorization servers.
    server {
        listen 127.0.0.1:8443 ssl;
        ssl_certificate server.crt;
        ssl_certificate_key server.key;

        proxy_set_header Host \$http_host;
        proxy_set_header X-Connection \$connection;
        location / { proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

# Whatever has no token is a question for keys.
$as->script('', answer('application/json', Test::PhantomToken::Keys::set($key->jwk(%mine, use => 'sig', alg => 'RS256'))));
$t->run();

my %connections;

for my $name (@names) {
    my $server = $servers{$name};
    my ($token, $unknown) = (token(), token());
    my $make = $server->{jwt} // $server->{envelope} // $server->{flat} // sub { '' };
    my $document = $make->();
    my $fetched = $as->count('');
    $as->script($token, $server->{active}->($document));
    $as->script($unknown, $server->{inactive});

    # A client that says who it is.
    my @lies = map { $_ => 'mallory' } qw(X-Subject X-Client-Id X-Scope Token-Introspection);
    my @call = ('/', $token, host => host($name), headers => [@lies, Accept => 'text/html']);
    my $response = call(@call);
    is($response->status(), 200, "$name: an active token") or diag($t->new_module_lines());

    my $question = $as->last_request($token) // { headers => [], body => '' };
    is($question->{method} . ' ' . $question->{uri}, "POST $server->{path}", "$name: method and path");
    is($as->header($question, 'Host'), 'as.example.com', "$name: Host");
    is($as->header($question, 'Accept'), $server->{accept}, "$name: Accept");
    is($as->header($question, 'Content-Type'), 'application/x-www-form-urlencoded', "$name: Content-Type");
    is($as->header($question, 'Authorization'), exists $server->{credentials} ? undef : $ours, "$name: credentials");
    my $form = $server->{form} // [[token => 'TOKEN']];
    my @form = map { [$_->[0], $_->[1] =~ s/^TOKEN$/$token/r] } @$form;
    is_deeply([sort { $a->[0] cmp $b->[0] } $as->form($question->{body})], [sort { $a->[0] cmp $b->[0] } @form],
        "$name: form");
    $connections{ $as->header($question, 'X-Connection') // '' } = 1;

    is($api->authorization(), $server->{jwt} ? "Bearer $document" : undef, "$name: Authorization upstream");
    my $upstream = $api->last_request();
    my $asserted = !$server->{jwt};
    is($api->header($upstream, 'X-Subject'), $asserted ? 'alice' : 'mallory', "$name: X-Subject upstream");
    is($api->header($upstream, 'X-Client-Id'), $asserted ? 'app' : 'mallory', "$name: X-Client-Id upstream");
    is($api->header($upstream, 'X-Scope'), $asserted ? 'read write' : 'mallory', "$name: X-Scope upstream");
    my $envelope = $server->{envelope} ? $document : exists $server->{envelope} ? undef : 'mallory';
    is($api->header($upstream, 'Token-Introspection'), $envelope, "$name: the envelope upstream");

    is(call(@call)->status(), 200, "$name: again");
    is($as->questions($token), 1, "$name: without a question");

    $response = call('/', $unknown, host => host($name));
    is($response->status(), 401, "$name: an inactive token");
    is($response->header('Slug'), 'inactive', "$name: its slug");

    # The keys.
    my @fetches = $as->requests('');
    splice @fetches, 0, $fetched;
    is(join(' ', map { "$_->{method} $_->{uri}" } @fetches), $server->{jwks} ? "GET $server->{jwks}" : '',
        "$name: where keys are asked for, once");
    if ($server->{jwks}) {
        is($as->header($fetches[0], 'Host'), 'as.example.com', "$name: keys, Host");
        is(join(' ', map { $as->header($fetches[0], $_) // '-' } qw(Authorization Cookie)), '- -', "$name: keys, nothing of ours");
    }

    # What does not verify: a difference in what is signed, or JSON in its place.
    my %refused = %{ $server->{refused} // next };
    my %wrong = map { $_ => $server->{active}->($make->(@{ $refused{$_} })) } keys %refused;
    $wrong{'nothing signed'} = answer('application/json', { %alice, client_id => 'app' });

    for my $wrong (sort keys %wrong) {
        my $bad = token();
        my $before = $api->count();
        $as->script($bad, $wrong{$wrong});
        $t->new_module_lines();
        $response = call('/', $bad, host => host($name));
        is($response->status(), 502, "$name, $wrong: refused");
        is($response->header('Slug'), 'server_bad_answer', "$name, $wrong: its slug");
        is($api->count(), $before, "$name, $wrong: nothing goes upstream");
        is(scalar(grep { /\[error\].*server_bad_answer/ } $t->new_module_lines()), 1, "$name, $wrong: the log says so");
    }
}

is(scalar(keys %connections), 1, 'all on one connection');
