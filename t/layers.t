#!/usr/bin/perl

# Imports run one way: no circle between the files of a crate, and nothing of NGINX in the core.

use strict;
use warnings;

use Test::More tests => 7;

BEGIN { use FindBin; chdir "$FindBin::Bin/.."; }

# imports($directory): file => { files of the same crate that it imports }. A file is named by its first
# component: what lies in a folder belongs to the file of that name.
sub imports {
    my ($directory) = @_;
    my %imports;

    for my $path (glob "$directory/*.rs $directory/*/*.rs") {
        next if $path =~ m{/tests\.rs$};
        my ($file) = $path =~ m{^\Q$directory\E/(\w+)};
        my $text = source($path);
        $text =~ s/#\[cfg\(test\)\]\s*mod tests \{.*//s;
        my @names = $text =~ /\bcrate::(\w+)/g;
        push @names, map { /(\w+)(?:::|$)/ } map { split /,\s*/ } $text =~ /use crate::\{([^;]*)\};/g;
        $imports{$file}{$_} = 1 for grep { $_ ne $file && $_ !~ /^(?:self|super)$/ } @names;
        $imports{$file} //= {};
    }

    for my $names (values %imports) {
        delete @{$names}{ grep { !$imports{$_} } keys %$names };
    }
    return %imports;
}

sub source {
    my ($path) = @_;
    open my $handle, '<', $path or die "$path: $!\n";
    local $/;
    return scalar <$handle>;
}

# Takes away, again and again, what imports nothing that is left: what then remains goes in circles.
sub circles {
    my (%left) = @_;

    while (my @lowest = grep { !%{ $left{$_} } } keys %left) {
        delete @left{@lowest};
        delete @{$_}{@lowest} for values %left;
    }
    return join ' ', sort keys %left;
}

is(circles(a => { b => 1 }, b => { c => 1 }, c => { a => 1 }, d => { a => 1 }), 'a b c d', 'a circle is found');
is(circles(a => { b => 1 }, b => { c => 1 }, c => {}), '', 'a chain is none');

my %edge = imports('src');
cmp_ok(scalar(keys %edge), '>', 15, 'the files of the edge are read');
ok($edge{access}{question} && $edge{question}{answer}, 'and what they import');
is(circles(%edge), '', 'no circle in the edge');
is(circles(imports('core/src')), '', 'no circle in the core');

my @see_nginx = grep { source($_) =~ /\b(?:nginx_sys|ngx::|ngx_\w+_t\b)/ } glob 'core/src/*.rs core/src/*/*.rs core/Cargo.toml';
is("@see_nginx", '', 'the core cannot see NGINX');
