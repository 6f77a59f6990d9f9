package Test::PhantomToken::AuthorizationServer;

# The introspection endpoint (RFC 7662): scripts go by token. A token without a script is inactive.

use strict;
use warnings;

use parent 'Test::PhantomToken::Peer';

use JSON::PP;

my $json = JSON::PP->new->canonical;

# application/x-www-form-urlencoded, decoded: ([name, value], ...) in order.
sub form {
    my ($class, $body) = @_;
    return map { [map { _decode($_) } split /=/, $_, 2] } split /&/, $body;
}

sub _decode {
    my ($text) = @_;
    $text =~ tr/+/ /;
    $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
    return $text;
}

sub key {
    my ($class, $request) = @_;
    my ($token) = map { $_->[1] } grep { $_->[0] eq 'token' } $class->form($request->{body});
    return $token // '';
}

sub default { return { status => 204 } }

# How often a token was asked about; without one, how many questions there were.
sub questions {
    my ($self, $token) = @_;
    return $self->count($token);
}

sub wait_for_question {
    my ($self, $token, $count) = @_;
    return $self->wait_for($token, $count);
}

# Answers, with further fields of Test::PhantomToken::Peer::Answer.

# The JWT as the body.
sub jwt_answer {
    my ($self, $jwt, %fields) = @_;
    return { type => 'application/jwt', body => $jwt, %fields };
}

# JSON: a hash, or text as it stands.
sub json_answer {
    my ($self, $members, %fields) = @_;
    my $body = ref $members ? $json->encode($members) : $members;
    return { type => 'application/json', body => $body, %fields };
}

sub inactive_answer {
    my ($self, %fields) = @_;
    return $self->json_answer({ active => JSON::PP::false }, %fields);
}

1;
