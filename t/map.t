#!/usr/bin/perl

# What README.md says of the tests: each file and each module of the library is in its table, and what the map of the
# standards names is there.

use strict;
use warnings;

use Test::More tests => 9;

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

sub modules { return map { s{^lib/}{}r =~ s{/}{::}gr =~ s/\.pm$//r } map { glob "lib/Test/$_*.pm" } '', '*/', '*/*/' }

sub duplicates { my %seen; return grep { $seen{$_}++ == 1 } @_ }

sub names { return $_[0] =~ /`([^`]+\.(?:t|rs))`/g }

# The table of files.

my %listed;
$listed{$_}++ for map { names($_->[0]) } rows('Files');
my @tests = glob '*.t';

is(join(' ', grep { !$listed{$_} } @tests), '', 'each test is in the table');
is(join(' ', grep { !-e } sort keys %listed), '', 'each file of the table is there');
is(join(' ', grep { $listed{$_} > 1 } sort keys %listed), '', 'and is in it once');

# The table of the library. `X` and beneath: all of X.

my %described;
for my $row (rows('Library')) {
    my @names = $row->[0] =~ /`([\w:]+)`/g;
    push @names, map { my $above = $_; grep { /^\Q$above\E::/ } modules() } @names if $row->[0] =~ /and beneath/;
    $described{$_}++ for @names;
}

is(join(' ', grep { !$described{$_} } modules()), '', 'each module of the library is in its table');
is(join(' ', grep { my $name = $_; !grep { $_ eq $name } modules() } sort keys %described), '', 'and each of these is there');
is(join("\n", duplicates(map { $_->[0] } rows('What the standards ask, and the test that shows it'))), '',
    'no line of the map is there twice');

# The map.

my @map = rows('What the standards ask, and the test that shows it');
my %shown = map { $_ => 1 } map { names($_->[1]) } @map;

cmp_ok(scalar(@map), '>', 25, 'the map has its lines');
is(join("\n", map { $_->[0] } grep { !names($_->[1]) } @map), '', 'each of them names what shows it');
is(join(' ', grep { !-e (m{/} ? "../$_" : $_) } sort keys %shown), '', 'which is there');
