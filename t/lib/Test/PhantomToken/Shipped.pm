package Test::PhantomToken::Shipped;

# The files of nginx-conf/, laid out for NGINX as its README.md says, with what an operator replaces replaced; and the
# certificates of the authorization server that they ask.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Find qw(find);
use File::Path qw(make_path);
use FindBin;

our @EXPORT_OK = qw(shipped_files shipped_text ship certificates);

my $DIRECTORY = "$FindBin::Bin/../nginx-conf";

my $SECRET = 's3cr&t of the gateway';

# The configuration files, as paths beneath nginx-conf/.
sub shipped_files {
    my @files;
    find({ no_chdir => 1, wanted => sub { push @files, s{^\Q$DIRECTORY\E/}{}r if /\.conf$/ } }, $DIRECTORY);
    my @sorted = sort @files;
    return @sorted;
}

sub shipped_text {
    my ($name) = @_;
    open my $file, '<:raw', "$DIRECTORY/$name" or croak "nginx-conf/$name: $!";
    local $/;
    return scalar <$file>;
}

# ship($t, 'text' => 'what it is replaced by', ...): copies all of them to phantom-token/ beside nginx.conf, and
# writes the client's secret. A text that none of them has is an error.
sub ship {
    my ($t, %replacements) = @_;

    my %unused = %replacements;

    for my $name (shipped_files()) {
        my $text = shipped_text($name);

        for my $from (keys %replacements) {
            delete $unused{$from} if $text =~ s/\Q$from\E/$replacements{$from}/g;
        }

        make_path(dirname($t->testdir() . "/phantom-token/$name"));
        $t->write_file("phantom-token/$name", $text);
    }

    croak 'not in nginx-conf: ' . join ', ', sort keys %unused if %unused;
    $t->write_file('introspection.secret', "$SECRET\n");
    $t->secrets($SECRET);
    return;
}

# certificates($t, 'ca.crt', name => 'DNS name', ...): one authority in ca.crt, and a certificate by it for each
# name in name.crt and name.key.
sub certificates {
    my ($t, $bundle, %names) = @_;

    require IO::Socket::SSL::Utils;
    my ($ca, $ca_key) = IO::Socket::SSL::Utils::CERT_create(subject => { commonName => $bundle }, CA => 1);
    $t->write_file($bundle, IO::Socket::SSL::Utils::PEM_cert2string($ca));

    for my $file (keys %names) {
        my ($certificate, $key) = IO::Socket::SSL::Utils::CERT_create(
            subject => { commonName => $names{$file} }, subjectAltNames => [[DNS => $names{$file}]],
            issuer => [$ca, $ca_key], purpose => 'server',
        );
        $t->write_file("$file.crt", IO::Socket::SSL::Utils::PEM_cert2string($certificate));
        $t->write_file("$file.key", IO::Socket::SSL::Utils::PEM_key2string($key));
    }

    return;
}

1;
