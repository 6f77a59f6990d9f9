package Test::Nginx::HTTP;

# The client's side in one call: whole responses as text, or as Test::Nginx::Response.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Test::More ();

use Test::Nginx::Connection;

our @EXPORT = qw(
    http http_get http_head http_post http_start http_end http_request http_connection log_in log_out
);

sub log_out { return _log('>>', @_) }
sub log_in { return _log('<<', @_) }

sub _log {
    my ($mark, $text) = @_;
    return unless $ENV{TEST_NGINX_VERBOSE};
    Test::More::note("$mark $_") for split /\r?\n/, $text;
    return;
}

# A connection of its own: see Test::Nginx::Connection.
sub http_connection { return Test::Nginx::Connection->new(@_) }

# Raw request in, raw response out, read until the server closes. Options: port, ssl.
sub http {
    my ($request, %args) = @_;
    return http_end(http_start($request, %args));
}

sub http_start {
    my ($request, %args) = @_;
    log_out($request);
    return http_connection(%args)->send($request);
}

sub http_end {
    my ($connection) = @_;
    my $text = $connection->read_all();
    log_in($text);
    return $text;
}

sub http_get {
    my ($uri, %args) = @_;
    return http("GET $uri HTTP/1.0\r\nHost: localhost\r\n\r\n", %args);
}

sub http_head {
    my ($uri, %args) = @_;
    return http("HEAD $uri HTTP/1.0\r\nHost: localhost\r\n\r\n", %args);
}

sub http_post {
    my ($uri, $body, %args) = @_;
    my $length = length $body;
    return http("POST $uri HTTP/1.0\r\nHost: localhost\r\nContent-Length: $length\r\n\r\n$body", %args);
}

# http_request(GET => '/', headers => [...], body => ..., port => ...): one request on a connection of its
# own, its response as an object.
sub http_request {
    my ($method, $uri, %args) = @_;

    my $connection = http_connection(map { $_ => $args{$_} } grep { exists $args{$_} } qw(port ssl));
    my @headers = (@{ $args{headers} // [] }, Connection => 'close');
    my $text = Test::Nginx::Connection::format_request($method, $uri, %args, headers => \@headers);

    log_out($text);
    my $response = $connection->send($text)->response(method => $method);
    log_in($response->head() . "\n\n" . $response->body());
    $connection->close();
    return $response;
}

1;
