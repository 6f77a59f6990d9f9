package Test::Nginx::Wait;

# Waits for what only time brings about.

use strict;
use warnings;

use Exporter qw(import);
use Time::HiRes qw(sleep time);

use Test::Nginx::Timeout qw($TIMEOUT);

our @EXPORT_OK = qw(eventually);

# Whether a condition holds, now or before the test takes it for a hang.
sub eventually {
    my ($condition) = @_;

    my $deadline = time() + $TIMEOUT;

    until ($condition->()) {
        return 0 if time() > $deadline;
        sleep 0.02;
    }

    return 1;
}

1;
