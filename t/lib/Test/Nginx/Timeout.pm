package Test::Nginx::Timeout;

# The longest that a test waits for an event on this machine, in seconds, before it takes it for a hang.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw($TIMEOUT);

# A tool that slows everything down (scripts/memcheck) sets the factor.
our $TIMEOUT = 10 * ($ENV{TEST_NGINX_TIMEOUT_SCALE} // 1);

1;
