package Test::Nginx::HTTP2;

# An HTTP/2 client connection (RFC 9113) without TLS, as far as tests need it.

use strict;
use warnings;

use Carp qw(croak);

use Test::Nginx::Connection;
use Test::Nginx::HPACK qw(decode_headers encode_headers);
use Test::Nginx::Response;

# Frame types, flags, settings.
my ($DATA, $HEADERS, $RST_STREAM, $SETTINGS, $PING, $GOAWAY, $WINDOW_UPDATE) = (0, 1, 3, 4, 6, 7, 8);
my ($END_STREAM, $ACK, $END_HEADERS, $PADDED, $PRIORITY) = (0x1, 0x1, 0x4, 0x8, 0x20);
my ($INITIAL_WINDOW_SIZE, $CANCEL) = (4, 8);

# The largest window, and the largest payload that every peer takes.
my ($LARGEST_WINDOW, $LARGEST_PAYLOAD) = (2**31 - 1, 16_384);

sub new {
    my ($class, %args) = @_;

    my $self = bless {
        connection => Test::Nginx::Connection->new(%args), next_stream => 1, window => 65_535,
        initial_window => 65_535, streams => {},
    }, $class;

    $self->{connection}->send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    $self->_send($SETTINGS, 0, 0, pack 'nN', $INITIAL_WINDOW_SIZE, $LARGEST_WINDOW);
    $self->_send($WINDOW_UPDATE, 0, 0, pack 'N', $LARGEST_WINDOW - 65_535);
    return $self;
}

# Sends a request and returns its stream: request(POST => '/', headers => [...], body => bytes, open => 1 if more
# of the body is to come with data()).
sub request {
    my ($self, $method, $uri, %args) = @_;

    my @headers = (':method' => $method, ':scheme' => 'http', ':path' => $uri,
        ':authority' => $args{host} // 'localhost', @{ $args{headers} // [] });

    my $stream = $self->{next_stream};
    $self->{next_stream} += 2;
    $self->{streams}{$stream} = { id => $stream, window => $self->{initial_window}, body => '' };

    my $ends = !defined $args{body} && !$args{open};
    $self->_send($HEADERS, $END_HEADERS | ($ends ? $END_STREAM : 0), $stream, encode_headers(@headers));
    $self->data($stream, $args{body}, !$args{open}) if defined $args{body};
    return $stream;
}

# Sends a part of a body, as far as the server lets us; stops where the stream has ended meanwhile.
sub data {
    my ($self, $number, $bytes, $last) = @_;

    my $stream = $self->{streams}{$number};

    until ($stream->{ended}) {
        my ($room) = sort { $a <=> $b } $LARGEST_PAYLOAD, $self->{window}, $stream->{window}, length $bytes;

        if ($room == 0 && length $bytes) {
            $self->_receive() or last;
            next;
        }

        my $payload = substr $bytes, 0, $room, '';
        $_ -= $room for $self->{window}, $stream->{window};
        $self->_send($DATA, $last && $bytes eq '' ? $END_STREAM : 0, $number, $payload);
        last if $bytes eq '';
    }

    return $self;
}

# Cancels a stream.
sub reset {
    my ($self, $stream) = @_;
    $self->_send($RST_STREAM, 0, $stream, pack 'N', $CANCEL);
    return $self;
}

# Allows more on a stream than there may be: a violation of flow control (RFC 9113 section 6.9.1), for which the server
# resets it.
sub violate {
    my ($self, $stream) = @_;
    $self->_send($WINDOW_UPDATE, 0, $stream, pack 'N', $LARGEST_WINDOW);
    return $self;
}

# The response on a stream, when it has ended, as Test::Nginx::Response.
sub response {
    my ($self, $number) = @_;

    my $stream = $self->{streams}{$number};

    while (!$stream->{ended}) {
        $self->_receive() or last;
    }

    return Test::Nginx::Response->new(
        head => $stream->{head} // 'HTTP/1.1 000', body => $stream->{body},
        complete => $stream->{ended} && !$stream->{reset},
    );
}

# Request and response.
sub call {
    my ($self, @request) = @_;
    return $self->response($self->request(@request));
}

# Returns when the server has taken up all frames sent before.
sub ping {
    my ($self) = @_;

    $self->{pinged} = 0;
    $self->_send($PING, 0, 0, 'whatever');

    while (!$self->{pinged}) {
        $self->_receive() or croak 'the connection ended';
    }

    return $self;
}

sub close { return $_[0]{connection}->close() }
sub abort { return $_[0]{connection}->abort() }

sub _send {
    my ($self, $type, $flags, $stream, $payload) = @_;
    my $length = substr pack('N', length $payload), 1;
    $self->{connection}->send($length . pack('CCN', $type, $flags, $stream) . $payload);
    return;
}

# Takes up one frame; false at the end of the connection.
sub _receive {
    my ($self) = @_;

    my $header = $self->{connection}->read_bytes(9);
    return 0 if length $header < 9;

    my ($length, $type, $flags, $number) = (unpack('N', "\0" . substr $header, 0, 3), unpack 'x3 C C N', $header);
    my $payload = $self->{connection}->read_bytes($length);
    my $stream = $self->{streams}{$number} // {};

    if ($type == $HEADERS) {
        croak 'padding and priorities are not read' if $flags & ($PADDED | $PRIORITY);
        $stream->{head} //= _head($payload);
    } elsif ($type == $DATA) {
        croak 'padding is not read' if $flags & $PADDED;
        $stream->{body} .= $payload;
    } elsif ($type == $SETTINGS) {
        $self->_settings($payload) unless $flags & $ACK;
    } elsif ($type == $WINDOW_UPDATE) {
        ($number ? $stream->{window} : $self->{window}) += unpack 'N', $payload;
    } elsif ($type == $PING) {
        $self->{pinged} = 1;
    } elsif ($type == $RST_STREAM) {
        $stream->{reset} = !$stream->{ended};
        $stream->{ended} = 1;
    } elsif ($type == $GOAWAY) {
        my $error = unpack 'x4 N', $payload;
        croak "GOAWAY, error $error" if $error;
    }

    $stream->{ended} = 1 if ($type == $HEADERS || $type == $DATA) && $flags & $END_STREAM;
    return 1;
}

sub _settings {
    my ($self, $payload) = @_;

    my %settings = map { unpack 'nN', $_ } unpack '(a6)*', $payload;

    if (defined(my $window = $settings{$INITIAL_WINDOW_SIZE})) {
        my $more = $window - $self->{initial_window};
        $self->{initial_window} = $window;
        $_->{window} += $more for values %{ $self->{streams} };
    }

    $self->_send($SETTINGS, $ACK, 0, '');
    return;
}

# Written as HTTP/1.1 has it.
sub _head {
    my ($status, @headers) = decode_headers(@_);
    croak 'no :status' unless $status && $status->[0] eq ':status';
    my $head = join "\r\n", "HTTP/1.1 $status->[1]", map { "$_->[0]: $_->[1]" } @headers;

    # The check for secrets cannot read the compressed bytes.
    push @Test::Nginx::Connection::received, $head;
    return $head;
}

1;
