package Test::Nginx::Ports;

# Loopback ports that tests running at the same time do not take from each other.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use IO::Socket::INET;
use Socket qw(SOCK_DGRAM SOMAXCONN);

our @EXPORT_OK = qw(port);

my %reserved;

# The lock of a TCP port is the UDP port of the same number, held as long as this process lives:
# the kernel lets go of it however the process ends.
my @locks;

# Below the kernel's ephemeral range, so that no outgoing connection takes one of them.
my ($LOWEST, $HIGHEST) = (10_000, 29_999);

# port(8080): the port that stands for 8080 in this test, the same at every call.
sub port {
    my ($name) = @_;
    return $reserved{$name} //= _reserve($name);
}

sub _reserve {
    my ($preferred) = @_;

    for my $port ($preferred, map { $LOWEST + int rand($HIGHEST - $LOWEST) } 1 .. 200) {
        my $lock = IO::Socket::INET->new(
            Proto => 'udp', Type => SOCK_DGRAM, LocalAddr => '127.0.0.1', LocalPort => $port,
        ) or next;

        # Somebody outside the test suite may listen there.
        my $free = IO::Socket::INET->new(
            Proto => 'tcp', LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, ReuseAddr => 1,
        ) or next;
        close $free;

        push @locks, $lock;
        return $port;
    }

    croak "no free port for $preferred";
}

1;
