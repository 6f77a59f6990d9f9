package Test::PhantomToken::DPoP;

# What a client of DPoP (RFC 9449) makes: the thumbprint that its tokens are bound to, and proofs.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use Exporter qw(import);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);

our @EXPORT_OK = qw(jkt proof);

my $json = JSON::PP->new->canonical;
my $count = 0;

# The thumbprint of a Test::PhantomToken::Keys (RFC 7638).
sub jkt {
    my ($key) = @_;
    my $jwk = _jwk($key);
    return encode_base64url(sha256($json->encode({ map { exists $jwk->{$_} ? ($_ => $jwk->{$_}) : () } qw(crv e kty n x y) })));
}

# A proof for GET of that URL with that token, which may be undef; claims of undef are left out.
sub proof {
    my ($key, $token, $url, %args) = @_;
    return $key->jwt(
        header => { typ => 'dpop+jwt', jwk => _jwk($key), %{ $args{header} // {} } },
        claims => {
            (map { $_ => undef } qw(iss sub aud client_id scope exp)), htm => 'GET', htu => $url, iat => time,
            jti => 'jti-' . ++$count, ath => defined $token ? encode_base64url(sha256($token)) : undef,
            %{ $args{claims} // {} },
        },
    );
}

# Read from the file of the key once.
sub _jwk { return { %{ $_[0]{jwk} //= $_[0]->jwk() } } }

1;
