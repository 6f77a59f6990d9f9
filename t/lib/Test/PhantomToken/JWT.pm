package Test::PhantomToken::JWT;

# Opaque tokens, and JWTs that have the right shape: the signature is made of random bytes.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);

our @EXPORT_OK = qw(opaque_token jwt envelope signed random_bytes);

my $json = JSON::PP->new->canonical;

sub random_bytes {
    my ($count) = @_;
    return join '', map { chr int rand 256 } 1 .. $count;
}

# 256 bits, as most authorization servers make them: 43 characters.
sub opaque_token {
    return encode_base64url(random_bytes(32));
}

# jwt(claims => {...}, header => {...}, size => bytes of the whole JWT, signature => the last part).
# Claims of undef are left out. Without a size, about 600 bytes.
sub jwt {
    my (%args) = @_;

    my %claims = (
        iss => 'https://as.example', sub => 'alice', aud => 'api', client_id => 'app', scope => 'read write',
        iat => time, exp => time + 300, jti => encode_base64url(random_bytes(16)), %{ $args{claims} // {} },
    );
    delete @claims{ grep { !defined $claims{$_} } keys %claims };

    my $header = encode_base64url($json->encode({ alg => 'RS256', typ => 'at+jwt', %{ $args{header} // {} } }));
    my $signature = $args{signature} // encode_base64url(random_bytes(256));
    my $payload = encode_base64url($json->encode(\%claims));

    if (my $size = $args{size}) {
        # A claim fills up most of it, the signature gives the last bytes.
        my $missing = $size - length "$header.$payload.$signature";
        croak "no JWT of $size bytes: too small" if $missing < 0;

        if ($missing > 24) {
            $claims{pad} = substr encode_base64url(random_bytes($missing)), 0, int($missing * 3 / 4) - 12;
            $payload = encode_base64url($json->encode(\%claims));
            $missing = $size - length "$header.$payload.$signature";
        }

        $signature .= substr encode_base64url(random_bytes($missing + 4)), 0, $missing;
    }

    return "$header.$payload.$signature";
}

# A signed introspection answer (RFC 9701): envelope({ active => ... }, claims => {...}, header => {...}). What it
# holds may be text, which stands there as it is. Claims and header parameters of undef are left out.
sub envelope {
    my ($introspection, %args) = @_;

    my $inside = ref $introspection ? $json->encode($introspection) : $introspection;
    my %claims = (iss => 'https://as.example', aud => 'gateway', iat => time, %{ $args{claims} // {} });
    my %header = (alg => 'RS256', typ => 'token-introspection+jwt', %{ $args{header} // {} });

    for my $members (\%claims, \%header) {
        delete @$members{ grep { !defined $members->{$_} } keys %$members };
    }

    my $claims = $json->encode(\%claims) =~ s/\}\z//r;
    return signed(\%header, %claims ? qq($claims,"token_introspection":$inside}) : qq({"token_introspection":$inside}));
}

# A JWT of that header and payload, each a hash, or text as it stands.
sub signed {
    my @parts = map { encode_base64url(ref $_ ? $json->encode($_) : $_) } @_;
    return join '.', @parts, encode_base64url(random_bytes(256));
}

1;
