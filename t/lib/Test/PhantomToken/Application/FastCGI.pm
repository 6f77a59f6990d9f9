package Test::PhantomToken::Application::FastCGI;

# FastCGI 1.0, the role of a responder.

use strict;
use warnings;

use parent 'Test::PhantomToken::Application';

# Types of records.
my ($END_REQUEST, $PARAMS, $STDIN, $STDOUT) = (3, 4, 5, 6);

my $VERSION = 1;

# NGINX gives each request this number.
my $REQUEST_ID = 1;

sub read_request {
    my ($class, $socket) = @_;

    my %stream = ($PARAMS => '', $STDIN => '');

    while (1) {
        my $header = $class->read_bytes($socket, 8) // return;
        my ($type, $length, $padding) = unpack 'x C x2 n C', $header;
        my $content = $class->read_bytes($socket, $length) // return;
        $class->read_bytes($socket, $padding) // return;

        # A stream ends with an empty record, and NGINX sends the body last.
        last if $type == $STDIN && $length == 0;
        $stream{$type} .= $content;
    }

    return { variables => [_pairs($stream{$PARAMS})], body => $stream{$STDIN} };
}

# Name and value, each with its length before both: one byte, or four with the highest bit set.
sub _pairs {
    my ($bytes) = @_;

    my @pairs;

    while (length $bytes) {
        my @lengths = map {
            ord $bytes < 0x80 ? ord substr($bytes, 0, 1, '') : unpack('N', substr $bytes, 0, 4, '') & 0x7fff_ffff
        } 1 .. 2;
        push @pairs, [map { substr $bytes, 0, $_, '' } @lengths];
    }

    return @pairs;
}

sub response {
    my ($class, $bytes) = @_;
    return _record($STDOUT, $bytes) . _record($STDOUT, '') . _record($END_REQUEST, "\0" x 8);
}

sub _record {
    my ($type, $content) = @_;
    return pack('C C n n C x', $VERSION, $type, $REQUEST_ID, length $content, 0) . $content;
}

1;
