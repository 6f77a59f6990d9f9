package Test::Nginx;

# Starts, reloads and stops the NGINX under test, and checks its error log at the end.
#
# Names and environment variables are those of the nginx-tests library, as far as this one goes.

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use POSIX qw(WNOHANG);
use Test::More ();
use Time::HiRes qw(sleep time);

use Test::Nginx::HTTP;
use Test::Nginx::Leaks qw(leaks);
use Test::Nginx::Ports qw(port);
use Test::Nginx::Timeout qw($TIMEOUT);

our @EXPORT = (@Test::Nginx::HTTP::EXPORT, qw(port));

# The tests at the end that every file gets beside those that it counts.
my $IMPLICIT = 3;

# What is built unless it is switched off, and what only if it is switched on.
my %WITHOUT = map { $_ => "--without-http_${_}_module" } qw(
    access auth_basic fastcgi grpc gzip limit_req limit_conn map mirror proxy rewrite scgi split_clients ssi
    uwsgi
);
my %WITH = map { $_ => "--with-http_${_}_module" } qw(
    auth_request gunzip realip slice ssl stub_status v2 v3
);

my (@instances, @secrets);

sub new {
    my ($class) = @_;

    my $binary = $ENV{TEST_NGINX_BINARY}
        or croak 'TEST_NGINX_BINARY is not set: run scripts/build, it prints the path';
    my $version = `$binary -V 2>&1`;
    croak "cannot run $binary" unless $version =~ m{^nginx version: nginx/(\d+\.\d+\.\d+)}m;

    # Workers run without privileges and have to reach their files.
    my $directory = tempdir('nginx-test-XXXXXXXXXX', TMPDIR => 1);
    chmod 0755, $directory;

    my $self = bless {
        binary => abs_path($binary), version => $1, configuration => $version, pid => undef, owner => $$,
        directory => abs_path($directory), daemons => [], expected => [],
    }, $class;

    # The end of the test, however it comes, stops what was started.
    $SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

    push @instances, $self;
    return $self;
}

# What this NGINX is.

# Skips the whole file unless NGINX was built with all of these: "http", "proxy", "http_v2", "auth_request" ...
sub has {
    my ($self, @features) = @_;

    for my $feature (@features) {
        Test::More::plan(skip_all => "no $feature available") unless $self->has_module($feature);
    }

    return $self;
}

sub has_module {
    my ($self, $feature) = @_;

    return 1 if $feature eq 'http';
    return $self->{configuration} =~ /--with-$feature\b/ if $feature eq 'debug' || $feature eq 'threads';

    (my $name = $feature) =~ s/^http_//;
    return $self->{configuration} !~ /\Q$WITHOUT{$name}\E\b/ if $WITHOUT{$name};
    return $self->{configuration} =~ /\Q$WITH{$name}\E\b/ if $WITH{$name};
    croak "unknown feature $feature";
}

sub has_version {
    my ($self, $wanted) = @_;

    my @have = split /\./, $self->{version};
    my @want = split /\./, $wanted;

    for my $i (0 .. 2) {
        return $have[$i] > ($want[$i] // 0) if $have[$i] != ($want[$i] // 0);
    }

    return 1;
}

# The number of tests, without those that every file gets at its end.
sub plan {
    my ($self, $tests) = @_;
    Test::More::plan(tests => $tests + $IMPLICIT);
    return $self;
}

# Files.

sub testdir { return $_[0]{directory} }

sub write_file {
    my ($self, $name, $content) = @_;

    my $path = "$self->{directory}/$name";
    open my $file, '>:raw', $path or croak "cannot write $path: $!";
    print {$file} $content or croak "cannot write $path: $!";
    close $file or croak "cannot write $path: $!";
    return $self;
}

# With %%TEST_GLOBALS%%, %%TEST_GLOBALS_HTTP%%, %%TESTDIR%%, %%PORT_8080%% and 127.0.0.1:8xxx replaced.
sub write_file_expand {
    my ($self, $name, $content) = @_;
    return $self->write_file($name, $self->_expand($content, 'error.log'));
}

sub read_file {
    my ($self, $name) = @_;

    my $path = "$self->{directory}/$name";
    open my $file, '<:raw', $path or croak "cannot read $path: $!";
    local $/;
    return scalar <$file> // '';
}

sub _expand {
    my ($self, $content, $log) = @_;

    my %values = (
        TESTDIR => $self->{directory},
        TEST_GLOBALS => $self->_globals($log),
        TEST_GLOBALS_HTTP => $self->_globals_http(),
    );

    $content =~ s/%%(TEST\w+)%%/$values{$1} \/\/ croak "unknown %%$1%%"/ge;
    $content =~ s/%%PORT_(\d+)%%/port($1)/ge;
    $content =~ s/127\.0\.0\.1:(8\d\d\d)\b/'127.0.0.1:' . port($1)/ge;
    return $content;
}

sub _globals {
    my ($self, $log) = @_;

    my $level = $self->has_module('debug') ? 'debug' : 'info';
    my $globals = "pid $self->{directory}/nginx.pid;\nerror_log $self->{directory}/$log $level;\n"
        . "env RUST_BACKTRACE;\n";
    $globals .= 'load_module ' . abs_path($ENV{TEST_NGINX_MODULE}) . ";\n" if $ENV{TEST_NGINX_MODULE};
    return $globals . ($ENV{TEST_NGINX_GLOBALS} // '');
}

sub _globals_http {
    my ($self) = @_;

    my $globals = "root $self->{directory};\naccess_log $self->{directory}/access.log;\n"
        . "client_body_temp_path $self->{directory}/client_body_temp;\n";

    for my $module (grep { $self->has_module($_) } qw(proxy fastcgi uwsgi scgi)) {
        $globals .= "${module}_temp_path $self->{directory}/${module}_temp;\n";
    }

    return $globals . ($ENV{TEST_NGINX_GLOBALS_HTTP} // '');
}

# Life cycle.

# Starts NGINX with nginx.conf, which says `daemon off`, and returns when it listens.
sub run {
    my ($self) = @_;
    $self->_start() or croak "nginx did not start:\n" . $self->_last_lines();
    return $self;
}

# As run(), but skips the file with that message if NGINX does not start.
sub try_run {
    my ($self, $message) = @_;
    $self->_start() or Test::More::plan(skip_all => $message);
    return $self;
}

sub _start {
    my ($self) = @_;

    my $pid = fork() // croak "cannot fork: $!";

    if ($pid == 0) {
        _die_with_parent();
        exec $self->{binary}, $self->_arguments('nginx.conf', 'error.log') or POSIX::_exit(127);
    }

    # NGINX writes its pid file once all sockets listen.
    my $started = _wait_until(
        sub { -s "$self->{directory}/nginx.pid" || waitpid($pid, WNOHANG) == $pid }
    ) && -s "$self->{directory}/nginx.pid";

    $self->{pid} = $pid if $started;
    return $started && $self->_all_workers();
}

# Whether all workers are started, and the log says so: workers() goes by it, and the first one of them may serve
# requests before.
sub _all_workers {
    my ($self) = @_;
    my ($count) = $self->read_file('nginx.conf') =~ /^\s*worker_processes\s+(\d+);/m;
    return $self->wait_for_workers($count // 1);
}

sub _arguments {
    my ($self, $conf, $log) = @_;
    return ('-p', "$self->{directory}/", '-c', "$self->{directory}/$conf", '-e', "$self->{directory}/$log");
}

# A test that is killed cannot stop its NGINX: let the kernel do it (Linux, prctl(PR_SET_PDEATHSIG)).
sub _die_with_parent {
    _prctl(1, POSIX::SIGTERM());
    return;
}

# prctl(2), where its number is known.
sub _prctl {
    my ($option, $value) = @_;
    my %prctl = (x86_64 => 157, aarch64 => 167);
    my $number = $prctl{ (POSIX::uname())[4] } // return;
    syscall $number, $option, $value, 0, 0, 0;
    return;
}

# As run(), for an nginx.conf that says `daemon on`: no other NGINX lets itself be upgraded.
sub run_detached {
    my ($self) = @_;

    # Whoever loses its parent becomes our child, so that its end can be waited for (PR_SET_CHILD_SUBREAPER).
    _prctl(36, 1);
    my $end = sub { kill TERM => grep { $_ } map { $self->_pid_in($_) } qw(nginx.pid nginx.pid.oldbin) };
    $self->run_daemon(sub { local $SIG{TERM} = sub { $end->(); POSIX::_exit(0) }; sleep 3600 while 1 });

    my $status = system $self->{binary}, $self->_arguments('nginx.conf', 'error.log');
    _wait_until(sub { $self->_pid_in('nginx.pid') }) if $status == 0;
    $self->{pid} = $self->_pid_in('nginx.pid') or croak "nginx did not start:\n" . $self->_last_lines();
    $self->_all_workers() or croak "workers did not start:\n" . $self->_last_lines();
    return $self;
}

sub _pid_in {
    my ($self, $name) = @_;
    return undef unless -s "$self->{directory}/$name";
    my ($pid) = (eval { $self->read_file($name) } // '') =~ /^(\d+)\n/;
    return $pid;
}

# Has the master start its binary once more, which takes over the sockets; the process ids of both masters.
sub upgrade {
    my ($self) = @_;

    my $old = $self->{pid};
    my $offset = length $self->read_file('error.log');
    kill USR2 => $old;
    my $new;
    _wait_until(sub {
        $new = $self->_pid_in('nginx.pid');
        return $new && $new != $old && substr($self->read_file('error.log'), $offset) =~ / $new#\d+: start worker process /;
    }) or croak "no new binary:\n" . $self->_last_lines();
    return ($old, $new);
}

# Ends one of two masters, gracefully; the other one is the master from now on.
sub end_master {
    my ($self, $end, $stay) = @_;

    $self->{pid} = $stay;
    kill QUIT => $end;
    # The new one is the old one's child, the old one ours.
    _wait_until(sub { waitpid($end, WNOHANG) == $end || !kill 0 => $end }) or croak "master $end does not exit";
    _wait_until(sub { ($self->_pid_in('nginx.pid') // 0) == $stay }) or croak "master $stay has no pid file";
    return $self;
}

# Waits, looking every hundredth of a second, until the condition holds; false if it never does.
sub _wait_until {
    my ($condition) = @_;

    my $deadline = time() + $TIMEOUT;

    until ($condition->()) {
        return 0 if time() > $deadline;
        sleep 0.01;
    }

    return 1;
}

# The text of `nginx -t` for this configuration, if NGINX refuses it: its [emerg] line without time and
# process; undef if it is accepted.
sub conf_fails {
    my ($self, $conf) = @_;

    $self->write_file('conf_test.conf', $self->_expand($conf, 'conf_test.log'));
    my ($status, $output) = $self->_nginx_t('conf_test');
    return undef if $status == 0;
    croak "nginx -t failed without [emerg]:\n$output" unless $output =~ /\[emerg\] (?:\d+#\d+: )?(.*)/;
    return $1;
}

# The [warn] lines of `nginx -t` for this configuration; dies if it is refused.
sub conf_warnings {
    my ($self, $conf) = @_;

    $self->write_file('conf_test.conf', $self->_expand($conf, 'conf_test.log'));
    my ($status, $output) = $self->_nginx_t('conf_test');
    croak "nginx -t failed:\n$output" if $status != 0;
    return $output =~ /\[warn\] (?:\d+#\d+: )?(.*)/g;
}

sub _nginx_t {
    my ($self, $name) = @_;

    my @command = ($self->{binary}, '-t', $self->_arguments("$name.conf", "$name.log"));
    my $pid = open(my $output, '-|') // croak "cannot fork: $!";

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec @command or POSIX::_exit(127);
    }

    local $/;
    my $text = <$output> // '';
    close $output;
    return ($?, $text);
}

# Reloads the configuration and returns when only new workers accept connections.
sub reload {
    my ($self) = @_;

    my $log = $self->read_file('error.log');
    my $offset = length $log;
    my @old = $self->workers();

    kill HUP => $self->{pid};

    my $done = _wait_until(sub {
        my $all = $self->read_file('error.log');
        croak "reload failed: $1" if substr($all, $offset) =~ /\[emerg\] (.*)/;
        # In all of it: one of an earlier reload may still be on its way out.
        return !grep { $all !~ /\[notice\] $_#\d+: gracefully shutting down/ } @old;
    });

    croak 'reload: the old workers do not stop' unless $done;
    $self->{old} = \@old;
    return $self;
}

# Waits until the workers that the last reload replaced are gone.
sub wait_old_workers {
    my ($self) = @_;

    for my $worker (@{ $self->{old} // [] }) {
        _wait_until(sub { $self->read_file('error.log') =~ /worker process $worker exited/ })
            or croak "worker $worker does not exit";
    }

    return $self;
}

# The process ids of the workers that now run.
sub workers {
    my ($self) = @_;

    my $log = $self->read_file('error.log');
    my %alive;

    while ($log =~ /start worker process (\d+)|worker process (\d+) exited/g) {
        $1 ? $alive{$1} = 1 : delete $alive{$2};
    }

    my @workers = sort { $a <=> $b } keys %alive;
    return @workers;
}

# Waits until that many workers run.
sub wait_for_workers {
    my ($self, $count) = @_;
    return _wait_until(sub { $self->workers() == $count });
}

# Sends a signal to the master.
sub signal {
    my ($self, $signal) = @_;
    kill $signal => $self->{pid};
    return $self;
}

# Waits until a file, which need not be there yet, has that many lines.
sub wait_for_file_lines {
    my ($self, $name, $count) = @_;
    return _wait_until(sub {
        my $text = -e "$self->{directory}/$name" ? $self->read_file($name) : '';
        return ($text =~ tr/\n//) >= $count;
    });
}

# Waits for a line in the error log (a regular expression), from an offset on.
sub wait_for_log {
    my ($self, $pattern, $offset) = @_;
    return _wait_until(sub { substr($self->read_file('error.log'), $offset // 0) =~ $pattern });
}

# Stops NGINX gracefully, and hard if it does not obey.
sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return $self;

    for my $signal (qw(QUIT TERM KILL)) {
        kill $signal => $pid;
        last if _wait_until(sub { waitpid($pid, WNOHANG) != 0 });
    }

    return $self;
}

# Runs a function in a process of its own until the end of the test.
sub run_daemon {
    my ($self, $code, @args) = @_;

    my $pid = fork() // croak "cannot fork: $!";

    if ($pid == 0) {
        _die_with_parent();
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        eval { $code->(@args); 1 } or warn $@;
        POSIX::_exit(0);
    }

    push @{ $self->{daemons} }, $pid;
    return $pid;
}

sub stop_daemons {
    my ($self) = @_;

    for my $pid (splice @{ $self->{daemons} }) {
        kill TERM => $pid;
        waitpid $pid, 0;
    }

    return $self;
}

# Waits until something listens on 127.0.0.1:port.
sub waitforsocket {
    my ($self, $address) = @_;
    return _wait_until(sub { IO::Socket::INET->new(Proto => 'tcp', PeerAddr => $address) });
}

# What must not happen.

# Texts that must not be in what our module logs, nor in any response. Part of a text counts as well.
sub secrets {
    my ($self, @texts) = @_;
    push @secrets, grep { length } @texts;
    return $self;
}

# Alerts that this test provokes.
sub expect_alerts {
    my ($self, @patterns) = @_;
    push @{ $self->{expected} }, @patterns;
    return $self;
}

sub alerts {
    my ($self) = @_;

    my @alerts = $self->_log() =~ /^(.*(?:\[alert\]|\[emerg\]|panicked at).*)$/mg;

    for my $pattern (@{ $self->{expected} }, $ENV{TEST_NGINX_EXPECTED_ALERTS} // ()) {
        @alerts = grep { $_ !~ $pattern } @alerts;
    }

    return @alerts;
}

# The lines of the error log that our module wrote. What NGINX adds to them of itself (client, server,
# request) is cut off.
sub module_lines {
    my ($self) = @_;
    return map { s/, client: .*//r } grep { /phantom_token/ } split /\n/, $self->_log();
}

# Those of them that came since the last call.
sub new_module_lines {
    my ($self) = @_;

    my @lines = $self->module_lines();
    my $seen = $self->{seen} // 0;
    $self->{seen} = @lines;
    return @lines[$seen .. $#lines];
}

sub _log {
    my ($self) = @_;
    return -e "$self->{directory}/error.log" ? $self->read_file('error.log') : '';
}

sub _last_lines {
    my ($self) = @_;
    my @lines = grep { !/\[debug\]/ } split /\n/, $self->_log();
    return join "\n", @lines > 20 ? @lines[-20 .. -1] : @lines;
}

sub _check {
    my ($self) = @_;

    my $log = $self->_log();
    my @sanitizer = $log =~ /^(.*(?:ERROR: \w*Sanitizer|runtime error: |SUMMARY: \w*Sanitizer).*)$/mg;
    my @leaks = leaks(\@secrets, $self->module_lines(), @Test::Nginx::Connection::received);

    Test::More::is(join("\n", $self->alerts()), '', 'no alerts');
    Test::More::is(join("\n", @sanitizer), '', 'no sanitizer errors');
    Test::More::is(join("\n", @leaks), '', 'no secrets in our log lines and in responses');
    return;
}

# Runs before Test::More sums up, since Test::More was loaded before.
END {
    my $status = $?;

    for my $self (grep { $_->{owner} == $$ } @instances) {
        my $ran = defined $self->{pid} || -e "$self->{directory}/error.log";
        $self->stop();
        $self->stop_daemons();

        my $builder = Test::More->builder();
        $self->_check() if $status == 0 && $builder->has_plan() && $builder->expected_tests();

        if ($ENV{TEST_NGINX_CATLOG} && $ran) {
            Test::More::diag($self->_log());
        }

        if ($ENV{TEST_NGINX_LEAVE}) {
            Test::More::diag("left: $self->{directory}");
        } else {
            remove_tree($self->{directory});
        }
    }

    $? = $status;
}

1;
