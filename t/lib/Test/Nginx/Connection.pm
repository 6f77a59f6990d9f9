package Test::Nginx::Connection;

# A client connection that a test drives itself: several requests, pipelining, raw bytes, aborts.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER SHUT_WR IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

use Test::Nginx::Ports qw(port);
use Test::Nginx::Response;
use Test::Nginx::Timeout qw($TIMEOUT);

# Everything that any connection of this process has read, for the check that no response leaks a secret.
our @received;

# new(port => 8080 [, ssl => { options of IO::Socket::SSL }]); the port is mapped as in nginx.conf.
sub new {
    my ($class, %args) = @_;

    my $port = port($args{port} // 8080);
    my $socket = IO::Socket::INET->new(
        Proto => 'tcp', PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => $TIMEOUT,
    ) or croak "cannot connect to 127.0.0.1:$port: $!";
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;

    if ($args{ssl}) {
        require IO::Socket::SSL;
        IO::Socket::SSL->start_SSL($socket, Timeout => $TIMEOUT, %{ $args{ssl} })
            or croak 'TLS handshake failed: ' . IO::Socket::SSL::errstr();
    }

    my $slot = push(@received, '') - 1;
    return bless { socket => $socket, buffer => '', slot => $slot }, $class;
}

sub socket { return $_[0]{socket} }

# Sends raw bytes.
sub send {
    my ($self, $bytes) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my $sent = 0;

    while ($sent < length $bytes) {
        my $n = syswrite $self->{socket}, $bytes, length($bytes) - $sent, $sent;
        croak "cannot send: $!" unless defined $n;
        $sent += $n;
    }

    return $self;
}

# Sends a request: request(GET => '/', headers => [name => value, ...], body => bytes, host => 'localhost',
# version => '1.1'). A body gets a Content-Length unless the headers say how it is framed.
sub request {
    my ($self, $method, $uri, %args) = @_;
    return $self->send(format_request($method, $uri, %args));
}

sub format_request {
    my ($method, $uri, %args) = @_;

    my $version = $args{version} // '1.1';
    my @headers = @{ $args{headers} // [] };
    my $text = "$method $uri HTTP/$version\r\nHost: " . ($args{host} // 'localhost') . "\r\n";
    my $framed;

    while (my ($name, $value) = splice @headers, 0, 2) {
        $framed = 1 if $name =~ /^(?:content-length|transfer-encoding)$/i;
        $text .= "$name: $value\r\n";
    }

    $text .= 'Content-Length: ' . length($args{body}) . "\r\n" if defined $args{body} && !$framed;
    return $text . "\r\n" . ($args{body} // '');
}

# Reads one response; (method => 'HEAD') if it answers one. Interim responses (1xx) are skipped, except 101.
sub response {
    my ($self, %args) = @_;

    my ($head, $status) = $self->_head() or return _response('', '', 0);

    return _response($head, '', 1)
        if uc($args{method} // '') eq 'HEAD' || $status =~ /^(?:101|204|304)$/;

    return $self->_chunked($head) if $head =~ /^Transfer-Encoding:[ \t]*chunked/mi;

    if (my ($length) = $head =~ /^Content-Length:[ \t]*(\d+)/mi) {
        my $body = $self->read_bytes($length);
        return _response($head, $body, length $body == $length);
    }

    return _response($head, $self->read_all(), 1);
}

# The next final response's head, without the empty line, and its status; nothing if the connection ends.
sub _head {
    my ($self) = @_;

    while (1) {
        $self->_fill_until(qr/\r\n\r\n/) or return;
        $self->{buffer} =~ s/^(.*?)\r\n\r\n//s;
        my $head = $1;
        my ($status) = $head =~ m{^HTTP/1\.[01] (\d{3})} or croak "not a response: $head";
        return ($head, $status) if $status >= 200 || $status == 101;
    }
}

sub _chunked {
    my ($self, $head) = @_;

    my $body = '';

    while ($self->_fill_until(qr/\r\n/)) {
        $self->{buffer} =~ s/^([0-9a-fA-F]+)[^\r\n]*\r\n// or croak 'bad chunk';
        my $chunk = $self->read_bytes(2 + hex $1);
        return _response($head, $body, 1) if $chunk eq "\r\n";
        $body .= substr $chunk, 0, -2;
    }

    return _response($head, $body, 0);
}

sub _response {
    my ($head, $body, $complete) = @_;
    return Test::Nginx::Response->new(head => $head, body => $body, complete => $complete);
}

# Reads exactly that many bytes, fewer only if the connection ends.
sub read_bytes {
    my ($self, $count) = @_;

    while (length $self->{buffer} < $count) {
        $self->_fill() or last;
    }

    return substr $self->{buffer}, 0, $count, '';
}

# Everything until the server closes.
sub read_all {
    my ($self) = @_;
    1 while $self->_fill();
    my $all = $self->{buffer};
    $self->{buffer} = '';
    return $all;
}

# Whether the server closes the connection without sending another byte.
sub at_end {
    my ($self) = @_;
    return length $self->{buffer} == 0 && !$self->_fill();
}

sub _fill_until {
    my ($self, $pattern) = @_;

    while ($self->{buffer} !~ $pattern) {
        $self->_fill() or return 0;
    }

    return 1;
}

# False at the end of the connection.
sub _fill {
    my ($self) = @_;

    my $socket = $self->{socket};
    my $pending = $socket->can('pending') && $socket->pending();

    unless ($pending || IO::Select->new($socket)->can_read($TIMEOUT)) {
        croak "no answer within $TIMEOUT s";
    }

    my $n = sysread $socket, my $bytes, 65_536;
    return 0 unless $n;

    $received[$self->{slot}] .= $bytes;
    $self->{buffer} .= $bytes;
    return 1;
}

# No more bytes from us; what the server sends can still be read.
sub finish {
    my ($self) = @_;
    shutdown $self->{socket}, SHUT_WR;
    return;
}

sub close {
    my ($self) = @_;
    CORE::close $self->{socket};
    return;
}

# Closes with a TCP reset, as a client that goes away does.
sub abort {
    my ($self) = @_;
    setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
    return $self->close();
}

1;
