#!/usr/bin/perl

# JSON at its limits: what counts as active, members twice, depth, size, encodings, numbers and dates. The same for the
# payload of a JWT, as far as it says the same things.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use Digest::SHA qw(sha256_hex);
use MIME::Base64 qw(encode_base64url);

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $t = Test::Nginx->new()->has(qw(http proxy));

$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;

    server {
        listen 127.0.0.1:8080;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /raised { phantom_token_max_response 2m; proxy_pass http://127.0.0.1:8082; }
        location = /introspect {
            internal;
            proxy_http_version 1.1;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my $jwt = jwt(claims => { exp => undef });
my ($now, $later) = (time, time + 300);

# A JWT with a payload, or a header, that is written as it stands.
sub jwt_of {
    my ($payload, $header) = @_;
    my $made = join '.', map { encode_base64url($_) } $header // '{"alg":"RS256"}', $payload, 'signature ' . rand;
    $t->secrets($made);
    return $made;
}

# An answer whose members beside the JWT are written as they stand.
sub json {
    my ($members, %fields) = @_;
    return $as->json_answer(qq({$members,"jwt":"$jwt"}), %fields);
}

# Outcomes: slug, what the log says.
my @bad = ('server_bad_answer', qr/./);
my @syntax = ('server_bad_answer', qr/the server's answer is not valid JSON at line \d+, column \d+:/);
my @encoding = ('server_bad_answer', qr/the server's answer is not UTF-8:/);
my @twice = ('server_bad_answer', qr/has a member twice/);
my @no_active = ('server_bad_answer', qr/has no "active"/);
my @exp = ('server_bad_answer', qr/"exp" .*is not a number of seconds/);
my @too_large = ('server_bad_answer', qr/larger than "phantom_token_max_response"/);
my @header = ('server_bad_answer', qr/cannot be used: its header is not a JSON object/);
my @payload = ('server_bad_answer', qr/cannot be used: its payload is not a JSON object/);
my @inactive = ('inactive', qr/refused with 401/);
my @expired = ('expired', qr/refused with 401/);

# Name, answer, location, outcome; without one the JWT of the answer goes upstream.
my @cases;

sub accepted { my ($name, $answer, $uri) = @_; push @cases, [$name, $answer, $uri // '/']; return }
sub refused { my ($name, $answer, @outcome) = @_; push @cases, [$name, $answer, '/', @outcome]; return }

# Active is the boolean true, under that name, at that place.

accepted('active: true', json('"active":true'));
accepted('active: true, its name with escapes', json('"\u0061ctiv\u0065":true'));
refused("active: $_", json(qq("active":$_)), @inactive)
    for 'false', 'null', '0', '1', '-1', '1.0', '1e0', '""', '"true"', '"TRUE"', '"1"', '[]', '[true]', '{}',
        '{"active":true}';
refused("active: $_", json(qq("active":$_)), @syntax) for 'True', 'TRUE', 'tru', 'trueX', 'yes', "'true'", '';
refused("$_ is not active", json(qq("$_":true)), @no_active) for 'Active', 'ACTIVE', 'active ', "activ\xc3\xa9", '';
refused('active deeper down', json('"x":{"active":true}'), @no_active);
refused('active false, true deeper down', json('"active":false,"x":{"active":true}'), @inactive);
accepted('active true, false deeper down', json('"active":true,"x":{"active":false}'));
refused('inactive with nonsense beside it', json('"active":false,"exp":"soon"'), @inactive);

# A refresh token is none that may be used here.

refused("refresh token: $_", json(qq("active":true,$_)), @inactive)
    for '"token_type":"refresh_token"', '"token_type":"Refresh_Token"', '"token_type":"refresh\u005ftoken"',
        '"typ":"Refresh"', '"typ":"Offline"', '"typ":"refresh"', '"token_type":"Bearer","typ":"Refresh"';
refused("refresh token: $_ in the JWT", $as->jwt_answer(jwt_of(qq({$_}))), @inactive)
    for '"typ":"Refresh"', '"typ":"Offline"', '"token_type":"refresh_token"';
refused('refresh token: the JWT in JSON',
    $as->json_answer('{"active":true,"jwt":"' . jwt_of('{"typ":"Refresh"}') . '"}'), @inactive);
accepted("no refresh token: $_", json(qq("active":true,$_)))
    for '"token_type":"Bearer"', '"token_type":"bearer"', '"token_type":null', '"token_type":1', '"token_type":""',
        '"token_type":"access_token"', '"typ":"Bearer"', '"typ":["Refresh"]';

# Members that count may be there once, whatever they say; all others do not matter.

for my $name (qw(active exp cnf token_type typ)) {
    my $value = $name eq 'active' ? 'true' : 'null';
    my $active = $name eq 'active' ? '' : '"active":true,';
    my $escaped = $name =~ s/^(.)/sprintf '\u%04x', ord $1/er;

    refused("$name twice", json(qq($active"$name":$value,"x":1,"$name":$value)), @twice);
    refused("$name twice, once with escapes", json(qq($active"$name":$value,"$escaped":$value)), @twice);
    accepted("$name, once here, once deeper down", json(qq($active"$name":$value,"x":[{"$name":$value}])));
}

refused('the JWT twice', $as->json_answer(qq({"active":true,"jwt":"$jwt","jwt":"$jwt"})), @twice);
refused('the JWT and null', $as->json_answer(qq({"active":true,"jwt":null,"jwt":"$jwt"})), @twice);
accepted('members twice that do not count', json('"active":true,"sub":"a","sub":"b"'));

for my $name (qw(exp cnf active)) {
    refused("$name twice in a JWT", $as->jwt_answer(jwt_of(qq({"$name":null,"$name":null}))),
        'server_bad_answer', qr/cannot be used: its payload has a claim twice/);
}

refused("$_ twice in the header of a JWT", $as->jwt_answer(jwt_of('{}', qq({"alg":"a","$_":"a","$_":"a"}))), @header)
    for qw(alg typ);
refused('an error twice', $as->json_answer('{"error":"unsupported_token_type","error":"unsupported_token_type"}',
    status => 400), 'server_refused_us', qr/the server answered 400/);

# Depth.

sub nested {
    my ($depth, $open, $close) = @_;
    return $open x $depth . '1' . $close x $depth;
}

for my $kind (['[', ']'], ['{"a":', '}']) {
    my $name = $kind->[0];
    accepted("$name 100 levels deep", json('"active":true,"x":' . nested(100, @$kind)));
    refused("$name $_ levels deep", json('"active":true,"x":' . nested($_, @$kind)), @syntax) for 128, 1_000, 8_000;
    refused("$name 8000 levels deep in a JWT", $as->jwt_answer(jwt_of('{"x":' . nested(8_000, @$kind) . '}')),
        @payload);
    refused("$name 8000 levels deep, inactive", json('"active":false,"x":' . nested(8_000, @$kind)), @syntax);
}

refused('200,000 levels that never end', $as->json_answer('{"active":true,"x":' . '[' x 60_000), @syntax);

# A megabyte.

my $megabyte = 1_048_576;
my %large = (
    'a string' => '"x":"' . 'x' x $megabyte . '"',
    'a string of escapes' => '"x":"' . '\u00e9' x ($megabyte / 6) . '"',
    'an array' => '"x":[' . '1,' x ($megabyte / 2) . '1]',
    'many members' => join(',', map { qq("member $_":"$_") } 1 .. 40_000),
    'white space' => ' ' x $megabyte . '"x":1',
);

for my $name (sort keys %large) {
    my $answer = json(qq("active":true,$large{$name}));
    accepted("1 MB: $name before the JWT", $answer, '/raised');
    accepted("1 MB: $name behind the JWT", $as->json_answer(qq({"jwt":"$jwt","active":true,$large{$name}})), '/raised');
    refused("1 MB: $name, not raised", $answer, @too_large);
}

accepted('1 MB, chunked', json(qq("active":true,$large{'an array'}), chunked => 10_000), '/raised');
accepted('1 MB, close-delimited', json(qq("active":true,$large{'an array'}), close => 1), '/raised');
push @cases, ['2 MB, raised', json('"active":true,' . '"x":"' . 'x' x (2 * $megabyte) . '"'), '/raised', @too_large];
push @cases, ['1 MB deep, raised', json('"active":true,"x":' . nested($megabyte / 2, '[', ']')), '/raised', @syntax];

# Encodings.

accepted('UTF-8', json(qq("active":true,"sub":"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x91")));
accepted('UTF-8 in a name', json(qq("active":true,"\xf0\x9f\x94\x91":1)));
accepted('surrogates as escapes', json('"active":true,"sub":"\ud83d\udd11"'));
accepted('NUL as an escape', json('"active":true,"sub":"\u0000"'));
accepted('JSON of another charset by its type, but UTF-8', json('"active":true', type => 'application/json;charset=x'));

my %not_utf_8 = (
    'a lone byte' => "\xff", 'Latin-1' => "\xe9", 'a lone continuation' => "\x80", 'cut' => "\xe2\x82",
    'overlong' => "\xc0\xaf", 'a surrogate' => "\xed\xa0\x80", 'beyond Unicode' => "\xf4\x90\x80\x80",
);

for my $name (sort keys %not_utf_8) {
    refused("not UTF-8: $name", json(qq("active":true,"sub":"$not_utf_8{$name}")), @encoding);
    refused("not UTF-8 in a name: $name", json(qq("active":true,"$not_utf_8{$name}":1)), @encoding);
    refused("not UTF-8 in a JWT: $name", $as->jwt_answer(jwt_of(qq({"sub":"$not_utf_8{$name}"}))), @payload);
}

refused('not UTF-8, inactive', json(qq("active":false,"sub":"\xff")), @encoding);
refused('UTF-16', $as->json_answer(join '', map { "$_\0" } split //, qq({"active":true,"jwt":"$jwt"})), @syntax);
refused('a byte order mark', $as->json_answer(qq(\xef\xbb\xbf{"active":true,"jwt":"$jwt"})), @syntax);
refused("$_ in a string", json(qq("active":true,"sub":"$_")), @syntax) for "\0", "\n", "\t", "\x1f";
refused("the escape $_", json(qq("active":true,"sub":"$_")), @syntax)
    for '\ud83d', '\udd11', '\ud83d\u0041', '\u00g0', '\x41', '\\';
refused("$_ in the JWT", $as->json_answer(qq({"active":true,"jwt":"$jwt$_"})), @bad)
    for '\u0000', '\n', '\r\nX-A: b', '\u000d', ' ', '\u00e9';

# What is no JSON.

refused("no JSON: $_", $as->json_answer($_), @syntax)
    for '{', '}', '{"active":true', '{"active":true,}', '{active:true}', '{"active" true}', "{'active':true}",
        '{"active":true}{"active":true}', '{"active":true} // ok', '<html></html>', '"', 'nul';
refused("no object: $_", $as->json_answer($_), 'server_bad_answer', qr/JSON, but not an object/)
    for '[]', '[{"active":true}]', 'true', 'null', '1', '"active"';

# Numbers, where nobody asks for them and where they are a date.

accepted("the number $_", json(qq("active":true,"x":$_)))
    for '9007199254740993', '-9007199254740993', '18446744073709551616', '1e308', '-1E-400', '0.1', '1' x 300;
refused("the number $_", json(qq("active":true,"x":$_)), @syntax)
    for '1e309', '-1e999', '1' x 400, '01', '+1', '.5', '1.', '1e', '0x10', 'NaN', 'Infinity', '-', '1_000';

my %dates = (
    accepted => [
        $later, "$later.999", "\"$later\"", "\"000$later\"", $later / 10 . 'e1',
        # Milliseconds, the year 9999, beyond 2^53, 2^63 and 2^64, beyond a double's precision.
        $later * 1_000, '253402300799', '9007199254740993', '9223372036854775807', '9223372036854775808',
        '18446744073709551615', '18446744073709551616', '1e300', '"' . '9' x 30 . '"',
    ],
    expired => [
        $now, $now - 1, "$now.9", "\"$now\"", '0', '-0', '1', '1.5', '1e-300', '-1', '-0.5', '-1e300',
        '-9223372036854775809', '"0"',
    ],
    unreadable => [
        'true', 'false', '[]', "[$later]", '{}', '""', '" "', "\" $later\"", "\"$later \"", "\"+$later\"", '"-1"',
        "\"$later.5\"", '"1e10"', '"soon"', '"2999-12-31T23:59:59Z"', '"0x7fffffff"', "\"\xd9\xa1\"",
    ],
);

for my $date (@{ $dates{accepted} }) {
    accepted("exp: $date", json(qq("active":true,"exp":$date)));
    accepted("exp: $date in a JWT", $as->jwt_answer(jwt_of(qq({"exp":$date}))));
}

for my $date (@{ $dates{expired} }) {
    refused("exp: $date", json(qq("active":true,"exp":$date)), @expired);
    refused("exp: $date in a JWT", $as->jwt_answer(jwt_of(qq({"exp":$date}))), @expired);
}

for my $date (@{ $dates{unreadable} }) {
    refused("exp: $date", json(qq("active":true,"exp":$date)), @exp);
    refused("exp: $date in a JWT", $as->jwt_answer(jwt_of(qq({"exp":$date}))), @exp);
}

accepted('exp: null', json('"active":true,"exp":null'));
accepted('exp: null in a JWT', $as->jwt_answer(jwt_of('{"exp":null}')));

my $refused = grep { @$_ > 3 } @cases;
$t->plan(4 * $refused + 2 * (@cases - $refused) + 2 * @{ $dates{accepted} } + 4);
$t->run();

# Our line about that token among those that came since the last call: the log becomes long.
my $seen = 0;

sub line_about {
    my ($token) = @_;
    my $log = substr $t->read_file('error.log'), $seen;
    my $fingerprint = substr sha256_hex($token), 0, 8;
    $seen += length $log;
    return $log =~ /(phantom_token: .*, fingerprint $fingerprint\b)/ ? $1 : '';
}

for my $case (@cases) {
    my ($what, $answer, $uri, $slug, $text) = @$case;

    my $name = substr($what, 0, 60) =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger;
    my $token = token();
    $as->script($token, $answer);

    if (!$slug) {
        my $expected = $answer->{type} eq 'application/jwt' ? $answer->{body} : $jwt;
        my $response = call($uri, $token);
        is($response->status(), 200, "$name: accepted");
        ok($api->authorization($response) eq "Bearer $expected", "$name: the JWT upstream");

        # A time far away is a time: the verdict is kept.
        is(call($uri, $token)->header('Cache-Status'), 'HIT', "$name: kept") if $what =~ /^exp: (?!null)/;
        next;
    }

    my $before = $api->count();
    my $response = call($uri, $token);

    is($response->status(), $slug =~ /^server_/ ? 502 : 401, "$name: status");
    is($response->header('Slug'), $slug, "$name: slug");
    like(line_about($token), qr/phantom_token: $slug, .*$text/, "$name: the log");
    is($api->count(), $before, "$name: not upstream");
}

# A large answer is remembered like any other.

my $token = token();
$as->script($token, json(qq("active":true,"exp":$later,$large{'many members'})));
is(call('/raised', $token)->header('Cache-Status'), 'MISS', '1 MB, first');
my $response = call('/raised', $token);
is($response->header('Cache-Status'), 'HIT', '1 MB, second');
ok($api->authorization($response) eq "Bearer $jwt", '1 MB, second: the JWT upstream');
is($as->questions($token), 1, '1 MB: one question');
