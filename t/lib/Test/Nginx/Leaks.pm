package Test::Nginx::Leaks;

# Finds secrets, whole or in part, in text.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(leaks);

# A log line is cut at 2,048 bytes and a message may shorten what it shows: so parts count as well. Any run
# of twice this length out of a secret contains at least one of its parts.
my $PART = 16;

# Every secret of the list of which a part occurs in one of the texts, shown in a way that does not
# repeat it: [length, offset of the part, the text around it].
sub leaks {
    my ($secrets, @texts) = @_;

    my %origin;

    for my $secret (@$secrets) {
        for my $offset (_offsets($secret)) {
            $origin{ substr $secret, $offset, $PART } //= [length $secret, $offset];
        }
    }

    return () unless %origin;

    my $any = join '|', map { quotemeta } keys %origin;
    my @found;

    for my $text (@texts) {
        while ($text =~ /($any)/g) {
            my ($length, $offset) = @{ $origin{$1} };
            my $around = substr $text, 0, 120;
            push @found, "part of a secret of $length bytes, from byte $offset on, in: $around";
        }
    }

    return @found;
}

sub _offsets {
    my ($secret) = @_;

    # The protected header of a JWT says nothing, and is the same for all of them.
    my $first = $secret =~ /^(eyJ[\w-]*\.)[\w-]+\.[\w-]+$/ ? length $1 : 0;
    my $last = length($secret) - $PART;
    return $first if $last <= $first;

    my @offsets;
    for (my $offset = $first; $offset < $last; $offset += $PART) {
        push @offsets, $offset;
    }

    return (@offsets, $last);
}

1;
