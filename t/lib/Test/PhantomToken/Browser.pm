package Test::PhantomToken::Browser;

# What a page of some origin may send to another one, and what it sees of the response: CORS by the Fetch standard.

use strict;
use warnings;

use Exporter qw(import);

use Test::Nginx;

our @EXPORT = qw(fetch);

# fetch() of a page, mode "cors", by the Fetch standard: fetch($origin, GET => '/', headers => {...}, body => ...). Gives
# what the page sees: nothing (undef) where the browser reports a failed network; else status, body and the headers that
# it may read.
sub fetch {
    my ($origin, $method, $uri, %args) = @_;

    my %headers = (%{ $args{headers} // {} });
    my @unsafe = sort map { lc } grep { lc ne 'accept' && lc ne 'accept-language' } keys %headers;
    my $simple = $method =~ /^(?:GET|HEAD|POST)$/ && !@unsafe;
    return undef unless $simple || preflight($origin, $method, $uri, @unsafe);

    my $response = http_request($method, $uri, headers => [Origin => $origin, %headers], body => $args{body});
    return undef unless shared($response, $origin);

    my $exposed = $response->header('Access-Control-Expose-Headers') // '';
    my %readable = map { lc $_ => 1 } 'Content-Type', 'Content-Length', 'Cache-Control', split /, */, $exposed;
    my %seen = map { lc $_->[0] => $_->[1] } grep { $readable{ lc $_->[0] } } @{ $response->{headers} };
    return { status => $response->status(), body => $response->body(), headers => \%seen };
}

# CORS-preflight fetch: whether the request may be sent. It carries no credentials.
sub preflight {
    my ($origin, $method, $uri, @names) = @_;

    my @asked = @names ? ('Access-Control-Request-Headers' => join ',', @names) : ();
    my $response = http_request(OPTIONS => $uri, headers => [
        Accept => '*/*', 'Access-Control-Request-Method' => $method, @asked, Origin => $origin,
    ]);
    return 0 unless $response->status() =~ /^2/ && shared($response, $origin);

    my @methods = split /, */, $response->header('Access-Control-Allow-Methods') // '';
    my %allowed = map { lc $_ => 1 } split /, */, $response->header('Access-Control-Allow-Headers') // '';
    return 0 unless $method =~ /^(?:GET|HEAD|POST)$/ || grep { $_ eq $method || $_ eq '*' } @methods;
    return 0 if grep { !$allowed{$_} && !($allowed{'*'} && $_ ne 'authorization') } @names;
    return ($response->header('Access-Control-Max-Age') // 5) =~ /^\d+$/;
}

# CORS check: exactly one line, which is the origin or *.
sub shared {
    my ($response, $origin) = @_;
    my @lines = $response->header_lines('Access-Control-Allow-Origin');
    return @lines == 1 && ($lines[0] eq $origin || $lines[0] eq '*');
}

1;
