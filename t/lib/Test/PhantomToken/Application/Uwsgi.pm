package Test::PhantomToken::Application::Uwsgi;

# The uwsgi protocol: a packet of variables, the body behind it, and an HTTP response.

use strict;
use warnings;

use parent 'Test::PhantomToken::Application';

sub read_request {
    my ($class, $socket) = @_;

    my $header = $class->read_bytes($socket, 4) // return;
    my ($modifier, $length) = unpack 'C v', $header;
    my $packet = $class->read_bytes($socket, $length) // return;

    # Each text has its length before it; names and values alternate.
    my @texts = unpack '(v/a*)*', $packet;
    my @variables;

    while (my ($name, $value) = splice @texts, 0, 2) {
        push @variables, [$name, $value];
    }

    my ($body) = map { $_->[1] } grep { $_->[0] eq 'CONTENT_LENGTH' } @variables;
    return { variables => \@variables, body => $class->read_bytes($socket, $body || 0) };
}

sub response {
    my ($class, $bytes) = @_;
    return $bytes =~ s{^Status: }{HTTP/1.1 }r;
}

1;
