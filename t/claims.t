#!/usr/bin/perl

# `phantom_token_forward claims`: the verdict lets a request pass, no Authorization goes upstream, and the claims are
# there as variables, whatever the answer was. So are those of a JWT that does go upstream.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use JSON::PP;

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;
use Test::PhantomToken::JWT;

my $t = Test::Nginx->new()->has(qw(http proxy map rewrite access auth_basic ssi));

$t->write_file('included.shtml', 'before <!--#include virtual="/inside" --> after');
$t->write_file_expand('nginx.conf', <<'CONF');
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%

    log_format claims '$uri $status $phantom_token_claim_sub [$phantom_token_claim_logged]';
    access_log %%TESTDIR%%/claims.log claims;

    map $phantom_token_claim_role $backend { default none; admin management; 'a b' two; }
    map $phantom_token_claim_sub $volatile_subject { volatile; default "<$phantom_token_claim_sub>"; }

    phantom_token on;
    phantom_token_forward claims;
    underscores_in_headers on;
    proxy_set_header X-Subject $phantom_token_claim_sub;
    proxy_set_header X-Claim $phantom_token_claim_value;
    proxy_set_header X-JWT $phantom_token_jwt;
    add_header Slug $phantom_token_error always;
    add_header Cache-Status $phantom_token_cache_status always;
    add_header Role $phantom_token_claim_role always;
    add_header Subject $phantom_token_claim_sub always;

    server {
        listen 127.0.0.1:8080;

        phantom_token_introspection_endpoint /introspect;

        location / { proxy_pass http://127.0.0.1:8082; }
        location /jwt { phantom_token_forward jwt; proxy_pass http://127.0.0.1:8082; }
        location /exchange {
            phantom_token_forward jwt;
            phantom_token_exchange /introspect;
            proxy_pass http://127.0.0.1:8082;
        }
        location /accept { phantom_token_accept application/jwt; proxy_pass http://127.0.0.1:8082; }
        location /binding_off { phantom_token_binding off; proxy_pass http://127.0.0.1:8082; }
        location /uncached { phantom_token_cache off; proxy_pass http://127.0.0.1:8082; }

        location /cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
        location /own { phantom_token on token=$http_x_opaque; proxy_pass http://127.0.0.1:8082; }
        location /header { phantom_token_header X-Access-Token; proxy_pass http://127.0.0.1:8082; }
        location /operator {
            proxy_set_header Authorization "Basic b3BlcmF0b3I6c2VjcmV0";
            proxy_set_header X-Seen $http_authorization;
            proxy_pass http://127.0.0.1:8082;
        }

        location /consumers {
            proxy_set_header X-Backend $backend;
            proxy_set_header X-Both "$phantom_token_claim_sub/$phantom_token_claim_role";
            proxy_pass http://127.0.0.1:8082;
        }
        location /names {
            proxy_set_header X-Camel $phantom_token_claim_clientId;
            proxy_set_header X-Lower $phantom_token_claim_clientid;
            proxy_set_header X-Upper $phantom_token_claim_UPPER;
            proxy_set_header X-Braces "${phantom_token_claim_sub}-";
            proxy_set_header X-Both-Cases $phantom_token_claim_both;
            proxy_set_header X-Escaped $phantom_token_claim_escaped;
            proxy_set_header X-Underscores $phantom_token_claim_a_b_1;
            proxy_set_header X-Dash $phantom_token_claim_a_dash;
            proxy_set_header X-Active $phantom_token_claim_active;
            proxy_pass http://127.0.0.1:8082;
        }
        location /often {
            proxy_set_header X-One $phantom_token_claim_value;
            proxy_set_header X-Two "$phantom_token_claim_value and $phantom_token_claim_value";
            add_header Value $phantom_token_claim_value always;
            proxy_pass http://127.0.0.1:8082;
        }
        location /logged { proxy_set_header X-Claim ""; proxy_pass http://127.0.0.1:8082; }

        location /early {
            set $before "$phantom_token_claim_sub$phantom_token_claim_value$volatile_subject";
            if ($phantom_token_claim_sub) { return 418; }
            add_header Cache-Status $phantom_token_cache_status always;
            add_header Before "[$before]" always;
            proxy_set_header X-Volatile $volatile_subject;
            proxy_set_header X-Subject $phantom_token_claim_sub;
            proxy_pass http://127.0.0.1:8082;
        }

        location /try_files { try_files /nothing @named; }
        location @named { proxy_pass http://127.0.0.1:8082; }
        location /to_jwt { error_page 502 = /jwt/redirected; proxy_pass http://127.0.0.1:8099; }
        location /from_jwt {
            phantom_token_forward jwt;
            phantom_token_header X-Access-Token;
            error_page 502 = /redirected;
            proxy_pass http://127.0.0.1:8099;
        }
        location /included { ssi on; default_type text/html; }
        location = /inside { phantom_token off; return 200 "[$phantom_token_claim_sub]"; }

        location /any {
            satisfy any;
            allow all;
            proxy_pass http://127.0.0.1:8082;
        }
        location /page { error_page 401 = @page; proxy_pass http://127.0.0.1:8082; }
        location @page { phantom_token off; proxy_pass http://127.0.0.1:8082; }

        location = /barrier { phantom_token off; return 204; }
        location = /introspect { internal; proxy_set_header X-Subject $phantom_token_claim_sub;
            proxy_pass http://127.0.0.1:8081; }
    }

    server {
        listen 127.0.0.1:8084;

        # The endpoint is in one location; a named one has other rules, and only the verdict of the first.
        location / {
            phantom_token_forward jwt;
            phantom_token_introspection_endpoint /introspect;
            try_files /nothing @claims;
        }
        location /reverse {
            phantom_token_introspection_endpoint /introspect;
            try_files /nothing @jwt;
        }
        location @jwt { phantom_token_forward jwt; proxy_pass http://127.0.0.1:8082; }
        location @claims { proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);

my $json = JSON::PP->new->canonical;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $exp = time + 300;

# An introspection answer with a claim "value", which is JSON text.
sub with_value { return qq({"active":true,"exp":$exp,"sub":"alice","value":$_[0]}) }

# A token that is answered so.
sub known {
    my (@answers) = @_;
    my $token = token();
    $as->script($token, @answers);
    return $token;
}

sub known_json { return known($as->json_answer(@_)) }

# A header of the last request that went upstream; undef: it was not there.
sub upstream {
    my ($name) = @_;
    return scalar $api->header($api->last_request(), $name);
}

# JSON text of a value, and what its variable is.
my @values = (
    ['"alice"', 'alice'],
    ['"a b"', 'a b'],
    ['""', undef],
    ['null', undef],
    ['true', 'true'],
    ['false', 'false'],
    ['0', '0'],
    ['9007199254740993', '9007199254740993'],
    ['18446744073709551616', '18446744073709551616'],
    ['-123456789012345678901234567890', '-123456789012345678901234567890'],
    ['1.10', '1.10'],
    ['0.1234567890123456789', '0.1234567890123456789'],
    ['1e3', '1e3'],
    ['-0.0E+2', '-0.0E+2'],
    ['[]', undef],
    ['["a"]', 'a'],
    ['["a", "b" ,"c"]', 'a b c'],
    ['["a",1,true]', 'a 1 true'],
    ['["a b","c"]', '["a b","c"]'],
    ['["c", "a b"]', '["c","a b"]'],
    ['["a",""]', '["a",""]'],
    ['["a",null]', '["a",null]'],
    ['["a",["b"]]', '["a",["b"]]'],
    ['[{"a":[1, 2]}]', '[{"a":[1,2]}]'],
    ['["a b","c\r\n"]', '["a b","c\r\n"]'],
    ['{"a":"\r\n\u0000"}', '{"a":"\r\n\u0000"}'],
    ['{}', '{}'],
    ["{\n  \"city\" : \"K\\u00f6ln\",\r\n\t\"zip\": [ \"5 0\" ]\n}", '{"city":"K\u00f6ln","zip":["5 0"]}'],
    ['"K\u00f6ln"', "K\xc3\xb6ln"],
    ["\"K\xc3\xb6ln\"", "K\xc3\xb6ln"],
    ['"\ud83d\ude00"', "\xf0\x9f\x98\x80"],
    ['"\"quoted\" \\\\ \/"', '"quoted" \\ /'],
    ['"%0d%0a$sub {x}"', '%0d%0a$sub {x}'],
    ['"' . 'x' x 3_000 . '"', 'x' x 3_000],
);

# Those that could end a header line, or be read in two ways: nothing is made of them.
my @control = (
    '"a\r\nX-Admin: 1"', '"a\nX-Admin: 1"', '"a\rX-Admin: 1"', '"\r\n\r\nGET /admin HTTP/1.1\r\n"', '"a\u0000b"',
    '"a\tb"', '"\u0001"', '"\u001f"', "\"\x7f\"", '"\u007f"', '"\u0085"', "\"\xc2\x85\"", '["a","b\r\nX-Admin:1"]',
    "{\"a\":\"\x7f\"}",
);

# Those that whoever reads a header sees without their ends.
my @blank = ('" a "', '" admin"', '"admin "', '" "', '"\u0020admin"');

# Other forms of the same answer. Each gives a token whose claims are these.
my %claims = (active => $true, sub => 'alice', role => 'admin', value => 'v', exp => $exp);
my %kinds = (
    'JSON' => sub { known_json(\%claims) },
    'flat JWT' => sub { known($as->jwt_answer(jwt(claims => \%claims, header => { typ => 'JWT' }))) },
    'access token' => sub { known($as->jwt_answer(jwt(claims => { %claims, active => undef }))) },
);

$t->plan(15 * keys(%kinds) + 2 * @values + 4 * (@control + @blank) + 192);
$t->run();

# Each kind of answer: miss and hit.

for my $kind (sort keys %kinds) {
    my $token = $kinds{$kind}->();

    for my $status (qw(MISS HIT)) {
        my $response = call('/consumers', $token);
        is($response->status(), 200, "$kind, $status: passes");
        is($response->header('Cache-Status'), $status, "$kind, $status: status");
        is(upstream('Authorization'), undef, "$kind, $status: no Authorization upstream");
        is(upstream('X-Backend'), 'management', "$kind, $status: in a map");
        is(upstream('X-Both'), 'alice/admin', "$kind, $status: two in one header");
        is($response->header('Role') . $response->header('Subject'), 'adminalice', "$kind, $status: in the response");
    }

    call('/', $token);
    is(upstream('X-JWT'), undef, "$kind: \$phantom_token_jwt is empty");
    is(upstream('X-Subject'), 'alice', "$kind: in another location");
    is($as->questions($token), 1, "$kind: one question");
}

my $token = known_json(\%claims);
call('/', $token);
is($as->header($as->last_request($token), 'Accept'), 'application/json', 'Accept is JSON');
is($as->header($as->last_request($token), 'X-Subject'), undef, 'the question knows no claims');
call('/accept', $token);
is($as->header($as->last_request($token), 'Accept'), 'application/jwt', 'unless something else is said');
$token = known($as->jwt_answer(jwt()));
call('/jwt', $token);
is($as->header($as->last_request($token), 'Accept'), 'application/jwt', 'who forwards a JWT again asks for one');

# Nothing of the client's Authorization.

$token = known_json(\%claims);

for my $case (
    ['lower case', authorization => "bearer $token"],
    ['upper case', AUTHORIZATION => "BEARER $token"],
    ['blanks', Authorization => "Bearer   $token  "],
) {
    my ($name, @header) = @$case;
    is(call('/', undef, headers => [@header])->status(), 200, "$name: passes");
    unlike($api->last_request()->{head}, qr/authorization|\Q$token/i, "$name: nothing upstream");
}

for my $other ('Bearer forged', 'Basic YTpi', 'DPoP forged', 'Digest username="a"') {
    call('/cookie', undef, headers => [Authorization => $other, Cookie => "a=b; session=$token"]);
    unlike($api->last_request()->{head}, qr/^authorization|\Q$token/im, "cookie, beside $other");
    is(upstream('X-Subject') . upstream('Cookie'), 'alicea=b', "cookie, beside $other: claims, other cookies");

    call('/own', undef, headers => [Authorization => $other, 'X-Opaque' => $token, 'X_Opaque' => 'forged']);
    unlike($api->last_request()->{head}, qr/^authorization|\Q$token\E|opaque/im, "header, beside $other");
    is(upstream('X-Subject'), 'alice', "header, beside $other: claims");
}

call('/header', $token, headers => ['X-Access-Token' => 'forged', 'x_access_token' => 'forged', 'X-Other' => 'kept']);
unlike($api->last_request()->{head}, qr/forged|authorization|\Q$token/i, 'phantom_token_header: nothing upstream');
is(upstream('X-Other'), 'kept', 'phantom_token_header: other headers stay');

call('/operator', $token);
is(upstream('Authorization'), 'Basic b3BlcmF0b3I6c2VjcmV0', 'Authorization of the operator');
is(upstream('X-Seen'), undef, '$http_authorization is empty');

call('/', $token, headers => ['X-Subject' => 'forged', 'X-Claim' => 'forged']);
is(upstream('X-Subject') . upstream('X-Claim'), 'alicev', 'the client cannot say who it is');
call('/', known_json({ active => $true, exp => $exp }), headers => ['X-Subject' => 'forged']);
is(upstream('X-Subject'), undef, 'nor where the claim is absent');

# Values.

for my $case (@values) {
    my ($value, $expected) = @$case;
    my $name = substr $value =~ s/[^ -~]/?/gr, 0, 60;
    is(call('/', known_json(with_value($value)))->status(), 200, "$name: passes");
    is(upstream('X-Claim'), $expected, "$name: variable");
}

for my $value (@control, @blank) {
    my $fault = (grep { $_ eq $value } @blank) ? 'begins or ends with a blank' : 'has a control character';
    my $name = $value =~ s/[^ -~]/?/gr;
    $t->new_module_lines();
    is(call('/', known_json(with_value($value)))->status(), 200, "$name: passes");
    is(upstream('X-Claim'), undef, "$name: empty");
    is(upstream('X-Subject') . (upstream('X-Admin') // ''), 'alice', "$name: and nothing else is touched");
    my @lines = grep { !/\[debug\]/ } $t->new_module_lines();
    ok(@lines == 1 && $lines[0] =~ /\[error\].* phantom_token: the claim "value" $fault/,
        "$name: one line in the log") or diag(@lines);
}

# The same from a JWT, and from one that goes upstream.

for my $case (
    ['/', sub { $as->jwt_answer($_[0]) }, undef, 'claims'],
    ['/jwt', sub { $as->jwt_answer($_[0]) }, 1, 'jwt'],
    ['/jwt', sub { $as->json_answer({ active => $true, jwt => $_[0], sub => 'bob', value => 'other' }) }, 1, 'member'],
    ['/exchange', sub { $as->exchange_answer($_[0]) }, 1, 'exchange'],
) {
    my ($uri, $answer, $forwards, $name) = @$case;

    my $payload = qq({"sub":"alice","exp":$exp,"value":[9007199254740993,"x"],"cr":"\\r\\n"});
    my $jwt = Test::PhantomToken::JWT::signed({ alg => 'RS256' }, $payload);
    $t->secrets($jwt);
    $token = known($answer->($jwt));

    for my $status (qw(MISS HIT)) {
        is(call($uri, $token)->header('Cache-Status'), $status, "$name, $status");
        is(upstream('X-Claim') . upstream('X-Subject'), '9007199254740993 xalice', "$name, $status: from the payload");
        is(upstream('Authorization'), $forwards && "Bearer $jwt", "$name, $status: Authorization");
        is(upstream('X-JWT'), $forwards && $jwt, "$name, $status: \$phantom_token_jwt");
    }
}

# Names.

$token = known_json('{"active":true,"exp":' . $exp . ',"sub":"alice","clientId":"one","upper":"two","BOTH":"wrong",'
    . '"both":"right","\u0065scap\u0065d":"three","a_b_1":"four","a-dash":"five","a:b":"six","":"seven"}');
is(call('/names', $token)->status(), 200, 'names');
is(upstream('X-Camel') . upstream('X-Lower'), 'oneone', 'a name in any case');
is(upstream('X-Upper'), 'two', 'an upper-case variable');
is(upstream('X-Both-Cases'), 'right', 'the very case first');
is(upstream('X-Braces'), 'alice-', 'braces');
is(upstream('X-Escaped'), 'three', 'escapes in the name');
is(upstream('X-Underscores'), 'four', 'underscores and digits');
is(upstream('X-Dash'), undef, 'a dash cannot be named');
is(upstream('X-Active'), 'true', 'active is a claim like others');

for my $case (
    ['"value":"one","value":"two"', 'twice'],
    ['"value":"one","v\u0061lue":"one"', 'twice, escaped'],
    ['"Value":"one","VALUE":"two"', 'in two other cases'],
    ['"value":null,"value":"two"', 'twice, once null'],
) {
    my ($members, $name) = @$case;
    $t->new_module_lines();
    is(call('/', known_json(qq({"active":true,"exp":$exp,"sub":"alice",$members})))->status(), 200, "$name: passes");
    is(upstream('X-Claim'), undef, "$name: empty");
    is(upstream('X-Subject'), 'alice', "$name: other claims are there");
    is(scalar(grep { /the claim "value" is there more than once/ } $t->new_module_lines()), 1, "$name: logged");
}

# A fault of one claim is one line, however often the variable is used; and none where nobody uses it.

$token = known_json(with_value('"a\r\nb"'));
$t->new_module_lines();
is(call('/often', $token)->header('Value'), undef, 'used often: empty');
is(upstream('X-Two'), ' and ' =~ s/^ | $//gr, 'used often: empty in a longer text');
is(scalar(grep { /control character/ } $t->new_module_lines()), 1, 'used often: one line');
call('/logged', $token);
is(scalar(grep { /control character/ } $t->new_module_lines()), 0, 'not used: no line');

# In the access log.

sub logged {
    my ($uri) = @_;
    http_request('GET', '/barrier');
    return (grep { m{^\Q$uri } } split /\n/, $t->read_file('claims.log'))[-1];
}

call('/log_1', known_json('{"active":true,"exp":' . $exp . ',"sub":"alice","logged":["x","y\"z"]}'));
is(logged('/log_1'), '/log_1 200 alice [x y\x22z]', 'in the log');
call('/log_2', known_json('{"active":true,"exp":' . $exp . ',"logged":"a\nforged line"}'));
is(logged('/log_2'), '/log_2 200 - [-]', 'in the log: no line is forged');

# For those who wait.

$token = known($as->json_answer(\%claims, hold => 1));
my @waiting = map {
    my $connection = http_connection()->request('GET', "/waiter_$_", headers => [Authorization => "Bearer $token"]);
    $as->wait_for_question($token, 1);
    $connection;
} 1 .. 3;
http_request('GET', '/barrier') for 1 .. 2;
$as->release($token);
is(join(' ', map { $_->response()->header('Cache-Status') } @waiting), 'MISS WAIT WAIT', 'waiting');
is(join(' ', map { $api->header($api->last_request("/waiter_$_"), 'X-Subject') } 1 .. 3), 'alice alice alice',
    'waiting: the claims');
is(scalar(grep { defined $api->header($_, 'Authorization') } map { $api->last_request("/waiter_$_") } 1 .. 3), 0,
    'waiting: no Authorization');
is($as->questions($token), 1, 'waiting: one question');
$_->close() for @waiting;

# Without a cache.

$token = known_json(\%claims);
is(call('/uncached', $token)->header('Cache-Status'), 'BYPASS', 'uncached');
is(upstream('X-Subject'), 'alice', 'uncached: the claims');

# Internal redirects.

$token = known_json(\%claims);

for my $status (qw(MISS HIT)) {
    is(call('/try_files', $token)->header('Cache-Status'), $status, "try_files, $status");
    is(upstream('X-Subject'), 'alice', "try_files, $status: the claims");
    is(upstream('Authorization'), undef, "try_files, $status: no Authorization");
}

# One location forwards a JWT and the other does not: each asks for itself.
my $jwt = jwt(claims => { sub => 'of the JWT' });
$token = known($as->json_answer({ %claims, jwt => $jwt }));

for my $state (qw(miss hit)) {
    is(call('/to_jwt', $token)->status(), 200, "claims, then a JWT, $state");
    is(upstream('Authorization'), "Bearer $jwt", "claims, then a JWT, $state: Authorization");
    is(upstream('X-Subject'), 'of the JWT', "claims, then a JWT, $state: its claims");
    is(call('/from_jwt', $token)->status(), 200, "a JWT, then claims, $state");
    is(upstream('X-Subject'), 'alice', "a JWT, then claims, $state: those of the answer");
    unlike($api->last_request()->{head}, qr/authorization|access-token|\Q$jwt/i, "a JWT, then claims, $state: no JWT");
}

# A named location without an endpoint has the verdict of the location before, and its own rules.
call('/', known($as->jwt_answer($jwt)), port => 8084);
is(upstream('Authorization'), undef, 'a location that forwards claims sends no JWT of another one');
is(call('/reverse', known_json(\%claims), port => 8084)->status(), 500,
    'a location that forwards a JWT, and no endpoint to ask for one');

is(call('/included.shtml', known_json(\%claims))->body(), 'before [alice] after', 'in a subrequest');

# Evaluated before there is a verdict: empty, and not for good.

$token = known_json(\%claims);

for my $status (qw(MISS HIT)) {
    my $response = call('/early', $token);
    is($response->status(), 200, "early, $status");
    is($response->header('Cache-Status'), $status, "early, $status: status");
    is($response->header('Before'), '[<>]', "early, $status: empty before");
    is(upstream('X-Subject'), 'alice', "early, $status: there afterwards");
    is(upstream('X-Volatile'), '<alice>', "early, $status: in a volatile map");
    is(logged('/early'), '/early 200 alice [-]', "early, $status: in the log");
}

# No verdict, no claims.

my %refused = (
    'inactive' => $as->json_answer({ %claims, active => $false }),
    'active is "true"' => $as->json_answer({ %claims, active => 'true' }),
    'active is 1' => $as->json_answer({ %claims, active => 1 }),
    'expired' => $as->json_answer({ %claims, exp => time - 1 }),
    'refresh token' => $as->json_answer({ %claims, token_type => 'refresh_token' }),
    'refresh token, by typ' => $as->json_answer({ %claims, typ => 'Refresh' }),
    'flat JWT, inactive' => $as->jwt_answer(jwt(claims => { %claims, active => $false })),
    'flat JWT, expired' => $as->jwt_answer(jwt(claims => { %claims, exp => time - 1 })),
    'flat JWT, refresh token' => $as->jwt_answer(jwt(claims => { %claims, token_type => 'refresh_token' })),
    'bound' => $as->json_answer({ %claims, cnf => { jkt => 'x' } }),
    'flat JWT, bound' => $as->jwt_answer(jwt(claims => { %claims, cnf => { jkt => 'x' } })),
);
my %slug = (
    'expired' => 'expired', 'flat JWT, expired' => 'expired', 'bound' => 'binding', 'flat JWT, bound' => 'binding',
);

for my $name (sort keys %refused) {
    my $before = $api->count();
    my $response = call('/consumers', known($refused{$name}));
    is($response->status() . ' ' . $response->header('Slug'), '401 ' . ($slug{$name} // 'inactive'), "$name: refused");
    is($response->header('Subject'), undef, "$name: no claims");
    is($api->count(), $before, "$name: not upstream");
}

$token = known_json({ %claims, cnf => { jkt => 'x' } });
is(call('/binding_off', $token)->status(), 200, 'binding off');
is(upstream('X-Subject'), 'alice', 'binding off: claims');
is(call('/consumers', $token)->header('Subject'), undef, 'binding on, by the same verdict: none');
is(call('/page', $token)->status(), 200, 'in a page for the refused');
is(upstream('X-Subject'), undef, 'in a page for the refused: none');
is(upstream('Authorization'), undef, 'in a page for the refused: no token');

is(call('/any', known_json(\%claims), headers => ['X-Subject' => 'forged'])->status(), 200, 'satisfy any');
is(upstream('X-Subject'), undef, 'satisfy any: no claims');
is(upstream('Authorization'), undef, 'satisfy any: no token');

# What makes no sense.

for my $case (
    ['no active', $as->json_answer({ sub => 'alice' })],
    ['active twice', $as->json_answer('{"active":true,"active":true}')],
    ['exp twice', $as->json_answer(qq({"active":true,"exp":$exp,"exp":$exp}))],
    ['an array', $as->json_answer('[{"active":true}]')],
    ['a JWT called JSON', $as->jwt_answer(jwt(), type => 'application/json')],
    ['JSON called a JWT', $as->json_answer(\%claims, type => 'application/jwt')],
    ['HTML', { type => 'text/html', body => $json->encode(\%claims) }],
    ['an envelope, which is to be verified', $as->envelope_answer(Test::PhantomToken::JWT::envelope(\%claims))],
) {
    my ($name, $answer) = @$case;
    my $response = call('/consumers', known($answer));
    is($response->status() . ' ' . $response->header('Slug'), '502 server_bad_answer', "$name: refused");
    is($response->header('Subject'), undef, "$name: no claims");
}
