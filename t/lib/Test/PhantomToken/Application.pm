package Test::PhantomToken::Application;

# An application that NGINX speaks to in FastCGI, uwsgi or SCGI, where a request is a list of variables: a process
# of its own, which hands each request to the test before it answers. One connection at a time, one request each.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM SOMAXCONN);

use Test::Nginx::Ports qw(port);
use Test::Nginx::Timeout qw($TIMEOUT);
use Test::PhantomToken::Peer::Channel;

# start($t, 8083): listens when it returns. A class beneath reads a request from a socket, read_request(socket),
# as { variables => [[name, value], ...], body => bytes }, nothing if the connection ends before; and frames a
# response, response(bytes). start($t, 8083, bytes): that response, in the form of CGI.
sub start {
    my ($class, $t, $port, $response) = @_;

    $response //= "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nserved\n";

    my $listener = IO::Socket::INET->new(
        Proto => 'tcp', LocalAddr => '127.0.0.1', LocalPort => port($port), Listen => SOMAXCONN, ReuseAddr => 1,
    ) or croak "cannot listen on port $port: $!";

    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "cannot make a socket pair: $!";

    $t->run_daemon(sub {
        close $ours;
        $class->_serve($listener, Test::PhantomToken::Peer::Channel->new($theirs), $response);
    });

    close $theirs;
    return bless { socket => $ours, channel => Test::PhantomToken::Peer::Channel->new($ours) }, $class;
}

# The next request that arrived.
sub request {
    my ($self) = @_;

    IO::Select->new($self->{socket})->can_read($TIMEOUT) or croak "no request within $TIMEOUT s";
    return $self->{channel}->receive() // croak 'the application is gone';
}

# Whether no request arrived that was not taken by request().
sub idle {
    my ($self) = @_;
    return !IO::Select->new($self->{socket})->can_read(0);
}

# The values of a request's variables of that name.
sub variable {
    my ($self, $request, $name) = @_;
    return join ', ', map { $_->[1] } grep { $_->[0] eq $name } @{ $request->{variables} };
}

sub _serve {
    my ($class, $listener, $channel, $response) = @_;

    local $SIG{PIPE} = 'IGNORE';

    while (my $socket = $listener->accept()) {
        my $request = $class->read_request($socket) or next;
        $channel->send($request);
        $socket->print($class->response($response));
        close $socket;
    }

    return;
}

# Exactly that many bytes; undef if the connection ends before.
sub read_bytes {
    my ($class, $socket, $count) = @_;

    my $bytes = '';

    while (length $bytes < $count) {
        $socket->read($bytes, $count - length $bytes, length $bytes) or return undef;
    }

    return $bytes;
}

1;
