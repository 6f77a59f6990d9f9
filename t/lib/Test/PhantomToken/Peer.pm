package Test::PhantomToken::Peer;

# A server that answers by script and remembers what it was asked: a process of its own, which ends with the
# test. Nothing in it depends on time: an answer can be held back until the test releases it, and the test can
# wait until a request has arrived.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM SOMAXCONN);

use Test::Nginx::Ports qw(port);
use Test::Nginx::Timeout qw($TIMEOUT);
use Test::PhantomToken::Peer::Channel;
use Test::PhantomToken::Peer::Daemon;

# start($t, 8081): listens when it returns. A class beneath says what scripts go by, key(request), and what
# is answered where there is none, default(request).
sub start {
    my ($class, $t, $port) = @_;

    my $listener = IO::Socket::INET->new(
        Proto => 'tcp', LocalAddr => '127.0.0.1', LocalPort => port($port), Listen => SOMAXCONN, ReuseAddr => 1,
    ) or croak "cannot listen on port $port: $!";

    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "cannot make a socket pair: $!";

    $t->run_daemon(sub {
        close $ours;
        Test::PhantomToken::Peer::Daemon->new(
            listener => $listener, control => $theirs,
            key => sub { $class->key(@_) }, default => sub { $class->default(@_) },
        )->run();
    });

    close $theirs;
    return bless { control => $ours, channel => Test::PhantomToken::Peer::Channel->new($ours) }, $class;
}

# script($key => answer, ...): the first request gets the first answer, and so on; the last one stays. See
# Test::PhantomToken::Peer::Answer.
sub script {
    my ($self, $key, @answers) = @_;
    $self->_ask('script', $key, \@answers);
    return $self;
}

# How many requests arrived: with that key, or at all.
sub count {
    my ($self, $key) = @_;
    return $self->_ask('count', $key);
}

# The requests in the order of arrival: { method, uri, version, headers, body, head, number, connection, key }.
sub requests {
    my ($self, $key) = @_;
    return @{ $self->_ask('requests', $key) };
}

sub last_request {
    my ($self, $key) = @_;
    return ($self->requests($key))[-1];
}

# Returns when so many requests with that key have arrived.
sub wait_for {
    my ($self, $key, $count) = @_;
    $self->_ask('wait', $key, $count // 1);
    return $self;
}

# Lets answers go on that a script holds back; returns how many.
sub release {
    my ($self, $key) = @_;
    return $self->_ask('release', $key);
}

# How many connections are open.
sub connections {
    my ($self) = @_;
    return $self->_ask('connections');
}

# How many answers are not sent yet, or not wholly.
sub busy {
    my ($self) = @_;
    return $self->_ask('busy');
}

# The values of a request's header lines of that name.
sub header {
    my ($self, $request, $name) = @_;
    my @values = map { $_->[1] } grep { lc $_->[0] eq lc $name } @{ $request->{headers} };
    return wantarray ? @values : @values ? join(', ', @values) : undef;
}

sub _ask {
    my ($self, @command) = @_;

    $self->{channel}->send(\@command);
    IO::Select->new($self->{control})->can_read($TIMEOUT)
        or croak "nothing happened within $TIMEOUT s: $command[0] " . ($command[2] // '');
    return $self->{channel}->receive() // croak 'the peer is gone';
}

1;
