#!/usr/bin/perl

# Configurations that nginx -t refuses, with file, line and a text that helps; and some that it accepts.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::PhantomToken;

my $on = 'phantom_token on; phantom_token_introspection_endpoint /introspect;';
my $exchange = 'phantom_token on; phantom_token_exchange /introspect;';
my $by_value = "$on phantom_token_accept_jwt verify; phantom_token_jwks file=keys.jwks; phantom_token_issuer a;";

# What stands in a location, and what is said of it.
my @location = (
    # No open door.
    ['phantom_token on;', qr/phantom_token_introspection_endpoint/],
    ['phantom_token on token=$cookie_a;', qr/phantom_token_introspection_endpoint/],

    ['phantom_token maybe;', qr/"phantom_token".*maybe/],
    ['phantom_token;', qr/invalid number of arguments in "phantom_token"/],
    ['phantom_token on off on off;', qr/invalid number of arguments in "phantom_token"/],
    ['phantom_token on token=;', qr/"phantom_token".*token=/],
    ['phantom_token on token=cookie_a;', qr/"phantom_token".*token=/],
    ['phantom_token on token=$http_authorization;', qr/"phantom_token".*token=/],
    ['phantom_token on from=cookie:a;', qr/"phantom_token".*from=cookie:a/],
    ['phantom_token on token=$uri from=a;', qr/"phantom_token".*"from=a"/],
    ['phantom_token on token=$uri cookie:a;', qr/"phantom_token".*"cookie:a"/],
    ['phantom_token on token=$uri from=cookie:;', qr/"phantom_token".*"from=cookie:"/],
    ['phantom_token on token=$uri from=cookie:a=b;', qr/"phantom_token".*"from=cookie:a=b"/],
    ['phantom_token on token=$uri from=body:a;', qr/"phantom_token".*"from=body:a"/],
    ['phantom_token on token=$uri from=header:Host;', qr/"phantom_token".*Host/],
    ['phantom_token on token=$cookie_a from=cookie:b;', qr/"phantom_token".*"from=cookie:b"/],
    ['phantom_token on token=$http_host;', qr/"phantom_token".*host/],
    ['phantom_token on toke=$cookie_a;', qr/"phantom_token".*toke=/],

    ['phantom_token_introspection_endpoint;', qr/invalid number of arguments/],
    ['phantom_token_introspection_endpoint "";', qr/phantom_token_introspection_endpoint/],
    ['phantom_token_introspection_endpoint https://as.example/introspect;',
        qr/phantom_token_introspection_endpoint.*location/],
    ['phantom_token_introspection_endpoint ?token=x;', qr/phantom_token_introspection_endpoint.*location/],
    ['phantom_token_introspection_endpoint @named;', qr/phantom_token_introspection_endpoint.*named/],

    ['phantom_token_introspection_parameter resource;', qr/invalid number of arguments/],
    ['phantom_token_introspection_parameter token x;', qr/"token"/],
    ['phantom_token_introspection_parameter "" x;', qr/phantom_token_introspection_parameter.*empty/],
    ['phantom_token_introspection_parameter grant_type x;', qr/"grant_type"/],
    ['phantom_token_introspection_parameter subject_token x;', qr/"subject_token"/],
    ["$exchange phantom_token_introspection_parameter subject_token x;", qr/"subject_token"/],

    ['phantom_token_exchange;', qr/invalid number of arguments/],
    ['phantom_token_exchange /token audience=a resource=b scope=c actor=d;', qr/invalid number of arguments/],
    ['phantom_token_exchange "";', qr/phantom_token_exchange/],
    ['phantom_token_exchange https://as.example/token;', qr/phantom_token_exchange.*location/],
    ['phantom_token_exchange ?audience=x;', qr/phantom_token_exchange.*location/],
    ['phantom_token_exchange @named;', qr/phantom_token_exchange.*named/],
    ['phantom_token_exchange audience=a;', qr/phantom_token_exchange/],
    ['phantom_token_exchange /token audience;', qr/phantom_token_exchange.*"audience"/],
    ['phantom_token_exchange /token audience=;', qr/phantom_token_exchange.*"audience="/],
    ['phantom_token_exchange /token "resource=";', qr/phantom_token_exchange.*"resource="/],
    ['phantom_token_exchange /token =x;', qr/phantom_token_exchange.*"=x"/],
    ['phantom_token_exchange /token Audience=a;', qr/phantom_token_exchange.*"Audience=a"/],
    ['phantom_token_exchange /token actor_token=a;', qr/phantom_token_exchange.*"actor_token=a"/],
    ['phantom_token_exchange /token audience=a audience=b;', qr/phantom_token_exchange.*"audience=b".*once/],
    ['phantom_token_exchange /token scope=a resource=b scope=a;', qr/phantom_token_exchange.*"scope=a".*once/],
    ['phantom_token_introspection_endpoint /a; phantom_token_exchange /b;',
        qr/"phantom_token_exchange".*"phantom_token_introspection_endpoint" on the same level/],
    ['phantom_token_exchange /b; phantom_token_introspection_endpoint /a;',
        qr/"phantom_token_introspection_endpoint".*"phantom_token_exchange" on the same level/],

    ['phantom_token_forward;', qr/invalid number of arguments/],
    ['phantom_token_forward opaque;', qr/"phantom_token_forward".*opaque/],
    ['phantom_token_forward jwt claims;', qr/invalid number of arguments/],
    ["$exchange phantom_token_forward claims;", qr/"phantom_token_forward claims".*"phantom_token_exchange"/],
    ['phantom_token_envelope;', qr/invalid number of arguments/],
    ['phantom_token_envelope off;', qr/"off"/],
    ['phantom_token_preflight;', qr/invalid number of arguments/],
    ['phantom_token_preflight off;', qr/"off"/],
    ['phantom_token_preflight on;', qr/"on"/],
    ['phantom_token_envelope_header;', qr/invalid number of arguments/],
    ['phantom_token_envelope_header "";', qr/phantom_token_envelope_header/],
    ['phantom_token_envelope_header "a b";', qr/phantom_token_envelope_header.*a b/],
    ['phantom_token_envelope_header Authorization;', qr/phantom_token_envelope_header.*Authorization/],
    ['phantom_token_envelope_header authorization;', qr/phantom_token_envelope_header.*authorization/],
    ['phantom_token_envelope_header Host;', qr/phantom_token_envelope_header.*Host/],
    ['phantom_token_envelope_header X_Forwarded_For;', qr/phantom_token_envelope_header.*X_Forwarded_For/],
    ["$on phantom_token_header X-Token; phantom_token_envelope_header X-Token;",
        qr/"phantom_token_envelope_header" and "phantom_token_header" are both "X-Token"/],
    ["$on phantom_token_header X-Token; phantom_token_envelope_header x_token;",
        qr/"phantom_token_envelope_header" and "phantom_token_header" are both/],

    ['phantom_token_client_credential gateway;', qr/invalid number of arguments/],
    ['phantom_token_client_credential "" hidden-secret;', qr/phantom_token_client_credential.*empty/],
    ['phantom_token_client_credential gateway file=missing;', qr/missing.*No such file/],
    ['phantom_token_client_credential gateway file=;', qr/phantom_token_client_credential/],
    ['phantom_token_client_credential gateway file=empty;', qr{/empty"}],
    ['phantom_token_client_credential gateway file=directory;', qr{/directory"}],
    ['phantom_token_client_credential gateway file=large;', qr{/large"}],

    ['phantom_token_jwks;', qr/invalid number of arguments/],
    ['phantom_token_jwks file=keys.jwks again;', qr/invalid number of arguments/],
    ['phantom_token_jwks jwks;', qr{"phantom_token_jwks" has an invalid value "jwks": it is "file=path".* the URI of an}],
    ['phantom_token_jwks "";', qr/"phantom_token_jwks" has an invalid value ""/],
    ['phantom_token_jwks @jwks;', qr/"phantom_token_jwks" has an invalid value "\@jwks"/],
    ['phantom_token_jwks https://as.example/jwks;', qr{"phantom_token_jwks" has an invalid value "https://as\.example/jwks"}],
    ['phantom_token_jwks /jwks/$host;', qr{"phantom_token_jwks" has an invalid value "/jwks/\$host".*without variables}],
    ['phantom_token_jwks file=;', qr/"phantom_token_jwks" has an empty argument/],
    ['phantom_token_jwks file=missing;', qr{keys from ".*/missing".*No such file}],
    ['phantom_token_jwks file=directory;', qr{keys from ".*/directory"}],
    ['phantom_token_jwks file=empty;', qr{/empty": it is empty}],
    ['phantom_token_jwks file=huge;', qr{keys from ".*/huge".*of at most 262144 bytes}],
    ['phantom_token_jwks file=secret;', qr{/secret": it is not valid JSON at line 1, column 1.*RFC 7517}],
    ['phantom_token_jwks file=key.jwks;', qr/it has no array "keys"/],
    ['phantom_token_jwks file=none.jwks;', qr/its "keys" is empty/],
    ['phantom_token_jwks file=many.jwks;', qr/it has more than 64 keys/],
    ['phantom_token_jwks file=oct.jwks;', qr/none of its keys can be used: key 1 is a shared secret/],
    ['phantom_token_jwks file=private.jwks;', qr/none of its keys can be used: key 1 \("kid" mine\) is a private key/],
    ['phantom_token_jwks file=short.jwks;',
        qr/key 1 has 1024 bits: RSA keys of 2048 to 8192 bits are accepted; key 2 is not for signatures/],
    ['phantom_token_issuer "";', qr/"phantom_token_issuer" has an empty argument/],
    ['phantom_token_issuer a b;', qr/invalid number of arguments/],
    ['phantom_token_audience;', qr/invalid number of arguments/],
    ['phantom_token_audience a "";', qr/"phantom_token_audience" has an empty argument/],
    (map { ["phantom_token_dpop_nonce $_;", qr/"phantom_token_dpop_nonce" has an invalid value "[^"]+": it is "off", or a time/] }
        qw(soon 0 999ms 25h)),
    ['phantom_token_dpop_nonce off file=nonce.key;', qr/"phantom_token_dpop_nonce" has "off" beside a secret/],
    ['phantom_token_dpop_nonce 5m nonce.key;', qr/"phantom_token_dpop_nonce" has an invalid parameter "nonce.key"/],
    ['phantom_token_dpop_nonce 5m file=missing;', qr/"phantom_token_dpop_nonce" cannot read the secret from "[^"]+missing"/],
    ['phantom_token_dpop_nonce 5m file=short.key;',
        qr/"phantom_token_dpop_nonce" needs a secret of at least 32 bytes in "[^"]+short.key"/],
    ['phantom_token_leeway soon;', qr/"phantom_token_leeway" directive invalid value/],
    ['phantom_token_leeway 11m;', qr/"phantom_token_leeway" has an invalid value "11m": a clock is off by 10m at most/],
    # What a JWT must say is not looked at without keys.
    ["$on phantom_token_issuer https://as.example;", qr/"phantom_token_issuer" needs "phantom_token_jwks"/],
    ["$on phantom_token_audience api;", qr/"phantom_token_audience" needs "phantom_token_jwks"/],
    ["$on phantom_token_binding off; phantom_token_leeway 30s;",
        qr/"phantom_token_leeway" needs "phantom_token_jwks", or a "phantom_token_binding" that is not off/],
    # Nothing that a client shows is checked.
    (map { ["$on phantom_token_binding off; $_->[0] $_->[1];",
        qr/"$_->[0]" is of no use with "phantom_token_binding off", which checks nothing of what a client shows/] }
        ['phantom_token_dpop_nonce', '5m'], ['phantom_token_dpop_base', 'https://api.example'],
        ['phantom_token_client_certificate', '$http_x_client_cert']),
    ["$exchange phantom_token_audience api;", qr/"phantom_token_audience" needs "phantom_token_jwks"/],
    ['phantom_token_accept_jwt;', qr/invalid number of arguments/],
    ['phantom_token_accept_jwt on;', qr/"phantom_token_accept_jwt" has an invalid value "on": it is "off" or "verify"/],
    ["$on phantom_token_accept_jwt verify;", qr/"phantom_token_accept_jwt verify" needs "phantom_token_jwks"/],
    ["$on phantom_token_accept_jwt verify; phantom_token_jwks file=keys.jwks; phantom_token_audience a;",
        qr/"phantom_token_accept_jwt verify" needs "phantom_token_issuer"/],
    ["$on phantom_token_accept_jwt verify; phantom_token_jwks file=keys.jwks; phantom_token_issuer a;",
        qr/"phantom_token_accept_jwt verify" needs "phantom_token_audience"/],
    ["$on phantom_token_accept_jwt verify; phantom_token_jwks file=keys.jwks; phantom_token_issuer a;"
        . ' phantom_token_require_scope a;', qr/"phantom_token_accept_jwt verify" needs "phantom_token_audience"/],
    ["$exchange phantom_token_accept_jwt verify; phantom_token_jwks file=keys.jwks; phantom_token_issuer a;"
        . ' phantom_token_audience a;', qr/"phantom_token_accept_jwt verify" cannot be used with "phantom_token_exchange"/],

    ['phantom_token_accept "";', qr/phantom_token_accept/],
    ["phantom_token_accept \"application/jwt\r\nX-Injected: 1\";", qr/phantom_token_accept/],
    ['phantom_token_jwt_member;', qr/invalid number of arguments/],
    ['phantom_token_jwt_member "";', qr/phantom_token_jwt_member.*empty/],

    ['phantom_token_header "";', qr/phantom_token_header/],
    ['phantom_token_header "a b";', qr/phantom_token_header.*a b/],
    ['phantom_token_header "a:";', qr/phantom_token_header/],
    ['phantom_token_header Host;', qr/phantom_token_header.*Host/],
    ['phantom_token_header Content-Length;', qr/phantom_token_header.*Content-Length/],

    ["$on phantom_token_realm \"a\nb\";", qr/realm/],
    ["$on phantom_token_scopes \"a\tb\";", qr/scope/],
    ["$on phantom_token_scopes 'a\"b';", qr/scope/],
    ["$on phantom_token_scope 'a\\\\b';", qr/scope/],

    ['phantom_token_require_scope;', qr/invalid number of arguments/],
    ['phantom_token_require_scope "";', qr/"phantom_token_require_scope" has an empty argument/],
    ['phantom_token_require_scope read "";', qr/"phantom_token_require_scope" has an empty argument/],
    ['phantom_token_require_scope "read write";', qr/"phantom_token_require_scope" has an invalid scope "read write"/],
    ["phantom_token_require_scope read 'a\"b';", qr/invalid scope "a"b"/],
    ["phantom_token_require_scope 'a\\\\b';", qr/invalid scope "a\\b"/],
    ["phantom_token_require_scope \"a\tb\";", qr/invalid scope "a\?b"/],
    ["phantom_token_require_scope a\x7f;", qr/invalid scope "a\?"/],
    ["phantom_token_require_scope k\xc3\xa4se;", qr/invalid scope "k\?\?se"/],
    ['phantom_token_require_scope ' . join(' ', 1 .. 65) . ';',
        qr/"phantom_token_require_scope" has too many scopes: at most 64/],
    ['phantom_token_require_audience;', qr/invalid number of arguments/],
    ['phantom_token_require_audience "";', qr/"phantom_token_require_audience" has an empty argument/],
    ['phantom_token_require_audience api "";', qr/"phantom_token_require_audience" has an empty argument/],
    ['phantom_token_require;', qr/invalid number of arguments/],
    ['phantom_token_require "";', qr/"phantom_token_require" has an empty argument/],
    ['phantom_token_require $host "";', qr/"phantom_token_require" has an empty argument/],
    ['phantom_token_require yes;', qr/"phantom_token_require" has a value "yes" without a variable/],
    ['phantom_token_require $host 1;', qr/"phantom_token_require" has a value "1" without a variable/],
    ['phantom_token_require error=403;', qr/"phantom_token_require" has no value/],
    ['phantom_token_require $host error=404;', qr/"phantom_token_require" has an invalid parameter "error=404"/],
    ['phantom_token_require $host error=;', qr/invalid parameter "error="/],
    ['phantom_token_require $host error=$status;', qr/invalid parameter "error=\$status"/],
    ['phantom_token_require error=401 $host;', qr/invalid parameter "error=401"/],
    ['phantom_token_require $host error=401 error=403;', qr/invalid parameter "error=401"/],

    ['phantom_token_resource;', qr/invalid number of arguments/],
    ['phantom_token_resource https://a.example https://b.example;', qr/invalid number of arguments/],
    ['phantom_token_resource "";', qr/"phantom_token_resource" has an invalid URL "": it is no URL/],
    ['phantom_token_resource api;', qr/"phantom_token_resource" has an invalid URL "api": it is no URL/],
    ['phantom_token_resource /mcp;', qr{invalid URL "/mcp": it is no URL}],
    ['phantom_token_resource "https://a.example/a b";', qr{invalid URL "https://a.example/a b": it is no URL}],
    ["phantom_token_resource 'https://a.example/\"';", qr{it is no URL}],
    ["phantom_token_resource 'https://a.example/\nX: y';", qr{it is no URL}],
    ['phantom_token_resource https://$host/mcp;', qr{"https://\$host/mcp".*cannot contain variables}],
    ['phantom_token_resource http://a.example/mcp;', qr{"http://a.example/mcp".*begins with "https://"}],
    ['phantom_token_resource https://a.example/mcp#top;', qr{"https://a.example/mcp#top".*fragment}],
    ['phantom_token_resource https://user:hidden-secret@a.example/;', qr{invalid URL "\.\.\.\@a.example/": a user cannot}],
    ['phantom_token_resource https://:443/;', qr{"https://:443/".*no host}],
    ['phantom_token_resource https://a.example/../mcp;', qr{"https://a.example/../mcp".*path}],
    ['phantom_token_resource https://a.example//mcp;', qr{"https://a.example//mcp".*path}],

    ['phantom_token_authorization_server;', qr/invalid number of arguments/],
    ['phantom_token_authorization_server as.example;', qr/"phantom_token_authorization_server" has an invalid URL "as.example"/],
    ['phantom_token_authorization_server https://a.example http://b.example;', qr{"http://b.example".*begins with "https://"}],
    ['phantom_token_authorization_server https://a.example?b;', qr{"https://a.example\?b".*query}],
    ['phantom_token_authorization_server https://$host;', qr{"https://\$host".*cannot contain variables}],

    ['phantom_token_resource_metadata on;', qr/invalid number of arguments in "phantom_token_resource_metadata"/],
    ['if ($host) { phantom_token_resource_metadata; }', qr/"phantom_token_resource_metadata" directive is not allowed here/],
    ['phantom_token_resource_metadata;', qr/"phantom_token_resource_metadata" cannot be beside another directive/],

    ['phantom_token_binding maybe;', qr/maybe/],
    ['phantom_token_client_certificate;', qr/invalid number of arguments in "phantom_token_client_certificate"/],
    map({ ["phantom_token_client_certificate $_;", qr/"phantom_token_client_certificate" has an invalid value.*one variable/] }
        'off', 'on', '/client.crt', '$', '${}', '$host$uri', 'a$host', '"$host "', '""'),
    ['phantom_token_max_response much;', qr/phantom_token_max_response/],
    ["$on phantom_token_max_response 0;", qr/phantom_token_max_response/],
    ["phantom_token_jwt_member " . join(' ', 'a' .. 'z', 'aa' .. 'az') . ';', qr/phantom_token_jwt_member.*too many/],
    ['phantom_token_max_response -1;', qr/phantom_token_max_response/],

    ['phantom_token_cache nowhere;', qr/nowhere/],
    ["$on phantom_token_cache nowhere;", qr/nowhere/],
    ['phantom_token_cache;', qr/invalid number of arguments/],
    ['phantom_token_cache other;', qr/other/],
    ['phantom_token_cache_max_ttl soon;', qr/phantom_token_cache_max_ttl/],
    ['phantom_token_cache_max_ttl -1;', qr/phantom_token_cache_max_ttl/],
    ['phantom_token_cache_max_ttl 99999999999999999999d;', qr/phantom_token_cache_max_ttl/],
    ['phantom_token_cache_default_ttl soon;', qr/phantom_token_cache_default_ttl/],
    ['phantom_token_cache_negative_ttl soon;', qr/phantom_token_cache_negative_ttl/],
    ['phantom_token_cache_control maybe;', qr/maybe/],
    ['phantom_token_cache_zone inner:1m;', qr/"phantom_token_cache_zone" directive is not allowed here/],
    ['phantom_token_dpop_zone 1m;', qr/"phantom_token_dpop_zone" directive is not allowed here/],

    # What does not exist yet is not silently accepted.
    ['phantom_token_no_such_directive on;', qr/unknown directive "phantom_token_no_such_directive"/],

    ['phantom_token_cache_refresh soon;', qr/"phantom_token_cache_refresh" has an invalid value "soon".*"off"/],
    ['phantom_token_cache_refresh;', qr/invalid number of arguments/],
    ["$on phantom_token_cache_refresh 5m;", qr/"phantom_token_cache_refresh" is not shorter than/],
    ["$on phantom_token_cache_max_ttl 10s; phantom_token_cache_refresh 10s;", qr/is not shorter than/],
    ['phantom_token_cache_use_stale -1s;', qr/"phantom_token_cache_use_stale" has an invalid value "-1s"/],
    ["$on phantom_token_max_introspections 0;", qr/"phantom_token_max_introspections" is from 1 to 64 with the zone "two"/],
    ["$on phantom_token_max_introspections 65;", qr/"phantom_token_max_introspections" is from 1 to 64/],
    ['phantom_token_max_introspections many;', qr/invalid number/],
);

# Given twice.
my @duplicates = (
    'phantom_token off', 'phantom_token_introspection_endpoint /a', 'phantom_token_client_credential a hidden-secret',
    'phantom_token_accept a/b', 'phantom_token_jwt_member a', 'phantom_token_header X-A', 'phantom_token_realm a',
    'phantom_token_binding off', 'phantom_token_client_certificate $host', 'phantom_token_max_response 1k', 'phantom_token_cache off',
    'phantom_token_cache_key a', 'phantom_token_cache_max_ttl 1m', 'phantom_token_cache_default_ttl 1m',
    'phantom_token_cache_negative_ttl 1m', 'phantom_token_cache_control obey', 'phantom_token_exchange /a',
    'phantom_token_forward jwt', 'phantom_token_envelope verified', 'phantom_token_envelope_header X-A',
    'phantom_token_preflight pass', 'phantom_token_cache_refresh 1s', 'phantom_token_cache_use_stale off',
    'phantom_token_max_introspections 8', 'phantom_token_require_scope a', 'phantom_token_require_audience a',
    'phantom_token_resource https://a.example', 'phantom_token_resource_metadata',
    'phantom_token_jwks file=keys.jwks', 'phantom_token_issuer a', 'phantom_token_audience a', 'phantom_token_leeway 1m', 'phantom_token_dpop_nonce 5m',
    'phantom_token_accept_jwt off',
);

# A variable that does not exist: NGINX finds out when it has read all, and names no line.
my @unknown = (
    'phantom_token on token=$no_such_variable; phantom_token_introspection_endpoint /introspect;',
    'phantom_token_introspection_endpoint /a$no_such_variable;',
    'phantom_token_introspection_parameter a $no_such_variable;',
    'phantom_token_cache_key $no_such_variable;',
    'phantom_token_exchange /a$no_such_variable;',
    'phantom_token_exchange /a scope=$no_such_variable;',
    'phantom_token_require $host $no_such_variable;',
    'phantom_token_client_certificate $no_such_variable;',
);

# What stands in http.
my @http = (
    ['phantom_token_cache_zone;', qr/invalid number of arguments/],
    ['phantom_token_cache_zone name;', qr/phantom_token_cache_zone|zone/],
    ['phantom_token_resource_metadata;', qr/"phantom_token_resource_metadata" directive is not allowed here/],
    ['phantom_token_cache_zone name:;', qr/zone/],
    ['phantom_token_cache_zone :1m;', qr/zone/],
    ['phantom_token_cache_zone name:much;', qr/zone/],
    ['phantom_token_cache_zone name:0;', qr/zone/],
    ['phantom_token_cache_zone name:1k;', qr/zone/],
    ['phantom_token_cache_zone one:1m;', qr/one/],
    ['phantom_token_cache_zone other:1m;', qr/other/],
    ['phantom_token_cache_zone off:1m;', qr/off/],
    ['phantom_token_dpop_zone 1k;', qr/"phantom_token_dpop_zone" is too small: at least \d+k are needed/],
    (map { (
        ["phantom_token_cache_zone name:$_;", qr/invalid zone "name:$_" of .*"k" or "m" behind it in KiB or MiB: there is no "g"/],
        ["phantom_token_dpop_zone $_;", qr/"phantom_token_dpop_zone" directive invalid value "$_".*there is no "g"/],
    ) } qw(1g 1G 1mb)),
    ['phantom_token_dpop_zone name:1m;', qr/"phantom_token_dpop_zone" directive invalid value/],
    ['phantom_token_dpop_zone 1m; phantom_token_dpop_zone 1m;', qr/"phantom_token_dpop_zone" directive is duplicate/],
);

# Accepted, in a location.
my @accepted = (
    $on,
    'phantom_token off;',
    'phantom_token_introspection_endpoint introspect; phantom_token on;',
    'phantom_token_introspection_endpoint /introspect/$host; phantom_token on token=$cookie_a;',
    "$on phantom_token_client_credential gateway file=secret;",
    "$on phantom_token_client_credential gateway file=%%TESTDIR%%/secret;",
    "$on phantom_token_introspection_parameter a b; phantom_token_introspection_parameter a \$host;",
    "$on phantom_token_scope read; phantom_token_scope write;",
    "$on phantom_token_realm 'my \"realm\"'; phantom_token_scopes 'read write';",
    "$on phantom_token_cache off;",
    "$on phantom_token_cache one; phantom_token_cache_key \$host;",
    "$on phantom_token_cache_max_ttl 1d; phantom_token_cache_default_ttl 0; phantom_token_cache_negative_ttl 500ms;",
    # What inherits `on` where no client gets to, or where the level around it was looked at.
    "$on if (\$host = nowhere) { return 204; }",
    "$on limit_except GET { deny all; }",
    "$on phantom_token_cache_control ignore; phantom_token_binding optional;",
    "$on phantom_token_binding required;",
    "$on phantom_token_binding required; phantom_token_client_certificate \$http_x_client_cert;",
    "$on phantom_token_binding required; phantom_token_client_certificate \${http_x_client_cert};",
    $exchange,
    'phantom_token on; phantom_token_exchange token audience=$host "scope=a b" resource=https://api.example/;',
    "$exchange phantom_token_introspection_parameter requested_token_type x; phantom_token_forward jwt;",
    "$exchange phantom_token_introspection_parameter audience x; phantom_token_accept a/b;",
    "$on phantom_token_forward claims; phantom_token_envelope unverified; phantom_token_envelope_header X-Envelope;",
    "$on phantom_token_envelope_header X_Envelope; phantom_token_header X-Token; phantom_token_preflight check;",
    "$on phantom_token_forward claims; add_header Subject \$phantom_token_claim_sub;",
    'phantom_token_envelope_header X-Token; phantom_token_header X-Token;',
    "$on phantom_token_cache_refresh off; phantom_token_cache_use_stale off; phantom_token_max_introspections 64;",
    "$on phantom_token_cache_refresh 4m; phantom_token_cache_use_stale 1h; phantom_token_max_introspections 1;",
    "$on phantom_token_cache off; phantom_token_max_introspections 500;",
    "$on phantom_token_require_scope read write; phantom_token_require_audience api https://api.example/;",
    "$on phantom_token_require_scope '!#[]~' '\$x'; phantom_token_require_audience 'a b' '\"';",
    'phantom_token_require_scope ' . join(' ', 1 .. 64) . '; phantom_token_require_audience ' . join(' ', 1 .. 99) . ';',
    "$on phantom_token_require \$host \$phantom_token_claim_a; phantom_token_require \"\$host\$uri\" error=403;",
    "$on phantom_token_require \$host error=401; phantom_token_require \$host error=401;",
    "$on phantom_token_realm ''; phantom_token_scopes a; phantom_token_require_scope b;",
    "$on phantom_token_resource https://a.example:8443/b?c; phantom_token_authorization_server https://d.example/e/ https://f;",
    "$on phantom_token_resource http://localhost:8080/mcp; phantom_token_authorization_server http://[::1]:9000;",
    "$on phantom_token_resource https://a.example; phantom_token_realm '';",
    'phantom_token_resource https://a.example; phantom_token_authorization_server https://b.example;',
    "$on phantom_token_jwks file=keys.jwks;",
    "$on phantom_token_jwks /jwks?tenant=a; phantom_token_issuer https://as.example;",
    "$exchange phantom_token_jwks file=%%TESTDIR%%/keys.jwks; phantom_token_issuer https://as.example;",
    "$on phantom_token_jwks file=keys.jwks; phantom_token_audience api https://api.example/; phantom_token_leeway 10m;",
    'phantom_token_issuer https://as.example; phantom_token_audience api; phantom_token_leeway 0;',
    'phantom_token_accept_jwt verify;',
    "$on phantom_token_leeway 30s;",
    'phantom_token_dpop_nonce off;', 'phantom_token_dpop_nonce 1s;', 'phantom_token_dpop_nonce 1d file=nonce.key;',
    "$on phantom_token_binding required; phantom_token_leeway 0;",
    "$on phantom_token_binding off; phantom_token_jwks file=keys.jwks; phantom_token_leeway 10m;",
    "$on phantom_token_binding off; phantom_token_dpop_nonce off;",
    'phantom_token_binding off; phantom_token_dpop_nonce 5m; phantom_token_dpop_base https://api.example;',
    "$exchange phantom_token_accept_jwt off;",
    "$by_value phantom_token_audience api;",
    "$by_value phantom_token_require_audience api; phantom_token_forward claims;",
    "$by_value phantom_token_require \$phantom_token_claim_client_id;",
);

my $t = Test::Nginx->new()->has(qw(http proxy limit_req))
    ->plan(2 * @location + 2 * @duplicates + 2 * @http + @unknown + @accepted + 66);

mkdir $t->testdir() . '/directory';
$t->write_file('nonce.key', 'x' x 32);
$t->write_file('short.key', 'x' x 31);
$t->write_file('empty', '');
$t->write_file('large', 'x' x 100_000);
$t->write_file('secret', "hidden-secret\n");

my $point = '"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
    . '"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"';
my $short = '"kty":"RSA","e":"AQAB","n":"' . '_' x 170 . 'w"';
$t->write_file('huge', ' ' x 262_145);
$t->write_file('key.jwks', "{$point}");
$t->write_file("$_->[0].jwks", '{"keys":[' . join(',', map { "{$_}" } @$_[1 .. $#$_]) . ']}')
    for ['keys', $point], ['none'], ['many', map { qq("kid":"$_",$point) } 1 .. 65], ['oct', '"kty":"oct","k":"hidden-secret"'],
    ['private', qq($point,"kid":"mine","d":"hidden-secret")], ['short', $short, qq($point,"use":"enc")],
    ['mixed', $point, qq("kid":"mine","d":"hidden-secret",$point), qq("kid":"enc","use":"enc",$point)];

sub conf {
    my ($http, $location) = @_;
    return <<"CONF";
%%TEST_GLOBALS%%
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    limit_req_zone \$binary_remote_addr zone=other:1m rate=1r/s;
    phantom_token_cache_zone one:1m;
    phantom_token_cache_zone two:1m;
    phantom_token_cache two;
    $http
    server {
        listen 127.0.0.1:8080;
        location / {
            $location
            proxy_pass http://127.0.0.1:8082;
        }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF
}

# The text of the error, which names file and line: the first or the last that the fault stands on.
sub refused {
    my ($conf, $fault, $pattern) = @_;

    my $error = $t->conf_fails($conf) // 'accepted';
    my $name = $fault =~ s/[^ -~]/?/gr;
    like($error, $pattern, "$name: text");

    my @before = split /\n/, $t->read_file('conf_test.conf') =~ s/^(.*)\Q$fault\E.*/$1/sr, -1;
    my ($first, $last) = (scalar @before, @before + ($fault =~ tr/\n//));
    my ($line) = $error =~ m{ in \Q${\$t->testdir()}\E/conf_test\.conf:(\d+)$};
    ok(defined $line && ($line == $first || $line == $last), "$name: file and line") or diag($error);

    $t->secrets('hidden-secret');
    return $error;
}

my @errors;
push @errors, refused(conf('', $_->[0]), $_->[0], $_->[1]) for @location;
push @errors, refused(conf('', "$_; $_;"), "$_; $_;", qr/"\w+" (?:directive )?is duplicate/) for @duplicates;
like($t->conf_fails(conf('', $_)) // 'accepted', qr/unknown "no_such_variable" variable/, $_) for @unknown;
push @errors, refused(conf($_->[0], ''), $_->[0], $_->[1]) for @http;

unlike(join("\n", @errors), qr/hidden-secret/, 'no secret is in an error');

for my $location (@accepted) {
    is($t->conf_fails(conf('', $location)), undef, "$location accepted");
}

# On, from further out.

my $text = "phantom_token on;\n    phantom_token_introspection_endpoint /introspect;";
is($t->conf_fails(conf($text, '')), undef, 'on and endpoint in http');
is($t->conf_fails(conf('phantom_token on;', 'phantom_token off;') =~ s/internal;/phantom_token off;/r), undef,
    'on in http, off in each location');

my $error = $t->conf_fails(conf('phantom_token on;', ''));
like($error, qr/phantom_token_introspection_endpoint.*conf_test\.conf:\d+$/, 'on in http, no endpoint where it counts');

is($t->conf_fails(conf('phantom_token on;', 'phantom_token_introspection_endpoint /introspect;')), undef,
    'on in http, endpoint in the location; the internal one inherits and is excepted');

$text = "phantom_token on; phantom_token_introspection_endpoint /introspect; } location \@named {";
is($t->conf_fails(conf('', $text)), undef, 'a named location without on');
is($t->conf_fails(conf('phantom_token on;', $text)), undef, 'a named location that inherits on is excepted');

# A level's own question takes the inherited one's place. What contradicts is found at the level that has both.

my $inherited_exchange = 'phantom_token_exchange /introspect;';
is($t->conf_fails(conf($inherited_exchange, 'phantom_token on;')), undef, 'an inherited exchange suffices');
is($t->conf_fails(conf($inherited_exchange, "$on phantom_token_forward claims;")), undef,
    'an endpoint instead of the inherited exchange');
is($t->conf_fails(conf('phantom_token_introspection_endpoint /introspect;', $exchange)), undef,
    'an exchange instead of the inherited endpoint');
is($t->conf_fails(conf('phantom_token_forward claims;', "$exchange phantom_token_forward jwt;")), undef,
    'an exchange instead of the inherited claims');

for my $case (
    ['phantom_token_forward claims;', $exchange, 'claims, then an exchange'],
    [$inherited_exchange, 'phantom_token on; phantom_token_forward claims;', 'an exchange, then claims'],
) {
    my ($http, $location, $name) = @$case;
    like($t->conf_fails(conf($http, $location)) // 'accepted',
        qr/"phantom_token_forward claims" cannot be used with "phantom_token_exchange".*conf_test\.conf:\d+$/, $name);
}

like($t->conf_fails(conf('phantom_token_header X-A;', "$on phantom_token_envelope_header X-A;")) // 'accepted',
    qr/"phantom_token_envelope_header" and "phantom_token_header" are both "X-A".*conf_test\.conf:\d+$/,
    'one header for two, on two levels');

# Keys, and what needs them, on different levels.

my ($keys, $expected) = ('phantom_token_jwks file=keys.jwks;', 'phantom_token_issuer https://as.example;');
is($t->conf_fails(conf($keys, "$on $expected")), undef, 'keys in http, the issuer in the location');
is($t->conf_fails(conf("$on $expected", $keys) =~ s/internal;/phantom_token off;/r), undef,
    'the issuer in http, keys in each location that is on');
like($t->conf_fails(conf($expected, "$on $keys } location /other { $on")) // 'accepted',
    qr/"phantom_token_issuer" needs "phantom_token_jwks".*conf_test\.conf:\d+$/, 'keys in one location only');
is($t->conf_fails(conf("$on $expected $keys", '')), undef, 'all of it in http');
is($t->conf_fails(conf("phantom_token on; $expected", "$keys phantom_token_introspection_endpoint /introspect;")), undef,
    'an internal location without keys, which asks nobody');

# A binding that is off, and what it takes, on different levels.

my ($off, $nonce) = ('phantom_token_binding off;', 'phantom_token_dpop_nonce 5m;');
is($t->conf_fails(conf($nonce, "$on $off")), undef, 'a nonce in http, and off in the location');
is($t->conf_fails(conf($off, "$on $nonce")), undef, 'off in http, and a nonce in the location');
is($t->conf_fails(conf("$on $off $nonce", 'phantom_token_binding required;')), undef, 'both in http, and on in the location');
is($t->conf_fails(conf('', "phantom_token_binding required; } $on $off $nonce location /other { $off")), undef,
    'both in the server block, and each location says what holds');

# JWTs that clients present, by what is on different levels. The file and the line are those of the directive.

is($t->conf_fails(conf("$keys $expected phantom_token_audience api; phantom_token_accept_jwt verify;", $on)), undef,
    'accept_jwt in http');
is($t->conf_fails(conf("$keys $expected $on phantom_token_accept_jwt verify;", 'phantom_token_audience api;')
    =~ s/internal;/phantom_token off;/r), undef, 'accept_jwt in http, the audience in each location that is on');
is($t->conf_fails(conf("$on phantom_token_accept_jwt verify;", 'phantom_token_accept_jwt off;')
    =~ s/internal;/phantom_token off;/r), undef, 'accept_jwt in http, and off in each location that is on');
like($t->conf_fails(conf("$keys $expected\n\n    $on\n    phantom_token_accept_jwt verify;", '')) // 'accepted',
    qr/"phantom_token_accept_jwt verify" needs "phantom_token_audience".* in .*conf_test\.conf:\d+$/,
    'accept_jwt in http, and no audience');

# Secrets with more around them than one newline.
my %secrets = ('good' => "hidden-secret", 'newline' => "hidden-secret\n", 'inside' => "hidden secret\n");
my %odd = ('crlf' => "hidden-secret\r\n", 'blank' => "hidden-secret \n", 'newlines' => "hidden-secret\n\n",
    'tab' => "hidden-secret\t", 'leading' => " hidden-secret\n", 'crlfs' => "hidden-secret\r\n\r\n");
for my $name (sort keys %secrets, keys %odd) {
    $t->write_file("$name.secret", $secrets{$name} // $odd{$name});
    my @told = grep { /the secret in/ } $t->conf_warnings(conf('', "phantom_token_client_credential gateway file=$name.secret;"));
    is(scalar(@told), $odd{$name} ? 1 : 0, "a secret, $name: " . ($odd{$name} ? 'warned about' : 'no warning'));
    next unless $odd{$name};
    my $what = $name eq 'crlf' ? 'ends with CR LF' : 'begins or ends with a blank or a line break';
    like("@told", qr{the secret in ".*/$name\.secret" $what.*conf_test\.conf:\d+}, "a secret, $name: how");
    unlike("@told", qr/hidden/, "a secret, $name: and not what it is");
}

my @warnings = $t->conf_warnings(conf('', 'phantom_token_jwks file=mixed.jwks;'));
is(scalar(grep { /phantom_token_jwks/ } @warnings), 1, 'one of three keys is warned about');
like("@warnings", qr{not use all keys in ".*/mixed\.jwks": key 2 \("kid" mine\) is a private key.*conf_test\.conf:\d+}, 'a private key');
unlike("@warnings", qr/hidden-secret/, 'a private key: not shown');
is(scalar(grep { /phantom_token_jwks/ } $t->conf_warnings(conf('', $keys))), 0, 'no warning for good keys');

# Written for the C module.

is($t->conf_fails(conf('', <<'C')), undef, 'the configuration of the C module');
phantom_token on;
            phantom_token_introspection_endpoint curity;
            phantom_token_realm "api";
            phantom_token_scopes "scope_a scope_b";
            proxy_pass http://127.0.0.1:8082/x;
        }
        location curity {
            proxy_pass_request_headers off;
            proxy_set_header Accept "application/jwt";
            proxy_set_header Content-Type "application/x-www-form-urlencoded";
            proxy_set_header Authorization "Basic Y2xpZW50OmhpZGRlbg==";
            proxy_pass http://127.0.0.1:8081;
        }
        location /second {
C

# The default zone is there for whoever names none, and can be named.

my $default = conf('', $on) =~ s/^ *phantom_token_cache.*\n//gmr;
is($t->conf_fails($default), undef, 'no zone is named');

# The smallest zone.

my ($least) = ($t->conf_fails(conf('phantom_token_cache_zone small:1k;', $on)) // '')
    =~ /^zone "small" is too small: at least (\d+)k are needed in /;
cmp_ok($least // 0, '>', 0, 'a zone that is too small is told what is needed');
my $size = ($least // 0) * 1024;
like($t->conf_fails(conf("phantom_token_cache_zone small:@{[$size - 1]};", $on)) // 'accepted', qr/at least ${least}k/,
    'one byte less');
is($t->conf_fails(conf("phantom_token_cache_zone small:$_;", $on)), undef, "$_ bytes are enough")
    for $size, $size + 1, $size + 4095, $size + 4096;
is($t->conf_fails(conf("phantom_token_cache_zone small:${least}K;", $on)), undef, 'as it was told');

# A time for refreshing that others have set does not forbid a shorter life; on one level the two contradict.

is($t->conf_fails(conf('phantom_token_cache_refresh 1m;', "$on phantom_token_cache_max_ttl 30s;")), undef,
    'an inherited refresh beside a shorter life');
like($t->conf_fails(conf('phantom_token_cache_refresh 6m;', $on)) // 'accepted',
    qr/"phantom_token_cache_refresh" is not shorter than.*conf_test\.conf:\d+$/, 'a refresh in http longer than the default');
like($t->conf_fails(conf('phantom_token_cache_refresh 1m; phantom_token_cache_max_ttl 1m;', $on)) // 'accepted',
    qr/"phantom_token_cache_refresh" is not shorter than.*conf_test\.conf:\d+$/, 'both in http');

# More questions than a quarter of the connections.

my $few = conf('', "$on phantom_token_max_introspections 9;") =~ s/events \{\}/events { worker_connections 32; }/r;
like(join("\n", $t->conf_warnings($few)), qr/"phantom_token_max_introspections" of 9 exceeds a quarter of the 32/, 'a warning');
is(scalar(grep { /introspections/ } $t->conf_warnings($few =~ s/introspections 9/introspections 8/r)), 0, 'no warning');
