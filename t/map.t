#!/usr/bin/perl

# What README.md says of the tests: each file is in its table, and what the map of the standards names is there.

use strict;
use warnings;

use Test::More tests => 6;

BEGIN { use FindBin; chdir $FindBin::Bin; }

my $readme = do {
    open my $file, '<', 'README.md' or die "README.md: $!\n";
    local $/;
    <$file>;
};

# The rows of the tables of a section, without those that head them: [cell, ...].
sub rows {
    my ($title) = @_;
    my ($section) = $readme =~ /^## \Q$title\E\n(.*?)(?=^## |\z)/ms or die "no section '$title'\n";
    my @lines = $section =~ /^\| (.*) \|$/mg;
    my @heads = $section =~ /^\| (.*) \|\n\|(?:-+\|)+$/mg;
    my %is_head = map { $_ => 1 } @heads;
    return map { [split / \| /] } grep { !$is_head{$_} } @lines;
}

sub names { return $_[0] =~ /`([^`]+\.(?:t|rs))`/g }

# The table of files.

my %listed;
$listed{$_}++ for map { names($_->[0]) } rows('Files');
my @tests = glob '*.t';

is(join(' ', grep { !$listed{$_} } @tests), '', 'each test is in the table');
is(join(' ', grep { !-e } sort keys %listed), '', 'each file of the table is there');
is(join(' ', grep { $listed{$_} > 1 } sort keys %listed), '', 'and is in it once');

# The map.

my @map = rows('What the standards ask, and the test that shows it');
my %shown = map { $_ => 1 } map { names($_->[1]) } @map;

cmp_ok(scalar(@map), '>', 25, 'the map has its lines');
is(join("\n", map { $_->[0] } grep { !names($_->[1]) } @map), '', 'each of them names what shows it');
is(join(' ', grep { !-e (m{/} ? "../$_" : $_) } sort keys %shown), '', 'which is there');
