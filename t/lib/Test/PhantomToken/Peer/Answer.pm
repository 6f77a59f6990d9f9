package Test::PhantomToken::Peer::Answer;

# Turns the description of an answer into the steps that send it.
#
# An answer is a hash of
#   status      200 unless given
#   headers     [name => value, ...]
#   type        Content-Type
#   body        bytes
#   chunked     1: Transfer-Encoding: chunked; a number above 1: chunks of that many bytes
#   close       close-delimited: no Content-Length, the connection ends the body
#   length      this is the Content-Length, whatever the body's is
#   gzip        body compressed, with Content-Encoding
#   segment     that many bytes per write
#   truncate    only that many bytes of the body are sent, then the connection is closed
#   reset       the connection is reset where the answer would begin; with truncate: where it is cut; with raw:
#               behind its bytes
#   hang_up     the connection is closed without a byte
#   hold        nothing is sent until release()
#   hold_after  that many bytes are sent, the rest after release()
#   endless     the body never ends: chunked, unless close or length says otherwise
#   raw         bytes sent instead of a response; the connection is closed after them

use strict;
use warnings;

use IO::Compress::Gzip qw(gzip $GzipError);

# The steps: [write => bytes, bytes per write], [hold], [close], [reset], [endless => bytes].
sub steps {
    my ($answer, $request) = @_;

    my @hold = $answer->{hold} ? ['hold'] : ();
    my $end = $answer->{reset} ? ['reset'] : ['close'];

    return (@hold, _writes($answer, $answer->{raw}), $end) if defined $answer->{raw};
    return (@hold, ['reset']) if $answer->{reset} && !defined $answer->{truncate};
    return (@hold, ['close']) if $answer->{hang_up};

    my ($bytes, $close) = _response($answer, $request);
    my @steps = (@hold, _writes($answer, $bytes));

    push @steps, ['endless', _is_chunked($answer) ? _chunks('x' x 1024) : 'x' x 1024] if $answer->{endless};
    push @steps, $end if $close;
    return @steps;
}

sub _writes {
    my ($answer, $bytes) = @_;

    my $segment = $answer->{segment};
    my $first = $answer->{hold_after} // return ['write', $bytes, $segment];
    return (['write', substr($bytes, 0, $first), $segment], ['hold'], ['write', substr($bytes, $first), $segment]);
}

# The bytes of the whole response, and whether the connection ends behind them.
sub _response {
    my ($answer, $request) = @_;

    my $status = $answer->{status} // 200;
    my $body = $answer->{body} // '';
    my @headers = @{ $answer->{headers} // [] };
    my $asked_to_close = grep { lc $_->[0] eq 'connection' && $_->[1] =~ /close/i } @{ $request->{headers} };
    my $close = $asked_to_close || $request->{version} ne 'HTTP/1.1';

    push @headers, 'Content-Type' => $answer->{type} if defined $answer->{type};

    if ($answer->{gzip}) {
        gzip(\$body, \my $compressed) or die $GzipError;
        $body = $compressed;
        push @headers, 'Content-Encoding' => 'gzip';
    }

    if (_is_chunked($answer)) {
        push @headers, 'Transfer-Encoding' => 'chunked';
        $body = _chunks($body, $answer->{chunked});
        $body .= "0\r\n\r\n" unless $answer->{endless};
    } elsif ($answer->{close}) {
        $close = 1;
    } elsif ($status >= 200 && $status != 204 && $status != 304) {
        push @headers, 'Content-Length' => $answer->{length} // length $body;
    }

    if (defined $answer->{truncate}) {
        $body = substr $body, 0, $answer->{truncate};
        $close = 1;
    }

    push @headers, Connection => 'close' if $close;
    $body = '' if $request->{method} eq 'HEAD';

    my $head = "HTTP/1.1 $status " . ($status < 400 ? 'OK' : 'Error') . "\r\n";

    while (my ($name, $value) = splice @headers, 0, 2) {
        $head .= "$name: $value\r\n";
    }

    return ("$head\r\n$body", $close);
}

sub _is_chunked {
    my ($answer) = @_;
    return $answer->{chunked} || $answer->{endless} && !$answer->{close} && !defined $answer->{length};
}

sub _chunks {
    my ($body, $size) = @_;

    return '' if $body eq '';
    $size = length $body if !$size || $size == 1;

    return join '', map { sprintf "%x\r\n%s\r\n", length, $_ } unpack "(a$size)*", $body;
}

1;
