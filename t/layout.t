#!/usr/bin/perl

# build/structures.rs, which the layout probe goes by, names all that the sources touch of NGINX's structures; and no
# source but nginx/bits.rs reads or writes a bit-field.

use strict;
use warnings;

use File::Basename qw(dirname);
use Test::More;

BEGIN { use FindBin; chdir "$FindBin::Bin/.."; }

# The bindings of the build that is tested.
my $build = dirname($ENV{TEST_NGINX_MODULE} // '') . '/cargo/release/build';
my ($bindings) = sort { -M $a <=> -M $b } glob "$build/nginx-sys-*/out/bindings.rs";
plan(skip_all => 'the module was not built by scripts/build') unless $bindings;
plan(tests => 6);

sub source {
    my ($path) = @_;
    open my $handle, '<', $path or die "$path: $!\n";
    local $/;
    return scalar <$handle>;
}

my $text = source($bindings);
my %alias = $text =~ /^pub type (ngx_\w+) = (ngx_\w+);/mg;
my (%fields, %bits);

while ($text =~ /^pub struct (ngx_\w+) \{\n(.*?)^\}/msg) {
    my ($name, $body) = ($1, $2);
    $fields{$name} = { map { $_ => 1 } $body =~ /^    pub ([a-z]\w*):/mg };
}

while ($text =~ /^impl (ngx_\w+) \{\n(.*?)^\}/msg) {
    $bits{$_} = 1 for $2 =~ /pub fn set_(\w+)\(&mut self/g;
}

sub resolved {
    my ($name) = @_;
    $name = $alias{$name} while exists $alias{$name};
    return $name;
}

# What is listed: structure => { field => 1 }; and of which of them every NGINX has.
my (%listed, %always);
my $structures = source('build/structures.rs');
my $sometimes = index $structures, 'const SOMETIMES';

while ($structures =~ /plain\(\s*"(\w+)",\s*&\[(.*?)\],?\s*\)|name: "(\w+)",.*?fields: &\[(.*?)\]/sg) {
    my ($name, $fields) = ($1 // $3, $2 // $4);
    $listed{ resolved($name) }{ $_ eq 'type' ? 'type_' : $_ } = 1 for $fields =~ /"(\w+)"/g;
    $listed{ resolved($name) } //= {};
    $always{ resolved($name) } = 1 if pos($structures) < $sometimes;
}

cmp_ok(scalar(keys %listed), '>', 40, 'the list is read');

my @sources = glob 'src/*.rs src/*/*.rs src/*/*/*.rs';
my %code = map { $_ => source($_) =~ s{//[^\n]*|"(?:[^"\\]|\\.)*"}{}gr } @sources;
my (%unlisted, %unused, @accessors);

for my $path (@sources) {
    my $code = $code{$path};

    for my $name ($code =~ /\b(ngx_\w+)\b/g) {
        my $structure = resolved($name);
        $unlisted{"$name in $path"} = 1 if $fields{$structure} && !$listed{$structure};
    }

    next if $path eq 'src/nginx/bits.rs';
    push @accessors, map { "$path: $_" } grep { $bits{ s/^set_//r } } $code =~ /\.(set_\w+)\(/g;
    # Behind a pointer of NGINX's: a getter, if it is no method of a pointer or of a slice.
    push @accessors, map { "$path: $_" } grep { $bits{$_} } $code =~ /\(\*[\w.()]+\)\.(?!read\b|write\b)(\w+)\(\)/g;
}

is(join(', ', sort keys %unlisted), '', 'every structure that is named is listed');
is("@accessors", '', "bindgen's accessors of bit-fields are not used");

# Fields that are reached through a raw pointer or a field of such.
my %known = map { $_ => 1 } map { keys %$_ } values %listed;
my %any = map { $_ => 1 } map { keys %$_ } values %fields;
my %missing;

for my $path (@sources) {
    my $code = $code{$path};

    while ($code =~ /\(\*[^()]*(?:\([^()]*\)[^()]*)*\)((?:\.\w+\b(?!\s*\())+)/g) {
        $missing{$_} = 1 for grep { $any{$_} && !$known{$_} } $1 =~ /(\w+)/g;
    }
}

# Of the module's own structures.
delete @missing{qw(linked link waiter request flight event timed_out nobody zone ticket look cleanup context)};
is(join(', ', sort keys %missing), '', 'every field that is reached is listed');

my %mentioned = map { $_ => 1 } map { /\b(\w+)\b/g } values %code;
# The crates ngx and nginx-sys touch these.
$mentioned{$_} = 1 for qw(log_level signature version);

for my $structure (sort keys %listed) {
    $unused{"$structure.$_"} = 1 for grep { !$mentioned{$_} } keys %{ $listed{$structure} };
}
is(join(', ', sort keys %unused), '', 'and nothing else');

my @unknown = grep { !$fields{$_} } sort keys %always;
is("@unknown", '', 'all that every NGINX is to have is a structure of this one');
