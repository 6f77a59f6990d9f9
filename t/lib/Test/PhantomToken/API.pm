package Test::PhantomToken::API;

# The upstream API: scripts go by path. Without a script it says which request this was, and what arrived as
# its body; never what its headers were, so that no response carries a JWT. Ask last_request() for them.

use strict;
use warnings;

use parent 'Test::PhantomToken::Peer';

use Digest::MD5 qw(md5_hex);

sub key {
    my ($class, $request) = @_;
    return $request->{uri} =~ s/\?.*//sr;
}

sub default {
    my ($class, $request) = @_;

    my $upgrade = $class->header($request, 'Upgrade');
    return { status => 101, headers => [Upgrade => $upgrade, Connection => 'upgrade'] } if defined $upgrade;

    my $text = sprintf "request %d\n%s %s\nbody %d %s\n", $request->{number}, $request->{method},
        $request->{uri}, length $request->{body}, md5_hex($request->{body});

    return { type => 'text/plain', headers => ['API-Request' => $request->{number}], body => $text };
}

# The Authorization line of a request: the last one, or that of a response.
sub authorization {
    my ($self, $response) = @_;

    my $number;

    if ($response) {
        $number = $response->header('API-Request');
        ($number) = $response->body() =~ /^request (\d+)$/m unless defined $number;
        return undef unless defined $number;
    }

    my @requests = $self->requests();
    my $request = defined $number ? $requests[$number - 1] : $requests[-1];
    return $request ? scalar $self->header($request, 'Authorization') : undef;
}

1;
