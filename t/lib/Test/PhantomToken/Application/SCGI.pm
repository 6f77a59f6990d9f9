package Test::PhantomToken::Application::SCGI;

# SCGI: a netstring of variables, the body behind it, and a CGI response.

use strict;
use warnings;

use parent 'Test::PhantomToken::Application';

sub read_request {
    my ($class, $socket) = @_;

    my $length = '';

    while ($length !~ s/:$//) {
        $length .= $class->read_bytes($socket, 1) // return;
    }

    my $netstring = $class->read_bytes($socket, $length + 1) // return;
    my @texts = split /\0/, substr($netstring, 0, $length), -1;
    my @variables;

    while (@texts > 1) {
        push @variables, [splice @texts, 0, 2];
    }

    # NGINX's own comes first; where it passes a body on as it comes, that is the length of what has come.
    my @lengths = map { $_->[1] } grep { $_->[0] eq 'CONTENT_LENGTH' } @variables;
    return { variables => \@variables, body => $class->read_bytes($socket, $lengths[-1] || 0) };
}

sub response {
    my ($class, $bytes) = @_;
    return $bytes;
}

1;
