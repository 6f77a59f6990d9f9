package Test::PhantomToken::AuthorizationServer;

# The introspection endpoint (RFC 7662), and the token endpoint of an exchange (RFC 8693): scripts go by the token
# that is asked about or exchanged. A token without a script is inactive.

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
    my ($token) = map { $_->[1] } grep { $_->[0] =~ /^(?:subject_)?token$/ } $class->form($request->{body});
    return $token // '';
}

sub default {
    my ($class, $request) = @_;
    return { status => 204 } unless $request->{body} =~ /^grant_type=/;
    return $class->oauth_error('invalid_grant');
}

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

# A signed introspection answer (RFC 9701).
sub envelope_answer {
    my ($self, $envelope, %fields) = @_;
    return { type => 'application/token-introspection+jwt', body => $envelope, %fields };
}

# What a token exchange gives (RFC 8693 section 2.2.1): the JWT, with further members, or without some (undef).
sub exchange_answer {
    my ($self, $jwt, $members, %fields) = @_;

    my %members = (
        access_token => $jwt, issued_token_type => 'urn:ietf:params:oauth:token-type:jwt', token_type => 'Bearer',
        expires_in => 300, %{ $members // {} },
    );
    delete @members{ grep { !defined $members{$_} } keys %members };

    return $self->json_answer(\%members, headers => ['Cache-Control' => 'no-store'], %fields);
}

# A refusal of the token endpoint (RFC 6749 section 5.2).
sub oauth_error {
    my ($self, $error, %fields) = @_;
    return $self->json_answer({ error => $error }, status => 400, headers => ['Cache-Control' => 'no-store'], %fields);
}

1;
