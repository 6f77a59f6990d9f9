package Test::Nginx::Memory;

# The shared memory of a process, as Linux shows it.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Fcntl qw(SEEK_SET);

our @EXPORT_OK = qw(shared_memory find_shared read_memory write_memory);

# The shared mappings without a file, as NGINX makes one for each zone: { from => address, size => bytes,
# flags => { dd => 1, ... } }, the flags as proc(5) names them under VmFlags. None where they cannot be had.
sub shared_memory {
    my ($pid) = @_;

    no warnings "portable";
    open my $file, '<', "/proc/$pid/smaps" or return;
    my @mappings;

    while (<$file>) {
        if (my ($from, $to, $kind, $name) = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)/) {
            my $is_shared = $kind =~ /s$/ && $name =~ m{^/dev/zero};
            push @mappings, { from => hex $from, size => hex($to) - hex $from, is_shared => $is_shared };
        } elsif (/^VmFlags: (.*)/) {
            $mappings[-1]{flags} = { map { $_ => 1 } split ' ', $1 };
        }
    }

    return grep { $_->{is_shared} } @mappings;
}

# The address of these bytes in the shared mapping of that size; nothing where they are not, or cannot be read.
sub find_shared {
    my ($pid, $size, $bytes) = @_;
    my ($mapping) = grep { $_->{size} == $size } shared_memory($pid) or return;
    my $offset = index read_memory($pid, $mapping->{from}, $size) // '', $bytes;
    return $offset < 0 ? () : $mapping->{from} + $offset;
}

# Bytes of a process's memory; undef where that is not allowed.
sub read_memory {
    my ($pid, $from, $size) = @_;

    open my $file, '<:raw', "/proc/$pid/mem" or return undef;
    sysseek $file, $from, SEEK_SET or return undef;
    my ($memory, $offset) = ('', 0);

    while ($offset < $size) {
        my $got = sysread $file, $memory, $size - $offset, $offset or return undef;
        $offset += $got;
    }

    return $memory;
}

sub write_memory {
    my ($pid, $to, $bytes) = @_;

    open my $file, '+<:raw', "/proc/$pid/mem" or croak "cannot write to the memory of $pid: $!";
    sysseek $file, $to, SEEK_SET or croak "cannot reach the memory of $pid: $!";
    my $written = syswrite $file, $bytes;
    croak "cannot write to the memory of $pid: $!" if ($written // 0) != length $bytes;
    return;
}

1;
