#!/usr/bin/perl

# Client ids, secrets and form fields with every byte that a configuration or a file can hold: they reach the
# authorization server as RFC 6749 section 2.3.1 and appendix B say, and decode to what they were.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use MIME::Base64 qw(decode_base64);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

# All that a configuration can hold; a file can hold NUL as well.
my @bytes = map { chr } 1 .. 255;
my $all = join '', @bytes;

# What stands in a file, and what is the secret then: one newline at the end is cut, in either spelling.
my %files = (
    'plain' => ['s3cret', 's3cret'], 'newline' => ["s3cret\n", 's3cret'], 'CR LF' => ["s3cret\r\n", 's3cret'],
    'two newlines' => ["s3cret\n\n", "s3cret\n"], 'CR' => ["s3cret\r", "s3cret\r"],
    'a newline before it' => ["\ns3cret", "\ns3cret"], 'spaces' => [" s3 cret \n", ' s3 cret '],
    'every byte' => ["\0$all\n", "\0$all"], '4096 bytes' => ['+' x 4_096, '+' x 4_096], 'NUL' => ["\0\n", "\0"],
    'not UTF-8' => ["\xff\xfe\n", "\xff\xfe"], 'file=' => ["file=x\n", 'file=x'],
);

# What stands in the configuration: id and secret.
my @pairs = (
    (map { ["i$_", "$_$_"] } @bytes),
    [$all, $all], [' ', ' '], ['a:b', 'c:d'], ['%3A', '%25'], ['+', '%2B'], ["\xc3\xa9", "\xe2\x82\xac"],
    ['a' x 200, ':' x 1_000],
);

my @fields = ((map { ["n$_", "v$_"] } @bytes), [$all, $all], ['a&b=c', 'd&e=f'], ['empty', ''], ['%41', '%41']);

# An argument of a directive, in quotes: NGINX knows escapes for what would end it, and takes all else as it is.
sub quoted {
    my ($text) = @_;
    my %escapes = ("\t" => '\t', "\r" => '\r', "\n" => '\n', '"' => '\"', '\\' => '\\\\');
    return '"' . $text =~ s/([\t\r\n"\\])/$escapes{$1}/gr . '"';
}

# As a value with variables, where a dollar sign can only come out of one.
sub complex {
    my ($text) = @_;
    return quoted($text =~ s/\$/\${dollar}/gr);
}

my $t = Test::Nginx->new()->has(qw(http proxy));
my $locations = '';

for my $i (0 .. $#pairs) {
    my ($id, $secret) = map { quoted($_) } @{ $pairs[$i] };
    $locations .= "location /pair/$i/ { phantom_token_client_credential $id $secret;"
        . " proxy_pass http://127.0.0.1:8082; }\n";
}

my @files = sort keys %files;

for my $i (0 .. $#files) {
    $t->write_file("secret $i", $files{ $files[$i] }[0]);
    $locations .= "location /file/$i/ { phantom_token_client_credential \"the id\" \"file=secret $i\";"
        . " proxy_pass http://127.0.0.1:8082; }\n";
}

for my $i (0 .. $#fields) {
    my ($name, $value) = (quoted($fields[$i][0]), complex($fields[$i][1]));
    $locations .= "location /field/$i/ { phantom_token_introspection_parameter $name $value;"
        . " proxy_pass http://127.0.0.1:8082; }\n";
}

$t->write_file_expand('nginx.conf', <<'CONF' =~ s/%%LOCATIONS%%/$locations/r);
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    geo $dollar { default '$'; }

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;

    server {
        listen 127.0.0.1:8080;

        %%LOCATIONS%%
        location /argument { phantom_token_introspection_parameter value $arg_v; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

$t->secrets($all, '+' x 4_096);

my $as = authorization_server($t);
my $api = api($t);

$t->plan(3 * @pairs + 2 * @files + 3 * @fields + 3);
$t->run();

sub question {
    my ($uri) = @_;
    my $token = token();
    $as->script($token, $as->inactive_answer());
    call($uri, $token);
    return ($as->last_request($token), $token);
}

# Form encoding, written down a second time.
sub encoded {
    my ($text) = @_;
    return $text =~ s/([^A-Za-z0-9*._ -])/sprintf '%%%02X', ord $1/ger =~ tr/ /+/r;
}

sub decoded {
    my ($text) = @_;
    return $text =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger;
}

sub name {
    my ($text) = @_;
    return substr $text =~ s/([^!-~])/sprintf '\\x%02x', ord $1/ger, 0, 40;
}

# What follows "Basic ", decoded from base64.
sub basic {
    my ($question) = @_;
    my ($base64) = ($as->header($question, 'Authorization') // '') =~ m{^Basic ([A-Za-z0-9+/]+={0,2})$};
    return decode_base64($base64 // '');
}

for my $i (0 .. $#pairs) {
    my ($id, $secret) = @{ $pairs[$i] };
    my $name = name("$id $secret");
    my $basic = basic((question("/pair/$i/"))[0]);

    is($basic, encoded($id) . ':' . encoded($secret), "$name: as RFC 6749 says");

    # As the server reads it: what is before the first colon, and behind it.
    my @parts = split /:/, $basic, 2;
    ok(decoded($parts[0]) eq $id, "$name: the id");
    ok(decoded($parts[1]) eq $secret, "$name: the secret");
}

for my $i (0 .. $#files) {
    my $secret = $files{ $files[$i] }[1];
    my $basic = basic((question("/file/$i/"))[0]);

    is($basic, 'the+id:' . encoded($secret), "file, $files[$i]: as RFC 6749 says");
    ok(decoded($basic =~ s/^[^:]*://r) eq $secret, "file, $files[$i]: the secret");
}

for my $i (0 .. $#fields) {
    my ($field, $value) = @{ $fields[$i] };
    my $name = name("$field $value");
    my ($question, $token) = question("/field/$i/");

    is($question->{body}, "token=$token&" . encoded($field) . '=' . encoded($value), "$name: form-encoded");
    is($as->header($question, 'Content-Length'), length $question->{body}, "$name: its length");
    is_deeply([$as->form($question->{body})], [['token', $token], [$field, $value]], "$name: as the server reads it");
}

# What the client has a say in.

my ($question, $token) = question('/argument?v=a&token=forged');
is($question->{body}, "token=$token&value=a", 'an argument ends where it ends');
($question, $token) = question('/argument?v=%26token%3Dforged');
is($question->{body}, "token=$token&value=%2526token%253Dforged", 'an argument is encoded as it stands');
is_deeply([$as->form($question->{body})], [['token', $token], ['value', '%26token%3Dforged']],
    'and there is one token');
