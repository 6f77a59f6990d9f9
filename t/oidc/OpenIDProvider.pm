package OpenIDProvider;

# The OpenID provider of provider.mjs: its process, and what a client and an API ask of it.
#
# Requests go by HTTP::Tiny, not by Test::Nginx: the provider's answers carry the tokens that no response of the
# gateway may hold.

use strict;
use warnings;

use Carp qw(croak);
use HTTP::Tiny;
use IO::Select;
use IPC::Open3 qw(open3);
use JSON::PP;
use MIME::Base64 qw(encode_base64);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

use Test::Nginx;

# The longest that a test waits for the provider, which loads a hundred packages before it listens.
my $TIMEOUT = 60;

my $DIRECTORY = __FILE__ =~ s{[^/]+$}{}r;

my $http = HTTP::Tiny->new(
    timeout => $TIMEOUT, max_redirect => 0, proxy => undef, http_proxy => undef, https_proxy => undef,
);

# What the provider needs and this machine does not have, and how to get it; undef if all is there.
sub missing {
    my ($version) = (`node --version 2>/dev/null` // '') =~ /^v(\d+)\./;
    return 'no node: install Node.js 18 or later' unless defined $version;
    return "node $version is too old: install Node.js 18 or later" if $version < 18;
    return 'no oidc-provider: run npm ci in t/oidc' unless -e "${DIRECTORY}node_modules/oidc-provider/package.json";
    return undef;
}

# start($t, 8081): listens when it returns.
sub start {
    my ($class, $t, $port) = @_;

    my $log_name = 'provider.log';
    open my $log, '>', $t->testdir() . "/$log_name" or croak "cannot write $log_name: $!";
    my $pid = open3(my $input, my $output, '>&' . fileno $log, 'node', "${DIRECTORY}provider.mjs", port($port));
    my $self = bless { pid => $pid, input => $input, output => $output, buffer => '' }, $class;

    my $ready = eval { $self->_read() } or croak "the provider did not start: $@" . $t->read_file($log_name);
    $t->secrets(map { $_->{secret} } values %{ $ready->{clients} });

    $self->{clients} = $ready->{clients};
    $self->{discovery} = _json($http->get("$ready->{issuer}/.well-known/openid-configuration"));
    return $self;
}

# A member of the provider's metadata (OpenID Connect Discovery section 3): "issuer", "jwks_uri" ...
sub metadata {
    my ($self, $name) = @_;
    return $self->{discovery}{$name};
}

# The provider's public keys, as the text of a JWK set.
sub jwks {
    my ($self) = @_;

    my $response = $http->get($self->metadata('jwks_uri'));
    croak "jwks_uri: $response->{status}" unless $response->{success};
    return $response->{content};
}

# { id, secret } of a client: "app", and "bound", whose tokens are bound to its certificate; "gateway", "PS256" and
# "ES256", whose introspection responses are signed so; "odd" and "odd-post", with every character that there may be.
sub client {
    my ($self, $name) = @_;
    return $self->{clients}{$name};
}

# A new opaque access token for a resource, which may be in no log line of ours and in no response. Options: client
# (the app), type (Bearer), headers ({ DPoP => ... }), and, for a TLS terminator in front of the provider, port and
# tls, the options of IO::Socket::SSL.
sub token {
    my ($self, $resource, %options) = @_;

    my $type = $options{type} // 'Bearer';
    my $answer = _json($self->_post('token_endpoint', {
        grant_type => 'client_credentials', resource => $resource, scope => 'read write',
    }, %options));
    croak "not of type $type: $answer->{token_type}" if lc $answer->{token_type} ne lc $type;

    Test::Nginx->secrets($answer->{access_token});
    return $answer->{access_token};
}

# Has the app revoke a token (RFC 7009).
sub revoke {
    my ($self, $token) = @_;

    my $response = $self->_post('revocation_endpoint', { token => $token, token_type_hint => 'access_token' });
    croak "revocation: $response->{status}" if $response->{status} != 200;
    return $self;
}

# The introspection requests since the last call: { client, accept, status, type }.
sub introspections {
    my ($self) = @_;

    return @{ $self->_tell('introspections') };
}

# How often the provider's keys were asked for, by whomever.
sub fetches {
    my ($self) = @_;
    return $self->_tell('fetches');
}

# Has the provider publish these sets of keys, by their names, and sign with the first one; the `kid` of what it signs
# access tokens with from now on. It begins with "first"; a name that is new gets new keys.
sub use_keys {
    my ($self, @names) = @_;
    return $self->_tell({ keys => \@names });
}

# The claims of a JWT that verifies now, for this audience; undef if it does not. Without a typ: of an access token.
sub verified_claims {
    my ($self, $jwt, $audience, $typ) = @_;

    open my $nowhere, '>', '/dev/null' or croak "cannot write /dev/null: $!";
    my $pid = open3(
        my $input, my $output, '>&' . fileno $nowhere,
        'node', "${DIRECTORY}verify.mjs", map({ $self->metadata($_) } qw(jwks_uri issuer)), $audience, time(), $typ // (),
    );

    # If the process is gone already, its exit status says so.
    local $SIG{PIPE} = 'IGNORE';
    print {$input} $jwt;
    close $input;

    my $claims = do { local $/; <$output> };
    waitpid $pid, 0;
    return $? == 0 ? decode_json($claims) : undef;
}

# Closes the provider's standard input; its exit status (as $?) if that ends it, undef if it has to be killed.
sub stop {
    my ($self) = @_;

    close $self->{input};
    my $deadline = time() + $TIMEOUT;

    while (waitpid($self->{pid}, WNOHANG) != $self->{pid}) {
        if (time() > $deadline) {
            kill KILL => $self->{pid};
            waitpid $self->{pid}, 0;
            return undef;
        }

        sleep 0.01;
    }

    return $?;
}

# A form of the app, or of another client, which authenticates itself by HTTP Basic. Options as of token().
sub _post {
    my ($self, $endpoint, $form, %options) = @_;

    my $app = $self->client($options{client} // 'app');
    my %headers = (
        Authorization => 'Basic ' . encode_base64("$app->{id}:$app->{secret}", ''), %{ $options{headers} // {} },
    );
    my $url = $self->metadata($endpoint);
    return $http->post_form($url, $form, { headers => \%headers }) unless $options{tls};

    # A connection for each certificate.
    my $secure = HTTP::Tiny->new(
        timeout => $TIMEOUT, max_redirect => 0, proxy => undef, http_proxy => undef, https_proxy => undef,
        keep_alive => 0, SSL_options => { SSL_verify_mode => 0, %{ $options{tls} } },
    );
    my $port = port($options{port});
    return $secure->post_form($url =~ s{^http://127\.0\.0\.1:\d+}{https://127.0.0.1:$port}r, $form,
        { headers => \%headers });
}

sub _json {
    my ($response) = @_;
    croak "$response->{url}: $response->{status}" unless $response->{success};
    return decode_json($response->{content});
}

# Writes a command to the provider; what it answers.
sub _tell {
    my ($self, $command) = @_;

    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{input}, JSON::PP->new->allow_nonref->encode($command) . "\n" or croak "the provider is gone: $!";
    return $self->_read();
}

# The next line from the provider, decoded.
sub _read {
    my ($self) = @_;

    my $deadline = time() + $TIMEOUT;

    until ($self->{buffer} =~ /\n/) {
        my $left = $deadline - time();
        croak "nothing from the provider within $TIMEOUT s" unless IO::Select->new($self->{output})->can_read($left);
        sysread $self->{output}, $self->{buffer}, 65_536, length $self->{buffer} or croak 'the provider is gone';
    }

    (my $line, $self->{buffer}) = split /\n/, $self->{buffer}, 2;
    return JSON::PP->new->utf8->allow_nonref->decode($line);
}

1;
