package Test::PhantomToken::Workers;

# Connections to the workers of NGINX, each of which stays with one.

use strict;
use warnings;

use Exporter qw(import);

use Test::Nginx;

our @EXPORT_OK = qw(to_workers);

# to_workers('/free', 2, 1): as many connections to one worker, and to another one, as lists. The location says in
# the header Worker which one has answered, and needs no token.
sub to_workers {
    my ($uri, @counts) = @_;
    my (%found, @chosen);

    for (1 .. 10_000) {
        my $connection = http_connection();
        my $worker = $connection->request('GET', $uri)->response()->header('Worker');
        push @chosen, $worker unless $found{$worker};
        my ($place) = grep { $chosen[$_] eq $worker } 0 .. $#chosen;
        if (@{ $found{$worker} // [] } < ($counts[$place] // 0)) { push @{ $found{$worker} }, $connection } else { $connection->close() }
        last if @chosen == @counts && !grep { @{ $found{ $chosen[$_] } } < $counts[$_] } 0 .. $#counts;
    }

    return map { $found{$_} // [] } @chosen;
}

1;
