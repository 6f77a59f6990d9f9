package Test::PhantomToken;

# What the tests of the module share: the peers, tokens and JWTs, and calls with a token.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Time::HiRes qw(sleep time);

use Test::Nginx;
use Test::Nginx::Timeout qw($TIMEOUT);
use Test::PhantomToken::API;
use Test::PhantomToken::AuthorizationServer;
use Test::PhantomToken::JWT;

our @EXPORT = qw(authorization_server api token jwt call call_until sent);

unless (($ENV{TEST_NGINX_MODULE} // '') ne '' || ($ENV{TEST_NGINX_GLOBALS} // '') =~ /phantom_token_module/) {
    croak 'TEST_NGINX_MODULE is not set: run scripts/build, it prints the path';
}

# The authorization server that a configuration finds at 127.0.0.1:8081, unless another port is named.
sub authorization_server {
    my ($t, $port) = @_;
    return Test::PhantomToken::AuthorizationServer->start($t, $port // 8081);
}

# The API at 127.0.0.1:8082.
sub api {
    my ($t, $port) = @_;
    return Test::PhantomToken::API->start($t, $port // 8082);
}

# The names of these headers and of those that NGINX adds to each request that it sends, sorted: it has said
# `Connection: close` until 1.29.7.
sub sent {
    my ($t, @names) = @_;
    return join ' ', sort @names, $t->has_version('1.29.7') ? () : 'connection';
}

# A new opaque token, and a new JWT: neither may be in our log lines or in a response.

sub token {
    my $token = Test::PhantomToken::JWT::opaque_token();
    Test::Nginx->secrets($token);
    return $token;
}

sub jwt {
    my $jwt = Test::PhantomToken::JWT::jwt(@_);
    Test::Nginx->secrets($jwt);
    return $jwt;
}

# call('/api', $token, method => 'GET', headers => [...], ...): a request with that bearer token (none if
# undef), its response as Test::Nginx::Response.
sub call {
    my ($uri, $token, %args) = @_;

    my $method = delete $args{method} // 'GET';
    my @headers = (@{ delete $args{headers} // [] }, defined $token ? (Authorization => "Bearer $token") : ());
    return http_request($method, $uri, %args, headers => \@headers);
}

# Calls every twentieth of a second until the response fulfils a condition, for what only time brings about;
# returns the last response, which does not fulfil it if nothing has brought that about.
sub call_until {
    my ($condition, @call) = @_;

    my $deadline = time() + $TIMEOUT;

    while (1) {
        my $response = call(@call);
        return $response if $condition->($response) || time() > $deadline;
        sleep 0.05;
    }
}

1;
