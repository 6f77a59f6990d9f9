package Test::PhantomToken::Peer::Channel;

# Perl values between a test and its peer, over a socket pair.

use strict;
use warnings;

use Storable qw(freeze thaw);

sub new {
    my ($class, $socket) = @_;
    return bless { socket => $socket }, $class;
}

sub send {
    my ($self, $value) = @_;

    my $bytes = pack 'N/a*', freeze([$value]);

    while (length $bytes) {
        my $n = syswrite $self->{socket}, $bytes;
        return 0 unless $n;
        substr $bytes, 0, $n, '';
    }

    return 1;
}

# undef at the end of the channel.
sub receive {
    my ($self) = @_;
    my $length = $self->_read(4) // return undef;
    my $bytes = $self->_read(unpack 'N', $length) // return undef;
    return thaw($bytes)->[0];
}

sub _read {
    my ($self, $count) = @_;

    my $bytes = '';

    while (length $bytes < $count) {
        my $n = sysread $self->{socket}, $bytes, $count - length $bytes, length $bytes;
        return undef unless $n;
    }

    return $bytes;
}

1;
