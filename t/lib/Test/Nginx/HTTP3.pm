package Test::Nginx::HTTP3;

# An HTTP/3 client connection (RFC 9114). QUIC is spoken by t/http3/client.py, one process for all connections of a
# test; it starts with the first of them, so that no process that the test forks before holds its standard input.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IPC::Open2 qw(open2);
use JSON::PP;
use Test::More ();

use Test::Nginx;
use Test::Nginx::Connection;
use Test::Nginx::Ports qw(port);
use Test::Nginx::Response;
use Test::Nginx::Timeout qw($TIMEOUT);

# NGINX listens there: Test::Nginx::Ports locks a port by the UDP port of 127.0.0.1.
our $ADDRESS = '127.0.0.2';

# Megabytes over QUIC take a program in Python its time. The client gives up before we do.
my $CLIENT_TIMEOUT = 6 * $TIMEOUT;

my $ROOT = __FILE__ =~ s{[^/]+$}{../../../..}r;
my $PACKAGES = "$ROOT/target/tools/http3";

my $json = JSON::PP->new->ascii->canonical;
my ($pid, $input, $output, $certificate);

# The Test::Nginx of a file of so many tests over HTTP/3, with a certificate in its directory that new() trusts:
# prepare(10, features => [further ones of NGINX], missing => [what else is, if anything]). Without all of it the file is
# skipped, but on CI, where it has to be there.
sub prepare {
    my ($tests, %args) = @_;

    my $t = Test::Nginx->new()->has(qw(http proxy http_v3), @{ $args{features} // [] });
    for my $missing (grep { defined } missing(), @{ $args{missing} // [] }) {
        die "$missing\n" if $ENV{CI};
        Test::More::plan(skip_all => $missing);
    }
    $t->plan($tests);
    write_certificate($t);
    return $t;
}

# Why there is no client on this machine, and how to get it; undef if there is one.
sub missing {
    return 'no openssl: install it' unless system('openssl version >/dev/null 2>&1') == 0;
    return 'no python3: install Python 3.10 or later' unless system('python3 -c "" 2>/dev/null') == 0;
    local $ENV{PYTHONPATH} = _python_path();
    return undef if system('python3 -c "import aioquic.h3.connection" 2>/dev/null') == 0;
    return 'no aioquic: pip install --require-hashes -r t/http3/requirements.txt --target target/tools/http3';
}

# Writes localhost.crt and localhost.key, made for this run, to the directory of the test.
sub write_certificate {
    my ($t) = @_;

    my @files = map { $t->testdir() . "/localhost.$_" } qw(key crt);
    $certificate = $files[1];
    my @command = (qw(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1
        -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout), $files[0], '-out', $files[1]);
    my $pid = open2(my $output, my $input, 'sh', '-c', 'exec "$@" 2>&1', 'sh', @command);
    my $text = do { local $/; <$output> };
    waitpid $pid, 0;
    croak "openssl failed: $text" if $? != 0;
    return;
}

# new(port => 8443, name => of the certificate, ca => file, else that certificate, certificate => file and key => file
# of the client's): a connection whose handshake is done.
sub new {
    my ($class, %args) = @_;

    _start() unless $pid;

    my $slot = push(@Test::Nginx::Connection::received, '') - 1;
    my $connection = _ask(connect => address => $ADDRESS, port => 0 + port($args{port} // 8443),
        name => $args{name} // 'localhost', ca => $args{ca} // $certificate,
        certificate => $args{certificate}, key => $args{key});
    return bless { connection => $connection, slot => $slot, method => {} }, $class;
}

# Sends a request and returns its stream: request(POST => '/', headers => [...], body => bytes, open => 1 if more
# of the body is to come with data()).
sub request {
    my ($self, $method, $uri, %args) = @_;

    my @fields = ([':method', $method], [':scheme', 'https'], [':authority', $args{host} // 'localhost'],
        [':path', $uri]);
    my @headers = @{ $args{headers} // [] };

    while (my ($name, $value) = splice @headers, 0, 2) {
        push @fields, [lc $name, "$value"];
    }

    return $self->_command(
        request => headers => \@fields, body => $args{body}, last => $args{open} ? JSON::PP::false : JSON::PP::true,
    );
}

# Sends a part of a body, unless the server has said that it wants no more of it.
sub data {
    my ($self, $stream, $bytes, $last) = @_;
    $self->_command(data => stream => 0 + $stream, body => $bytes, last => $last ? JSON::PP::true : JSON::PP::false);
    return $self;
}

# Cancels a stream, as browsers do; reset($stream, 'send') or reset($stream, 'receive') only one direction of it.
sub reset {
    my ($self, $stream, $direction) = @_;

    my ($send, $receive) = map { !$direction || $direction eq $_ ? JSON::PP::true : JSON::PP::false } qw(send receive);
    $self->_command(reset => stream => 0 + $stream, send => $send, receive => $receive);
    return $self;
}

# Returns when the server has taken up all that was sent before.
sub ping {
    my ($self) = @_;
    $self->_command('ping');
    return $self;
}

# The response on a stream, when it has ended: Test::Nginx::Response.
sub response {
    my ($self, $stream) = @_;

    my $response = $self->_command(response => stream => 0 + $stream);
    my %pseudo = map { @$_ } grep { $_->[0] =~ /^:/ } @{ $response->{headers} };
    my $head = join "\n", 'HTTP/1.1 ' . ($pseudo{':status'} // '000'),
        map { "$_->[0]: $_->[1]" } grep { $_->[0] !~ /^:/ } @{ $response->{headers} };

    $Test::Nginx::Connection::received[$self->{slot}] .= "$head\n\n$response->{body}\n";
    return Test::Nginx::Response->new(head => $head, body => $response->{body}, complete => $response->{complete});
}

# Request and response.
sub call {
    my ($self, @request) = @_;
    return $self->response($self->request(@request));
}

# Closes the connection, whatever is in flight.
sub close {
    my ($self) = @_;
    $self->_command('close');
    return;
}

# Leaves the connection without telling the server.
sub vanish {
    my ($self) = @_;
    $self->_command('vanish');
    return;
}

sub _command {
    my ($self, $command, %args) = @_;
    return _ask($command => connection => $self->{connection}, %args);
}

sub _start {
    local $ENV{PYTHONPATH} = _python_path();
    $pid = open2($output, $input, 'python3', "$ROOT/t/http3/client.py", $CLIENT_TIMEOUT);
    return;
}

sub _python_path { return join ':', $PACKAGES, grep { length } $ENV{PYTHONPATH} // '' }

sub _ask {
    my ($command, %args) = @_;

    local $SIG{PIPE} = 'IGNORE';
    print {$input} $json->encode({ command => $command, %args }), "\n";
    $input->flush();

    IO::Select->new($output)->can_read($CLIENT_TIMEOUT + $TIMEOUT) or croak 'the HTTP/3 client does not reply';
    my $line = <$output> // croak 'the HTTP/3 client is gone';
    my $reply = $json->decode($line);
    croak "HTTP/3, $reply->{error}" if defined $reply->{error};
    return $reply->{value};
}

# Before Test::Nginx stops NGINX, which waits for its clients.
END {
    if ($pid) {
        local $?;
        CORE::close $input;
        waitpid $pid, 0;
    }
}

1;
