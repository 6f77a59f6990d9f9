package Test::PhantomToken::Peer::Daemon;

# The process behind Test::PhantomToken::Peer: an event loop over its connections and the control channel.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Select;
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_LINGER TCP_NODELAY);

use Test::PhantomToken::Peer::Answer;
use Test::PhantomToken::Peer::Channel;
use Test::PhantomToken::Peer::Request;

# new(listener => socket, control => socket, key => sub { request -> key of its script }, default => sub {
# request -> answer for what no script names })
sub new {
    my ($class, %args) = @_;

    $args{listener}->blocking(0);

    return bless {
        %args, channel => Test::PhantomToken::Peer::Channel->new($args{control}),
        connections => {}, scripts => {}, requests => [], count => {}, waiting => [],
    }, $class;
}

# Until the test that holds the other end of the control channel is gone.
sub run {
    my ($self) = @_;

    local $SIG{PIPE} = 'IGNORE';
    $self->{readers} = IO::Select->new($self->{listener}, $self->{control});

    while (1) {
        my $writers = IO::Select->new(map { $_->{socket} } grep { _can_go_on($_) } values %{ $self->{connections} });
        my ($readable, $writable) = IO::Select->select($self->{readers}, $writers, undef);

        for my $socket (@{ $readable // [] }) {
            if ($socket == $self->{listener}) {
                $self->_accept();
            } elsif ($socket == $self->{control}) {
                my $command = $self->{channel}->receive() or return;
                $self->_command(@$command);
            } else {
                $self->_read($self->{connections}{$socket});
            }
        }

        for my $socket (@{ $writable // [] }) {
            my $connection = $self->{connections}{$socket} or next;
            $self->_write($connection);
        }
    }
}

# Commands of the test. Each gets exactly one reply, maybe later.

sub _command {
    my ($self, $command, @args) = @_;
    my $method = "command_$command";
    return $self->$method(@args);
}

sub _reply {
    my ($self, $value) = @_;
    return $self->{channel}->send($value);
}

sub command_script {
    my ($self, $key, $answers) = @_;
    $self->{scripts}{$key} = [@$answers];
    return $self->_reply(1);
}

sub command_count {
    my ($self, $key) = @_;
    return $self->_reply(defined $key ? $self->{count}{$key} // 0 : scalar @{ $self->{requests} });
}

sub command_requests {
    my ($self, $key) = @_;
    return $self->_reply([grep { !defined $key || $_->{key} eq $key } @{ $self->{requests} }]);
}

sub command_connections {
    my ($self) = @_;
    return $self->_reply(scalar keys %{ $self->{connections} });
}

sub command_busy {
    my ($self) = @_;
    return $self->_reply(scalar grep { @{ $_->{steps} } } values %{ $self->{connections} });
}

# Replies when so many requests with that key have arrived.
sub command_wait {
    my ($self, $key, $count) = @_;
    push @{ $self->{waiting} }, [$key, $count];
    return $self->_notify();
}

sub _notify {
    my ($self) = @_;

    my @still;

    for my $wait (@{ $self->{waiting} }) {
        my ($key, $count) = @$wait;
        ($self->{count}{$key} // 0) >= $count ? $self->_reply(1) : push @still, $wait;
    }

    $self->{waiting} = \@still;
    return;
}

# Lets the answers go on that are held back for that key; says how many.
sub command_release {
    my ($self, $key) = @_;

    my $released = 0;

    for my $connection (values %{ $self->{connections} }) {
        my $steps = $connection->{steps};
        next unless @$steps && $steps->[0][0] eq 'hold' && $connection->{key} eq $key;
        shift @$steps;
        $released++;
    }

    return $self->_reply($released);
}

# Connections.

sub _accept {
    my ($self) = @_;

    while (my $socket = $self->{listener}->accept()) {
        $socket->blocking(0);
        setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
        $self->{readers}->add($socket);
        $self->{connections}{$socket} = {
            socket => $socket, id => ++$self->{last_id}, parser => Test::PhantomToken::Peer::Request->new(),
            steps => [], key => '',
        };
    }

    return;
}

sub _read {
    my ($self, $connection) = @_;

    my $n = sysread $connection->{socket}, my $bytes, 65_536;
    return if !defined $n && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
    return $self->_drop($connection) unless $n;

    $connection->{parser}->feed($bytes);
    return $self->_drop($connection) unless $connection->{upgraded} || $connection->{parser}->is_http();
    return $self->_serve($connection);
}

# Takes up the next request once the answer before it is sent.
sub _serve {
    my ($self, $connection) = @_;

    return if @{ $connection->{steps} };

    if ($connection->{upgraded}) {
        my $bytes = $connection->{parser}->rest();
        push @{ $connection->{steps} }, ['write', $bytes] if length $bytes;
        return;
    }

    my $request = $connection->{parser}->next_request() or return;

    $request->{connection} = $connection->{id};
    $request->{number} = push @{ $self->{requests} }, $request;
    $request->{key} = $connection->{key} = $self->{key}->($request);
    $self->{count}{ $request->{key} }++;

    my $script = $self->{scripts}{ $request->{key} };
    my $answer = !$script ? $self->{default}->($request) : @$script > 1 ? shift @$script : $script->[0];

    $connection->{upgraded} = 1 if ($answer->{status} // 0) == 101;
    $connection->{steps} = [Test::PhantomToken::Peer::Answer::steps($answer, $request)];
    return $self->_notify();
}

sub _can_go_on {
    my ($connection) = @_;
    my $steps = $connection->{steps};
    return @$steps && $steps->[0][0] ne 'hold';
}

# One step, or one segment of it.
sub _write {
    my ($self, $connection) = @_;

    my $step = $connection->{steps}[0];
    my $socket = $connection->{socket};

    return $self->_drop($connection) if $step->[0] eq 'close';

    if ($step->[0] eq 'reset') {
        setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
        return $self->_drop($connection);
    }

    my $size = $step->[2] // length $step->[1];
    my $n = syswrite $socket, $step->[1], $size;

    if (!defined $n) {
        return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
        return $self->_drop($connection);
    }

    return if $step->[0] eq 'endless';

    substr $step->[1], 0, $n, '';
    shift @{ $connection->{steps} } if $step->[1] eq '';
    return $self->_serve($connection);
}

sub _drop {
    my ($self, $connection) = @_;

    $self->{readers}->remove($connection->{socket});
    delete $self->{connections}{ $connection->{socket} };
    close $connection->{socket};
    return;
}

1;
