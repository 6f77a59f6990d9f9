package Test::PhantomToken::Peer::Request;

# Parses the HTTP/1.x requests that arrive on one connection.

use strict;
use warnings;

sub new {
    my ($class) = @_;
    return bless { buffer => '' }, $class;
}

sub feed {
    my ($self, $bytes) = @_;
    $self->{buffer} .= $bytes;
    return;
}

# False where this cannot become a request: a TLS handshake, for instance.
sub is_http {
    my ($self) = @_;
    return $self->{buffer} =~ /^(?:[A-Z]|\z)/;
}

# The bytes behind the last complete request.
sub rest {
    my ($self) = @_;
    my $rest = $self->{buffer};
    $self->{buffer} = '';
    return $rest;
}

# The next complete request, or undef: { method, uri, version, headers => [[name, value], ...], body, head }.
sub next_request {
    my ($self) = @_;

    my $end = index $self->{buffer}, "\r\n\r\n";
    return undef if $end < 0;

    my $head = substr $self->{buffer}, 0, $end;
    my ($line, @lines) = split /\r\n/, $head;
    my ($method, $uri, $version) = split / /, $line;
    my @headers = map { /^([^:]*):[ \t]*(.*?)[ \t]*$/ ? [$1, $2] : () } @lines;
    my %first;
    $first{ lc $_->[0] } //= $_->[1] for @headers;

    my ($body, $used) = ('', $end + 4);

    if (lc($first{'transfer-encoding'} // '') eq 'chunked') {
        ($body, $used) = $self->_chunked($used);
        return undef unless defined $body;
    } elsif (my $length = $first{'content-length'}) {
        return undef if length $self->{buffer} < $used + $length;
        $body = substr $self->{buffer}, $used, $length;
        $used += $length;
    }

    substr $self->{buffer}, 0, $used, '';

    return {
        method => $method, uri => $uri, version => $version // '', headers => \@headers, body => $body,
        head => $head,
    };
}

# The decoded body that starts at an offset, and the offset behind it; nothing while it is incomplete.
sub _chunked {
    my ($self, $offset) = @_;

    my $body = '';

    while (1) {
        my $end = index $self->{buffer}, "\r\n", $offset;
        return if $end < 0;

        my $size = hex substr $self->{buffer}, $offset, $end - $offset;
        $offset = $end + 2;
        return if length $self->{buffer} < $offset + $size + 2;

        $body .= substr $self->{buffer}, $offset, $size;
        $offset += $size + 2;
        return ($body, $offset) if $size == 0;
    }
}

1;
