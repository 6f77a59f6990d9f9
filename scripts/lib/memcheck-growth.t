#!/usr/bin/perl

# Under valgrind: what a worker holds after a hundred requests of a kind is what it holds after ten. A worker is
# aborted, for then pools are not destroyed first: what leaks into the pool of a cycle, or stays behind in a
# list, would be gone at an orderly end.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

BEGIN { use FindBin; chdir "$FindBin::Bin/../../t"; }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::HTTP2;
use Test::PhantomToken;

my $logs = $ENV{MEMCHECK_LOGS} or die "this needs NGINX under valgrind: run scripts/memcheck\n";

my ($FEW, $MANY) = (10, 100);

my $t = Test::Nginx->new()->has(qw(http proxy http_v2));

# Without the debug log, which would make waiting for a line in it slow.
$t->write_file_expand('nginx.conf', <<"CONF" . <<'CONF');
load_module $ENV{TEST_NGINX_MODULE};
CONF
pid %%TESTDIR%%/nginx.pid;
error_log %%TESTDIR%%/error.log notice;
daemon off;
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    phantom_token on;
    phantom_token_introspection_endpoint /introspect;
    add_header Outcome "$phantom_token_cache_status,$phantom_token_error" always;

    server {
        listen 127.0.0.1:8080;
        http2 on;

        location / { proxy_pass http://127.0.0.1:8082; }
        location = /barrier { phantom_token off; return 204; }
        location /logged { proxy_set_header X-Token $phantom_token_fingerprint; proxy_pass http://127.0.0.1:8082; }
        location /claim { proxy_set_header X-Subject $phantom_token_claim_sub; proxy_pass http://127.0.0.1:8082; }
        location /cookie { phantom_token on token=$cookie_session; proxy_pass http://127.0.0.1:8082; }
        location /short { phantom_token_lock_timeout 1ms; proxy_pass http://127.0.0.1:8082; }
        location /moved { try_files /nothing /there; }
        location /there { proxy_pass http://127.0.0.1:8082; }
        location /page { error_page 401 502 = @page; proxy_pass http://127.0.0.1:8082; }
        location @page { phantom_token off; return 200 page; }
        location /any { satisfy any; allow all; proxy_pass http://127.0.0.1:8082; }
        location /claims {
            phantom_token_forward claims;
            phantom_token_envelope unverified;
            phantom_token_envelope_header X-Envelope;
            proxy_set_header X-Subject $phantom_token_claim_sub;
            proxy_set_header X-Audience $phantom_token_claim_aud;
            proxy_pass http://127.0.0.1:8082;
        }
        location /exchange { phantom_token_exchange /introspect audience=api; proxy_pass http://127.0.0.1:8082; }
        location /confirmed { phantom_token_cache_refresh 20ms; proxy_pass http://127.0.0.1:8082; }
        location /stale {
            phantom_token_cache_max_ttl 1ms;
            phantom_token_cache_use_stale 1d;
            proxy_pass http://127.0.0.1:8082;
        }
        location /down {
            phantom_token_introspection_endpoint /introspect_down;
            proxy_pass http://127.0.0.1:8082;
        }

        location = /introspect { internal; proxy_pass http://127.0.0.1:8081; }
        location = /introspect_down { internal; proxy_pass http://127.0.0.1:8099; }
    }
}
CONF

my $as = authorization_server($t);
my $api = api($t);
my $jwt = jwt(size => 1_200, claims => { exp => time + 86_400 });

# A token that the server answers so about, for good or at first. These thousands are not looked for in logs: other
# files do that.
sub answered {
    my (@answers) = @_;
    my $token = Test::PhantomToken::JWT::opaque_token();
    $as->script($token, @answers) if @answers;
    return $token;
}

sub active { return answered($as->jwt_answer($jwt, @_)) }

# Returns when the worker has taken up what was sent before, closed connections among it.
sub barrier {
    http_request('GET', '/barrier') for 1 .. 2;
    return;
}

# A request that is not answered yet, on a connection of its own; and an HTTP/2 connection with one.

sub start {
    my ($uri, $token) = @_;
    return http_connection()->request('GET', $uri, headers => [Authorization => "Bearer $token"]);
}

sub start_h2 {
    my ($uri, $token) = @_;
    my $connection = Test::Nginx::HTTP2->new();
    return ($connection, $connection->request('GET', $uri, headers => [Authorization => "Bearer $token"]));
}

# The clients of a question go away in some manner, then its answer arrives and is kept.
sub aborted {
    my ($leave) = @_;
    my $token = active(hold => 1);
    my $rest = $leave->($token) // sub {};
    barrier();
    $as->release($token);
    $rest->();
    return call_until(sub { $_[0]->header('Outcome') eq 'HIT,' }, '/', $token);
}

# One request of each kind, which may be with the cached token of the worker, and how it comes out: the status, what
# the cache says and the slug.
my %requests = (
    'hit' => ['200 HIT,', sub { call('/', $_[0]) }],
    'hit, with the fingerprint' => ['200 HIT,', sub { call('/logged', $_[0]) }],
    'hit, with a claim' => ['200 HIT,', sub { call('/claim', $_[0]) }],
    'hit, token in a cookie' => ['200 MISS,', sub {
        call('/cookie', undef, headers => [Cookie => 'a=1; session=' . active() . '; b=2']);
    }],
    'hit, try_files' => ['200 HIT,', sub { call('/moved', $_[0]) }],
    'miss' => ['200 MISS,', sub { call('/', active()) }],
    'miss, JSON' => ['200 MISS,', sub {
        call('/', answered($as->json_answer({ active => \1, jwt => $jwt })));
    }],
    'miss, error page' => ['200 MISS,inactive', sub { call('/page', answered()) }],
    'claims' => ['200 MISS,', sub {
        call('/claims', answered($as->json_answer('{"active":true,"sub":"alice","aud":["a b","c"],"exp":99999999999}')));
    }],
    'envelope' => ['200 MISS,', sub {
        call('/claims', answered($as->envelope_answer(Test::PhantomToken::JWT::envelope({ active => \1 }))));
    }],
    'exchange' => ['200 MISS,', sub {
        my $token = Test::PhantomToken::JWT::opaque_token();
        $as->script($token, $as->exchange_answer($jwt));
        call('/exchange', $token);
    }],
    'confirmed' => ['200 HIT,', sub {
        my $token = active();
        call('/confirmed', $token);
        call_until(sub { $as->questions($token) > 1 }, '/confirmed', $token);
        call('/', $token);
    }],
    'stale' => ['200 STALE,', sub {
        my $token = answered($as->jwt_answer($jwt), { status => 500 });
        call('/stale', $token);
        call_until(sub { $_[0]->header('Outcome') eq 'STALE,' }, '/stale', $token);
    }],
    'no token' => ['401 ,no_credentials', sub { call('/', undef) }],
    'no token, satisfy any' => ['200 ,', sub { call('/any', undef) }],
    'malformed' => ['401 ,malformed', sub { call('/', 'a b') }],
    'two tokens' => ['400 ,several_tokens', sub { call('/?access_token=x', $_[0]) }],
    'inactive' => ['401 MISS,inactive', sub { call('/', answered()) }],
    'known to be inactive' => ['401 NEGATIVE,inactive', sub {
        my $token = answered();
        call('/', $token);
        call('/', $token);
    }],
    'no JWT in the answer' => ['502 MISS,server_bad_answer', sub {
        call('/', answered($as->json_answer('{"active":true,"jwt":"x"}')));
    }],
    # Asked no more when it has failed often enough.
    'server down' => ['502 (?:MISS)?,server_unreachable', sub { call('/down', answered()) }],
    'preflight' => ['204 ,', sub {
        call('/', undef, method => 'OPTIONS',
            headers => [Origin => 'https://a.example', 'Access-Control-Request-Method' => 'GET']);
    }],
    'wait' => ['200 WAIT,', sub {
        my $token = active(hold => 1);
        my @clients = start('/', $token);
        $as->wait_for_question($token, 1);
        push @clients, start('/', $token);
        barrier();
        $as->release($token);
        return (map { $_->response() } @clients)[-1];
    }],
    'wait in vain' => ['503 WAIT,overload', sub {
        my $token = active(hold => 1);
        my $client = start('/', $token);
        $as->wait_for_question($token, 1);
        my $response = call('/short', $token);
        $as->release($token);
        $client->response();
        return $response;
    }],
    'aborted while asking' => ['200 HIT,', sub {
        aborted(sub {
            my $client = start('/', $_[0]);
            $as->wait_for_question($_[0], 1);
            $client->abort();
            return;
        });
    }],
    'aborted while waiting' => ['200 HIT,', sub {
        aborted(sub {
            my $client = start('/', $_[0]);
            $as->wait_for_question($_[0], 1);
            my $second = start('/', $_[0]);
            barrier();
            $second->abort();
            return sub { $client->response() };
        });
    }],
    'stream reset while asking' => ['200 HIT,', sub {
        aborted(sub {
            my ($client, $stream) = start_h2('/', $_[0]);
            $as->wait_for_question($_[0], 1);
            $client->reset($stream)->ping();
            return sub { $client->close() };
        });
    }],
);

$t->plan(3 * keys %requests)->expect_alerts(qr/worker process \d+ exited on signal 6/);
$t->run();

# Returns when a process has nothing left to do.
sub idle {
    my ($pid) = @_;

    while (1) {
        open my $file, '<', "/proc/$pid/stat" or die "no process $pid: $!";
        return if <$file> =~ /\) S /;
        sleep 0.01;
    }
}

# What a worker of its own holds after so many requests of a kind, in blocks and bytes, and how the last one came out.
sub after {
    my ($count, $request) = @_;

    $t->wait_for_workers(1) or die 'no worker';
    my ($worker) = $t->workers();
    my ($token, $response) = active();
    call('/', $token);
    $response = $request->($token) for 1 .. $count;
    barrier();
    idle($worker);
    kill ABRT => $worker;
    $t->wait_for_log(qr/worker process $worker exited on signal 6/) or die 'the worker does not end';

    open my $log, '<', "$logs/memcheck-growth.t.$worker" or die "no log of the worker: $!";
    local $/;
    my ($bytes, $blocks) = <$log> =~ /in use at exit: ([\d,]+) bytes in ([\d,]+) blocks/
        or die "nothing about the heap in the log of worker $worker";
    tr/,//d for $bytes, $blocks;
    return ($blocks, $bytes, $response->status() . ' ' . $response->header('Outcome'));
}

for my $kind (sort keys %requests) {
    my ($expected, $request) = @{ $requests{$kind} };
    my ($blocks, $bytes) = after($FEW, $request);
    my ($more_blocks, $more_bytes, $outcome) = after($MANY, $request);
    like($outcome, qr/\A$expected\z/, "$kind: how it comes out");

    # A worker may have needed something once that it keeps, but not for every tenth request.
    my $allowed = ($MANY - $FEW) / 10;
    cmp_ok($more_blocks - $blocks, '<', $allowed, "$kind: blocks ($blocks, $more_blocks)");
    cmp_ok($more_bytes - $bytes, '<', $allowed * 64, "$kind: bytes ($bytes, $more_bytes)");
}
