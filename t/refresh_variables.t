#!/usr/bin/perl

# Whatever variable of NGINX the introspection location sends, a background question may evaluate it, and what it says of the
# client's TLS session is true; also where the server block has no certificate of its own, and when the client is gone.

use strict;
use warnings;

use Test::More;

BEGIN { use FindBin; chdir $FindBin::Bin; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::Nginx::Wait qw(eventually);
use Test::PhantomToken;

plan(skip_all => 'no IO::Socket::SSL') unless eval { require IO::Socket::SSL::Utils; 1 };

my $t = Test::Nginx->new()->has(qw(http proxy http_ssl http_v2))->plan(32);

# Those of all versions; what this NGINX does not have is taken out below.
my @VARIABLES = map { split } <<'NAMES';
    ancient_browser arg_a binary_remote_addr body_bytes_sent bytes_sent connection connection_requests connection_time
    connections_active connections_reading connections_waiting connections_writing content_length content_type cookie_a
    date_gmt date_local document_root document_uri fastcgi_path_info fastcgi_script_name host hostname http2 http3 http_cookie
    http_host http_referer http_user_agent http_via http_x_forwarded_for https is_args is_request_port limit_conn_status
    limit_rate limit_req_status modern_browser msec msie nginx_version pid pipe proxy_add_via proxy_add_x_forwarded_for
    proxy_host proxy_port proxy_protocol_addr proxy_protocol_port proxy_protocol_server_addr proxy_protocol_server_port
    proxy_protocol_tlv_alpn proxy_protocol_tlv_ssl_version query_string realip_remote_addr realip_remote_port realpath_root
    remote_addr remote_port remote_user request request_body_file request_completion request_filename request_id
    request_length request_method request_port request_time request_uri scheme sent_http_cache_control sent_http_connection
    sent_http_content_length sent_http_content_type sent_http_keep_alive sent_http_last_modified sent_http_link
    sent_http_location sent_http_transfer_encoding sent_trailer_a server_addr server_name server_port server_protocol
    slice_range ssl_alpn_protocol ssl_cipher ssl_ciphers ssl_client_cert ssl_client_escaped_cert ssl_client_fingerprint
    ssl_client_i_dn ssl_client_i_dn_legacy ssl_client_raw_cert ssl_client_s_dn ssl_client_s_dn_legacy ssl_client_serial
    ssl_client_sigalg ssl_client_v_end ssl_client_v_remain ssl_client_v_start ssl_client_verify ssl_curve ssl_curves
    ssl_early_data ssl_ech_outer_server_name ssl_ech_status ssl_protocol ssl_server_name ssl_session_id ssl_session_reused
    ssl_sigalg ssl_sigalgs status tcpinfo_rcv_space tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd time_iso8601 time_local
    uid_got uid_reset uid_set upstream_addr upstream_bytes_received upstream_bytes_sent upstream_cache_etag
    upstream_cache_last_modified upstream_cache_status upstream_connect_time upstream_cookie_a upstream_header_time
    upstream_http_a upstream_response_length upstream_response_time upstream_status upstream_trailer_a uri
NAMES

# A certificate has several lines, which a header must not have.
my @LINES = qw(ssl_client_cert ssl_client_raw_cert);

sub header { return 'X-' . ($_[0] =~ tr/_/-/r) }

sub conf {
    my %has_lines = map { $_ => 1 } @LINES;
    my @maps = map { qq{map \$$_ \$has_$_ { "" no; default yes; }} } @LINES;
    my @headers = map { 'proxy_set_header ' . header($_) . ' $' . ($has_lines{$_} ? "has_$_" : $_) . ';' } @VARIABLES;
    return <<"CONF";
%%TEST_GLOBALS%%
daemon off;
worker_processes 1;
events {}
http {
    %%TEST_GLOBALS_HTTP%%
    @{[join "\n    ", @maps]}

    phantom_token_introspection_endpoint /introspect;
    phantom_token_cache_refresh 2s;
    proxy_headers_hash_max_size 2048;
    proxy_headers_hash_bucket_size 128;
    large_client_header_buffers 4 64k;
    ssl_certificate_key server.key;

    # Inherited by the introspection location.
    @{[join "\n    ", @headers]}

    server {
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8443 ssl;
        server_name localhost;
        ssl_certificate server.crt;
        ssl_verify_client optional_no_ca;
        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # Clients without HTTP/1; the directive is of 1.25.1.
    server {
        listen 127.0.0.1:8084 %%HTTP2%%;
        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }

    # Another block of the address makes the handshake.
    server {
        listen 127.0.0.1:8444 ssl default_server;
        server_name front;
        ssl_certificate server.crt;
        location / { return 404; }
    }
    server {
        listen 127.0.0.1:8444 ssl;
        server_name behind;
        location / { phantom_token on; proxy_pass http://127.0.0.1:8082; }
        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
    }
}
CONF
}

for my $name (qw(server client)) {
    my ($certificate, $key) = IO::Socket::SSL::Utils::CERT_create(
        subject => { commonName => $name }, purpose => $name, subjectAltNames => [[DNS => 'localhost']]);
    IO::Socket::SSL::Utils::PEM_cert2file($certificate, $t->testdir() . "/$name.crt");
    IO::Socket::SSL::Utils::PEM_key2file($key, $t->testdir() . "/$name.key");
}

sub complete { return conf() =~ s/%%HTTP2%%;/$t->has_version('1.25.1') ? '; http2 on;' : 'http2;'/er }

while (my $error = $t->conf_fails(complete())) {
    my ($unknown) = $error =~ /unknown "(\w+)" variable/ or die "nginx -t: $error";
    @VARIABLES = grep { $_ ne $unknown } @VARIABLES;
    @LINES = grep { $_ ne $unknown } @LINES;
}
my @session = grep { /^ssl_/ } @VARIABLES;

$t->write_file_expand('nginx.conf', complete());
my $as = authorization_server($t);
my $api = api($t);
$t->run();
my ($worker) = $t->workers();

cmp_ok(scalar @VARIABLES, '>', 100, 'variables');
cmp_ok(scalar @session, '>', 20, 'of TLS sessions among them');

# The second question is one in the background, for a client that has the same connection still.

my $tls = http_connection(port => 8443, ssl => {
    SSL_verify_mode => 0,
    SSL_hostname => 'localhost',
    SSL_use_cert => 1,
    SSL_cert_file => $t->testdir() . '/client.crt',
    SSL_key_file => $t->testdir() . '/client.key',
});
my $behind = http_connection(port => 8444, ssl => { SSL_verify_mode => 0, SSL_hostname => 'localhost' });
my $plain = http_connection();
my $http2 = Test::Nginx::HTTP2->new(port => 8084);

my %client = (
    'TLS' => sub { $tls->request('GET', '/', headers => @_)->response() },
    'no certificate' => sub { $behind->request('GET', '/', host => 'behind', headers => @_)->response() },
    'plain' => sub { $plain->request('GET', '/', headers => @_)->response() },
    'HTTP/2' => sub { $http2->response($http2->request('GET', '/', headers => @_)) },
);

my %asked;
for my $name (sort keys %client) {
    my $token = token();
    $as->script($token, $as->jwt_answer(jwt()));
    my $call = sub { $client{$name}->([Authorization => "Bearer $token"])->status() };
    is($call->(), 200, "$name: asked");
    ok(eventually(sub { $call->(); $as->questions($token) >= 2 }), "$name: confirmed");
    is($call->(), 200, "$name: hits go on");
    my ($first, $second) = $as->requests($token);
    is($as->header($second, header('pid')), $worker, "$name: by the same worker");
    is_deeply({ map { $_ => scalar $as->header($second, header($_)) } @session },
        { map { $_ => scalar $as->header($first, header($_)) } @session }, "$name: what is said of the session");
    $asked{$name} = $second;
}

isnt($as->header($asked{TLS}, header('ssl_curve')), undef, 'a curve');
like($as->header($asked{TLS}, header('ssl_client_s_dn')), qr/CN=client/, 'a certificate of the client');
is($as->header($asked{TLS}, header('ssl_server_name')), 'localhost', 'a name');
like($as->header($asked{'no certificate'}, header('ssl_protocol')), qr/^TLS/, 'a session of another block');
is($as->header($asked{plain}, header('ssl_protocol')), undef, 'none where there is none');

# A client that goes away takes nothing from the question, and is told of its end as ever: the session ends with a
# close_notify of the server's, and nothing comes before.

my ($token, $second) = (token(), jwt());
$as->script($token, $as->jwt_answer(jwt()), $as->jwt_answer($second, hold => 1));
my $ask = sub { $client{TLS}->([Authorization => "Bearer $token"])->status() };
is($ask->(), 200, 'asked');
ok(eventually(sub { $ask->(); $as->questions($token) >= 2 }), 'on its way');
is($ask->(), 200, 'the session works');
$tls->close();
$as->release($token);
my $answered = sub { $api->authorization(call('/', $token)) eq "Bearer $second" };
ok(eventually($answered), 'the question outlives its client');

is(($t->workers())[0], $worker, 'the worker lives');
