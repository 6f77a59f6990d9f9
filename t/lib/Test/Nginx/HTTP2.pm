package Test::Nginx::HTTP2;

# An HTTP/2 client: curl, without TLS and without an upgrade.

use strict;
use warnings;

use Exporter qw(import);
use File::Temp qw(tempdir);
use POSIX ();

use Test::Nginx::Connection;
use Test::Nginx::Ports qw(port);
use Test::Nginx::Response;

our @EXPORT_OK = qw(h2_available h2_requests h2_start h2_abort);

my @CURL = qw(curl --silent --http2-prior-knowledge --max-time 10);

sub h2_available {
    my $version = `curl --version 2>/dev/null`;
    return $version =~ /^Features:.*\bHTTP2\b/m;
}

# h2_requests({ method, uri, headers => [...], body, port }, ...): one request after the other, on one connection
# if the server leaves it open. Each result: { response => Test::Nginx::Response, reused => boolean }.
sub h2_requests {
    my (@requests) = @_;

    my $directory = tempdir(CLEANUP => 1);
    my @arguments;

    for my $i (0 .. $#requests) {
        push @arguments, '--next' if $i;
        push @arguments, @CURL[1 .. $#CURL], _arguments($requests[$i], "$directory/$i"),
            '--dump-header', "$directory/$i.head", '--output', "$directory/$i.body",
            '--write-out', '%{num_connects}\n';
    }

    open my $output, '-|', $CURL[0], @arguments or die "cannot run curl: $!";
    chomp(my @connects = <$output>);
    close $output;

    return map {
        {
            response => _response("$directory/$_"),
            reused => defined $connects[$_] && $connects[$_] eq '0',
        }
    } 0 .. $#requests;
}

# So many requests at once as streams of one connection. Returns a handle for h2_abort().
sub h2_start {
    my ($count, $request) = @_;

    my $pid = fork() // die "cannot fork: $!";

    if ($pid == 0) {
        open STDOUT, '>', '/dev/null';
        exec @CURL, '--parallel', _arguments($request, undef, $count) or POSIX::_exit(127);
    }

    return $pid;
}

# Ends the client at once, with all its streams.
sub h2_abort {
    my ($pid) = @_;
    kill KILL => $pid;
    waitpid $pid, 0;
    return;
}

sub _arguments {
    my ($request, $name, $count) = @_;

    my @arguments = ('--request', $request->{method} // 'GET');
    @arguments = ('--head') if ($request->{method} // '') eq 'HEAD';

    my @headers = @{ $request->{headers} // [] };
    while (my ($header, $value) = splice @headers, 0, 2) {
        push @arguments, '--header', "$header: $value";
    }

    if (defined $request->{body}) {
        _write("$name.request", $request->{body});
        push @arguments, '--data-binary', "\@$name.request";
    }

    my $url = 'http://127.0.0.1:' . port($request->{port} // 8080) . $request->{uri};
    return (@arguments, ($url) x ($count // 1));
}

sub _response {
    my ($name) = @_;

    my ($head, $body) = map { _read("$name.$_") } qw(head body);
    push @Test::Nginx::Connection::received, $head . $body;

    # The last head is that of the final response.
    $head = (split /\r\n\r\n/, $head)[-1] // '';
    $head =~ s{^HTTP/2 }{HTTP/1.1 };
    return Test::Nginx::Response->new(head => $head, body => $body, complete => 1);
}

sub _write {
    my ($path, $content) = @_;
    open my $file, '>:raw', $path or die "cannot write $path: $!";
    print {$file} $content;
    close $file;
    return;
}

sub _read {
    my ($path) = @_;
    open my $file, '<:raw', $path or return '';
    local $/;
    return scalar <$file> // '';
}

1;
