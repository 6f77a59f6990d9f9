package Test::PhantomToken::Keys;

# Key pairs of an authorization server, made by the openssl command for one test, and JWTs signed with them. The
# private keys lie in the directory of the test.

use strict;
use warnings;

use Carp qw(croak);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);

use Test::PhantomToken::JWT;

my $json = JSON::PP->new->canonical;

my %KINDS = (
    RSA => ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
    'P-256' => ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    'P-384' => ['EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
    Ed25519 => ['ED25519'],
);

my %CURVES = (ES256 => 'P-256', ES384 => 'P-384', EdDSA => 'Ed25519', Ed25519 => 'Ed25519');

my $count = 0;

sub missing {
    my ($version) = (`openssl version 2>/dev/null` // '') =~ /^OpenSSL (\d+)/;
    return ($version // 0) >= 3 ? undef : 'no openssl command of version 3 or later';
}

# new($t, 'ES256'): a pair that signs with that algorithm.
sub new {
    my ($class, $t, $alg) = @_;

    my $kind = $CURVES{$alg} // 'RSA';
    my $file = $t->testdir() . '/private-' . ++$count . '.pem';
    my ($algorithm, @options) = @{ $KINDS{$kind} };
    _openssl('genpkey', '-algorithm', $algorithm, @options, '-out', $file);

    # None of it may be in a log line or a response, whoever writes it.
    my ($private) = $t->read_file($file =~ s{.*/}{}r) =~ /\n([^-\n]{20,})\n/ or croak "no private key in $file";
    $t->secrets($private);
    return bless { t => $t, alg => $alg, kind => $kind, file => $file }, $class;
}

# The public key as a JWK (RFC 7517), with further members.
sub jwk {
    my ($self, %members) = @_;

    if ($self->{kind} eq 'RSA') {
        my ($modulus) = _openssl('rsa', '-in', $self->{file}, '-noout', '-modulus') =~ /=([0-9A-F]+)/;
        return { kty => 'RSA', n => encode_base64url(pack 'H*', $modulus), e => 'AQAB', %members };
    }

    # The point is at the end of the structure.
    my $der = _openssl('pkey', '-in', $self->{file}, '-pubout', '-outform', 'DER');
    return { kty => 'OKP', crv => 'Ed25519', x => encode_base64url(substr $der, -32), %members }
        if $self->{kind} eq 'Ed25519';
    my $size = $self->_size();
    my ($x, $y) = map { encode_base64url($_) } substr($der, -2 * $size, $size), substr($der, -$size);
    return { kty => 'EC', crv => $self->{kind}, x => $x, y => $y, %members };
}

# As of Test::PhantomToken::JWT, with a signature by this key: of the algorithm of the key, whatever the header says.

sub jwt {
    my ($self, %args) = @_;
    return $self->sign(Test::PhantomToken::JWT::jwt(%args, header => $self->_header(%args)));
}

sub envelope {
    my ($self, $introspection, %args) = @_;
    return $self->sign(Test::PhantomToken::JWT::envelope($introspection, %args, header => $self->_header(%args)));
}

# The JWT with another signature.
sub sign {
    my ($self, $jwt) = @_;

    my ($message) = $jwt =~ /^(.*)\.[^.]*\z/s or croak 'not a JWT';
    my $signed = "$message." . encode_base64url($self->_signature($message));
    $self->{t}->secrets($signed);
    return $signed;
}

# A set of JWKs as text (RFC 7517 section 5).
sub set { return $json->encode({ keys => [@_] }) }

sub _header { my ($self, %args) = @_; return { alg => $self->{alg}, %{ $args{header} // {} } } }

sub _size { return $_[0]{kind} eq 'P-384' ? 48 : 32 }

sub _signature {
    my ($self, $message) = @_;

    my ($t, $input) = ($self->{t}, "message-$count");
    $t->write_file($input, $message);
    $input = $t->testdir() . "/$input";
    return _openssl('pkeyutl', '-sign', '-rawin', '-inkey', $self->{file}, '-in', $input) if $self->{kind} eq 'Ed25519';

    my ($bits) = $self->{alg} =~ /(\d+)/;
    my @padding = $self->{alg} =~ /^PS/ ? map { (-sigopt => $_) } qw(rsa_padding_mode:pss rsa_pss_saltlen:-1) : ();
    my $signature = _openssl('dgst', "-sha$bits", '-sign', $self->{file}, @padding, $input);
    return $signature if $self->{kind} eq 'RSA';

    # A SEQUENCE of two INTEGERs, of which JOSE wants the plain numbers (RFC 7518 section 3.4).
    my ($r, $s) = unpack 'x2 x C/a x C/a', $signature;
    return join '', map { substr "\0" x 48 . $_, -$self->_size() } $r, $s;
}

sub _openssl {
    my (@arguments) = @_;

    my $pid = open(my $output, '-|') // croak "openssl: $!";
    if ($pid == 0) {
        open STDERR, '>', '/dev/null';
        exec 'openssl', @arguments or exit 127;
    }
    binmode $output;
    my $text = do { local $/; <$output> };
    close $output or croak "openssl @arguments: $?";
    return $text;
}

1;
