package Test::Nginx::Pools;

# How much the workers hold for clients in memory pools, read from the debug log, where NGINX says when each block of a
# pool begins, and for which connection, and when it goes. A request that is never freed shows as blocks that stay.

use strict;
use warnings;

use Carp qw(croak);

use Test::Nginx::Wait qw(eventually);

# new($t), where $t->has_module('debug').
sub new {
    my ($class, $t) = @_;
    return bless { t => $t, offset => 0, blocks => {} }, $class;
}

# How many blocks the workers that now run hold for clients: none while there is no request.
sub count {
    my ($self) = @_;

    $self->_replay();
    my $count = 0;
    $count += keys %{ $self->{blocks}{$_} // {} } for $self->{t}->workers();
    return $count;
}

# The count once it is none, or what it still is when that does not come about.
sub left {
    my ($self) = @_;
    eventually(sub { $self->count() == 0 });
    return $self->count();
}

# Takes up what was logged since.
sub _replay {
    my ($self) = @_;

    my $path = $self->{t}->testdir() . '/error.log';
    open my $log, '<:raw', $path or croak "cannot read $path: $!";
    seek $log, $self->{offset}, 0;

    while (my $line = <$log>) {
        last if $line !~ /\n\z/;
        $self->{offset} += length $line;
        my ($pid, $client, $what, $address)
            = $line =~ /\[debug\] (\d+)#\d+: (\*\d+ )?(posix_memalign|free): ([0-9A-F]+)/ or next;

        if ($what eq 'free') {
            delete $self->{blocks}{$pid}{$address};
        } elsif ($client) {
            $self->{blocks}{$pid}{$address} = 1;
        }
    }

    return;
}

1;
