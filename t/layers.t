#!/usr/bin/perl

# Imports run one way: no circle between the files of a crate, a file and those in its folder included, and none
# between its parts either, where a folder counts as one with its file; and nothing of NGINX in the core.
#
# A file imports another one when a path in it leads to what that one defines. Comments, strings and tests do not count,
# nor does `mod`. What a file only hands on (`pub use child::Name`) is imported from where it is defined; to hand it on
# is to import it. Methods and fields are not seen: they have no path.

use strict;
use warnings;

use Test::More tests => 20;

BEGIN { use FindBin; chdir "$FindBin::Bin/.."; }

my $BRACES = qr/(\{(?:[^{}]++|(?-1))*+\})/;
my $PATH = qr/(?<![\w:])\w+(?:::\w+)+/;

sub source {
    my ($path) = @_;
    open my $handle, '<', $path or die "$path: $!\n";
    local $/;
    return scalar <$handle>;
}

# The sources of a crate: module, as in `conf::merge`, => text; '' is its root.
sub sources {
    my ($directory) = @_;
    my %sources;

    my @paths = map { glob "$directory/$_*.rs" } '', '*/', '*/*/', '*/*/*/';
    for my $path (grep { !m{/tests(?:\.rs$|/)} } @paths) {
        my $module = $path =~ s{^\Q$directory\E/(.*)\.rs$}{$1}r =~ s{/}{::}gr;
        $sources{ $module eq 'lib' ? '' : $module } = source($path);
    }
    return %sources;
}

# Takes away what is no code of the crate itself. Within `mod name { ... }` a path begins one step further in: what is
# `super` there is the file.
sub code {
    my ($text) = @_;

    $text =~ s{//[^\n]*|/\*.*?\*/|\br(#*)".*?"\1|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\[^']+)'}{ }gs;
    $text =~ s/#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*[^;{]*(?:;|$BRACES)//g;
    $text =~ s/\bmod\s+\w+\s*$BRACES/ $1 =~ s{\bsuper::}{self::}gr /ge;
    return $text;
}

# The paths in what stands between `use` and `;`: [path, name in this file], which is '*' for all names.
sub used {
    my ($tree) = @_;

    if ($tree =~ /^(.*?)\{(.*)\}$/s) {
        my ($prefix, $list) = ($1, $2);
        my @trees;
        push @trees, $1 while $list =~ /((?:[^,{}]++|$BRACES)+)/g;
        return map { used($prefix . $_) } @trees;
    }
    my ($path, $name) = $tree =~ /^\s*(.*?)(?:\s+as\s+(\w+))?$/;
    $path =~ s/::self$//;
    return [$path, $name // $path =~ s/.*:://r];
}

# imports(module => text, ...): module => { module => { what for => 1 } }.
sub imports {
    my (%text) = @_;
    my (%names, %paths);

    for my $module (keys %text) {
        my $code = code($text{$module}) =~ s/\s*::\s*/::/gr;
        my @used;
        push @used, used($1 =~ s/\s+/ /gr =~ s/\s*([{},])\s*/$1/gr) while $code =~ /\buse\s+([^;]*);/g;
        $code =~ s/\buse\s+[^;]*;//g;
        $names{$module} = { map { $_->[1] => $_->[0] } grep { $_->[1] ne '*' } @used };
        $paths{$module} = [(map { $_->[0] } @used), $code =~ /$PATH/g];
    }

    # Where a path of a module leads: the module that defines what it names, and whether it names any of what is in
    # there. Nothing where that is another crate.
    my $find;
    $find = sub {
        my ($module, $path) = @_;
        my @steps = split /::/, $path;

        my $at = $module;
        if ($steps[0] eq 'crate') {
            shift @steps;
            $at = '';
        }
        elsif ($steps[0] =~ /^(?:self|super)$/) {
            shift @steps if $steps[0] eq 'self';
            while (@steps && $steps[0] eq 'super') {
                shift @steps;
                $at =~ s/(?:^|::)\w+$//;
            }
        }
        elsif (!exists $text{ below($module, $steps[0]) }) {
            my $known = delete local $names{$module}{ $steps[0] } or return;
            return $find->($module, join('::', $known, @steps[1 .. $#steps]));
        }

        while (@steps) {
            my $below = below($at, $steps[0]);
            # A function may have the name of its file.
            if (exists $text{$below} && (@steps > 1 || !$names{$at}{ $steps[0] })) {
                $at = $below;
                shift @steps;
            }
            elsif (my $known = delete local $names{$at}{ $steps[0] }) {
                return $find->($at, join('::', $known, @steps[1 .. $#steps]));
            }
            else {
                return ($at, 1);
            }
        }
        return ($at, 0);
    };

    my %imports = map { $_ => {} } keys %text;
    for my $module (keys %text) {
        for my $path (@{ $paths{$module} }) {
            my ($found, $names_any) = $find->($module, $path);
            $imports{$module}{$found}{ $path =~ s/.*:://r } = 1 if $names_any && $found ne $module;
        }
    }
    return %imports;
}

sub below {
    my ($module, $name) = @_;
    return $module eq '' ? $name : "${module}::$name";
}

# The same between the parts of a crate: the files at its top, with what is in their folders.
sub parts {
    my (%imports) = @_;
    my %parts;

    for my $module (keys %imports) {
        my $part = $module =~ s/::.*//r;
        $parts{$part} //= {};
        $parts{$part}{ s/::.*//r } = 1 for keys %{ $imports{$module} };
        delete $parts{$part}{$part};
    }
    return %parts;
}

# Those that lead back to themselves: each circle, with all that is in it, and what is imported within it.
sub circles {
    my (%imports) = @_;
    my (%reach, %circle);

    for my $start (keys %imports) {
        my @next = ($start);
        while (defined(my $at = shift @next)) {
            push @next, grep { !$reach{$start}{$_}++ } keys %{ $imports{$at} };
        }
    }
    for my $module (grep { $reach{$_}{$_} } sort keys %imports) {
        my @circle = grep { $reach{$module}{$_} && $reach{$_}{$module} } sort keys %imports;
        $circle{"@circle"} = 1;
        for my $other (grep { $reach{$_}{$module} } sort keys %{ $imports{$module} }) {
            my $for = $imports{$module}{$other};
            note("$module imports $other: ", ref $for ? join(' ', sort keys %$for) : '');
        }
    }
    return join ', ', sort keys %circle;
}

is(circles(a => { b => 1 }, b => { c => 1 }, c => { a => 1 }, d => { a => 1 }), 'a b c', 'a circle is found');
is(circles(a => { b => 1 }, b => { c => 1 }, c => {}), '', 'a chain is none');

# Small crates: is there a circle of files in them?

sub crate { return circles(imports('' => '', @_)) }

is(crate(a => 'mod b; use b::B; pub struct A;', 'a::b' => 'use super::A; pub struct B;'), 'a a::b',
    'a file and one in its folder');
is(crate(a => 'mod b; fn a() { b::b() } pub struct A;', 'a::b' => 'fn b(a: &super::A) {}'), 'a a::b', 'without use');
is(crate(a => 'mod b; pub use b::B; pub struct A;', 'a::b' => 'pub struct B(crate::a::A);'), 'a a::b',
    'a file that hands on what needs it');
is(crate(a => 'mod b; mod c;', 'a::b' => 'use super::c::{d::{self}, C}; struct B;', 'a::c' => 'use super::b::B; struct C;'),
    'a::b a::c', 'two in a folder');
is(crate(a => 'use crate::b; fn a() { b::b() }', b => "use crate::{\n    a::A as Other,\n};"), 'a b',
    'by the name of a module, and by another name');
is(crate(a => 'mod b; pub use b::b;', 'a::b' => 'use crate::c::C; fn b() {}', c => 'struct C; fn c() { crate::a::b() }'),
    'a::b c', 'by the name of a function and its file');
is(crate(a => 'mod b; mod c; use c::C; fn a(_: b::B) {}', 'a::b' => 'use super::C; struct B;', 'a::c' => 'struct C;'),
    '', 'what a file hands on is not its own');
is(crate(a => 'mod b; pub struct A;', 'a::b' => 'use super::A;'), '', 'what only stands beneath its folder');
is(crate(a => 'mod b; pub use b::B;', 'a::b' => 'pub struct B;', c => 'use crate::a::B;'), '', 'or above it');
is(crate(a => 'mod b; fn a() { b::b() } struct A;',
    'a::b' => '// super::A
        fn b() -> &str { "super::A" } #[cfg(test)] mod tests { use super::super::A; } mod c { use super::D; }'),
    '', 'comments, strings, tests, and modules within a file');
is(circles(parts(imports('' => '', a => '', 'a::x' => 'use crate::b::y::Y;', 'a::z' => '', b => '',
    'b::y' => '', 'b::w' => 'use crate::a::z::Z;'))), 'a b', 'two folders');

my %edge = imports(sources('src'));
my %core = imports(sources('core/src'));
my %parts = parts(%edge);
cmp_ok(scalar(keys %parts), '>', 15, 'the files of the edge are read');
ok($parts{access}{question} && $edge{'question::subrequest'}{request}, 'and what they import');
is(circles(%edge), '', 'no circle in the edge');
is(circles(%parts), '', 'nor of its parts');
is(circles(%core), '', 'no circle in the core');
is(circles(parts(%core)), '', 'nor of its parts');

my @see_nginx = grep { source($_) =~ /\b(?:nginx_sys|ngx::|ngx_\w+_t\b)/ } glob 'core/src/*.rs core/src/*/*.rs core/Cargo.toml';
is("@see_nginx", '', 'the core cannot see NGINX');
