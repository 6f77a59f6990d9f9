package Test::PhantomToken::NameServer;

# A DNS server with one IPv4 address for every name, which a test changes: a process of its own, which ends with the
# test.

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET;
use Socket qw(inet_aton);

# start($t, '127.0.0.2:port', '192.0.2.1'): listens when it returns. Answers hold for a second.
sub start {
    my ($class, $t, $listen, $address) = @_;

    my $socket = IO::Socket::INET->new(Proto => 'udp', LocalAddr => $listen)
        or croak "cannot listen on $listen: $!";
    my $self = bless { t => $t, file => 'name_server' }, $class;

    $self->set($address);
    $t->run_daemon(sub { _run($socket, $t->testdir() . "/$self->{file}") });
    return $self;
}

# The address from now on.
sub set {
    my ($self, $address) = @_;
    my $path = $self->{t}->testdir() . "/$self->{file}";
    $self->{t}->write_file("$self->{file}.new", $address);
    rename "$path.new", $path or croak "cannot rename $path.new: $!";
    return $self;
}

sub _run {
    my ($socket, $file) = @_;

    while (defined(my $client = $socket->recv(my $query, 512))) {
        open my $handle, '<', $file or die "$file: $!\n";
        $socket->send(_answer($query, scalar <$handle>), 0, $client);
        close $handle;
    }

    return;
}

# RFC 1035: the question is repeated; an A record if that is asked for, and no record otherwise.
sub _answer {
    my ($query, $address) = @_;

    my $id = substr $query, 0, 2;
    my ($name) = substr($query, 12) =~ /^((?:[^\0].*?)?\0)/s or return '';
    my $question = substr $query, 12, 4 + length $name;
    my $wants_address = unpack('n', substr $question, -4, 2) == 1;
    my $record = $wants_address ? pack('n n n N n/a*', 0xC00C, 1, 1, 1, inet_aton($address)) : '';
    return $id . pack('n5', 0x8180, 1, $wants_address, 0, 0) . $question . $record;
}

1;
