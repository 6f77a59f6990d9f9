package Test::Nginx::HPACK;

# Header compression of HTTP/2 (RFC 7541), without a dynamic table: requests are written as literals, and NGINX does
# not use one for responses.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);

our @EXPORT_OK = qw(encode_headers decode_headers);

# The static table (appendix A), from index 1: a line each, the value behind the name.
my @STATIC = map { [split / /, $_, 2] } split /\n/, <<'TABLE' =~ s/^ +//gmr;
    :authority
    :method GET
    :method POST
    :path /
    :path /index.html
    :scheme http
    :scheme https
    :status 200
    :status 204
    :status 206
    :status 304
    :status 400
    :status 404
    :status 500
    accept-charset
    accept-encoding gzip, deflate
    accept-language
    accept-ranges
    accept
    access-control-allow-origin
    age
    allow
    authorization
    cache-control
    content-disposition
    content-encoding
    content-language
    content-length
    content-location
    content-range
    content-type
    cookie
    date
    etag
    expect
    expires
    from
    host
    if-match
    if-modified-since
    if-none-match
    if-range
    if-unmodified-since
    last-modified
    link
    location
    max-forwards
    proxy-authenticate
    proxy-authorization
    range
    referer
    refresh
    retry-after
    server
    set-cookie
    strict-transport-security
    transfer-encoding
    user-agent
    vary
    via
    www-authenticate
TABLE

# The lengths of the codes of the 256 bytes and of the end of a string (appendix B). The code is canonical: the
# lengths say it all.
my @LENGTHS = qw(
    13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 6 10 10 12
    13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7
    7 7 8 7 8 13 19 13 14 6 15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 20 22 20 20 22
    22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24 22 21 20 22 22 23 23 21 23
    22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23 26 26 20 19 22 23 22 25 26 26 26 27 27
    26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27 20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26
    27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 30
);

my %BYTE_OF = _canonical(@LENGTHS);

# Names and values, to a header block.
sub encode_headers {
    my (@headers) = @_;

    my $block = '';

    while (my ($name, $value) = splice @headers, 0, 2) {
        $block .= "\0" . _string(lc $name) . _string($value);
    }

    return $block;
}

# A header block, to [name, value], ...
sub decode_headers {
    my ($block) = @_;

    my @headers;

    while (length $block) {
        my $first = ord $block;

        if ($first & 0x80) {
            push @headers, _static(_take_integer(\$block, 7));
        } elsif (($first & 0xe0) == 0x20) {
            # The size of the dynamic table: nothing to do where there is none.
            _take_integer(\$block, 5);
        } else {
            my $index = _take_integer(\$block, $first & 0x40 ? 6 : 4);
            my $name = $index ? _static($index)->[0] : _take_string(\$block);
            push @headers, [$name, _take_string(\$block)];
        }
    }

    return @headers;
}

sub _static {
    my ($index) = @_;
    croak "index $index is not in the static table" unless $index > 0 && $index <= @STATIC;
    my ($name, $value) = @{ $STATIC[$index - 1] };
    return [$name, $value // ''];
}

# A string literal (section 5.2), without Huffman code.
sub _string {
    my ($text) = @_;

    my $length = length $text;
    return chr($length) . $text if $length < 127;

    my $prefix = chr 127;
    $length -= 127;

    while ($length >= 128) {
        $prefix .= chr($length % 128 + 128);
        $length = int($length / 128);
    }

    return $prefix . chr($length) . $text;
}

sub _take_string {
    my ($block) = @_;

    my $huffman = ord($$block) & 0x80;
    my $bytes = substr $$block, 0, _take_integer($block, 7), '';
    return $huffman ? _huffman($bytes) : $bytes;
}

# An integer (section 5.1) of which the first byte has that many bits.
sub _take_integer {
    my ($block, $bits) = @_;

    my $most = (1 << $bits) - 1;
    my $number = ord(substr $$block, 0, 1, '') & $most;
    return $number if $number < $most;

    for (my $shift = 0;; $shift += 7) {
        croak 'an integer is cut off' if $$block eq '';
        my $byte = ord substr $$block, 0, 1, '';
        $number += ($byte & 0x7f) << $shift;
        return $number unless $byte & 0x80;
    }
}

sub _huffman {
    my ($bytes) = @_;

    my ($text, $code) = ('', '');

    for my $bit (split //, unpack 'B*', $bytes) {
        $code .= $bit;
        my $byte = $BYTE_OF{$code} // next;
        $text .= chr $byte;
        $code = '';
    }

    # What is left are the first bits of the end of a string.
    croak "bad Huffman code $code" unless $code =~ /^1{0,7}\z/;
    return $text;
}

# The codes, as strings of bits, to what they stand for.
sub _canonical {
    my (@lengths) = @_;

    my ($code, $last, %byte_of) = (0, 0);

    for my $byte (sort { $lengths[$a] <=> $lengths[$b] || $a <=> $b } 0 .. $#lengths) {
        $code <<= $lengths[$byte] - $last;
        $last = $lengths[$byte];
        $byte_of{ sprintf '%0*b', $last, $code++ } = $byte;
    }

    return %byte_of;
}

1;
