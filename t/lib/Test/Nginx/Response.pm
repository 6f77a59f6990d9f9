package Test::Nginx::Response;

# One HTTP/1.x response as a client read it.

use strict;
use warnings;

# new(head => bytes up to and without the empty line, body => decoded bytes, complete => boolean)
sub new {
    my ($class, %args) = @_;

    my ($status_line, @lines) = split /\r?\n/, $args{head};
    my @headers;

    for my $line (@lines) {
        my ($name, $value) = $line =~ /^([^:]+):[ \t]*(.*?)[ \t]*$/ or next;
        push @headers, [$name, $value];
    }

    my ($status) = $status_line =~ m{^HTTP/1\.[01] (\d{3})};

    return bless {
        status => $status, headers => \@headers, head => $args{head},
        body => $args{body}, complete => $args{complete},
    }, $class;
}

sub status { return $_[0]{status} }
sub head { return $_[0]{head} }
sub body { return $_[0]{body} }

# False where the connection ended before the response did.
sub complete { return $_[0]{complete} }

# The values of all lines of that name, joined as RFC 9110 section 5.3 allows; undef if there is none.
sub header {
    my ($self, $name) = @_;
    my @values = $self->header_lines($name);
    return @values ? join(', ', @values) : undef;
}

sub header_lines {
    my ($self, $name) = @_;
    return map { $_->[1] } grep { lc $_->[0] eq lc $name } @{ $self->{headers} };
}

1;
