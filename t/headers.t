#!/usr/bin/perl

# Headers are taken out of NGINX's list in place: wherever they stand, in whatever number, none of them goes
# upstream, and every other one does, once and in its place.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy))->plan(6);

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    underscores_in_headers on;
    large_client_header_buffers 8 16k;
    phantom_token_introspection_endpoint /introspect;

    server {
        listen 127.0.0.1:8080;

        location /asserted {
            phantom_token on;
            phantom_token_header X-Access-Token;
            proxy_pass http://127.0.0.1:8082;
        }
        location /carried {
            phantom_token on token=$http_x_access_token;
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
$t->run();

my ($token, $jwt) = (token(), jwt());
$as->script($token, $as->jwt_answer($jwt));

# What a pattern's letters stand for; the number makes each kept header unlike the others.
my %header = (
    a => sub { return [Authorization => "Bearer $token"] },
    k => sub { return ["X-Kept-$_[0]" => "value $_[0]"] },
    f => sub { return ['X-Access-Token' => 'forged'] },
    l => sub { return ['x-access-token' => 'forged'] },
    u => sub { return ['X_Access_Token' => 'forged'] },
);

# Sends the headers of a pattern; says what went wrong upstream, nothing if all is right.
sub wrong {
    my ($pattern) = @_;

    my $number = 0;
    my @headers = map { $header{$_}->($number++) } split //, $pattern;
    my $response = call('/asserted', undef, headers => [map { @$_ } @headers]);
    return "$pattern: status " . $response->status() if $response->status() ne '200';

    my $request = $api->last_request();
    my @got = map { "$_->[0]=$_->[1]" } grep { $_->[0] =~ /kept|access|authorization/i } @{ $request->{headers} };
    my @expected = map { "$_->[0]=$_->[1]" } grep { $_->[0] =~ /kept/i } @headers;
    return () if "@got" eq join ' ', @expected, "X-Access-Token=$jwt";
    return "$pattern: " . join(' ', map { /(\S*=\S{0,8})/ } @got);
}

sub patterns {
    my ($letters, $length) = @_;
    my @patterns = ('');
    @patterns = map { my $so_far = $_; map { "$so_far$_" } @$letters } @patterns for 1 .. $length;
    return @patterns;
}

my @short = map { my $length = $_; map { my $pattern = $_; map { substr($pattern, 0, $_) . 'a' . substr($pattern, $_) } 0 .. $length }
    patterns(['f', 'k'], $length) } 0 .. 4;
is(join("\n", map { wrong($_) } @short), '', 'every arrangement of up to four headers around the token');

is(join("\n", map { wrong($_) } qw(alku aulfk uukafl lfkuak)), '', 'in any case, and with an underscore');

# NGINX keeps 20 headers in a part of its list; Host and Connection are two of them.
my @long = map { my $around = $_; map { 'k' x ($around - 1) . $_ . 'k' x 3, 'k' x $around . $_ } qw(af fa ffa aff fkaf ffff.a) } 15 .. 20;
is(join("\n", map { wrong(tr/.//dr) } @long), '', 'where a part of the list ends');

srand 7662;
my @any = map { my $length = 1 + int rand 45; join '', map({ (qw(k f f l u))[rand 5] } 1 .. $length), 'a', map { (qw(k f))[rand 2] } 1 .. rand 45 } 1 .. 150;
is(join("\n", map { wrong($_) } @any), '', 'any arrangement');

my @all = map { 'f' x $_ . 'a' . 'f' x (45 - $_) } 0, 1, 17, 18, 19, 20, 21, 37, 38, 39, 45;
is(join("\n", map { wrong($_) } @all), '', 'nothing but forged ones');

my @carried;
for my $before (0, 1, 16 .. 20) {
    my @kept = map { @{ $header{k}->($_) } } 1 .. $before;
    my $response = call('/carried', undef, headers => [@kept, 'X-Access-Token' => $token]);
    push @carried, "$before: status " . $response->status() if $api->authorization($response) ne "Bearer $jwt";
    push @carried, "$before: still there" if defined $api->header($api->last_request(), 'X-Access-Token');
}
is("@carried", '', 'the header that carried the token');
