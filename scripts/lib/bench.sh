# shellcheck shell=bash disable=SC2154 # root and target are common.sh's
# What scripts/bench needs beside NGINX and the module.

need_bench_tools() {
    need python3 has_command python3
    need strace has_command strace
    need util-linux has_command setpriv
    need valgrind has_command valgrind
    # For the names of functions within libc.
    need libc6-dbg has_command valgrind
    need wrk has_command wrk
}

# Builds the core's benchmark and prints its path.
core_benchmark() {
    local log=$target/check/bench.log messages executable
    say "building the core's benchmark"
    mkdir -p "${log%/*}"
    if ! messages=$(
        cd "$root"
        CARGO_TARGET_DIR=$target/check cargo bench --quiet --locked -p phantom-token-core \
            --bench cache --no-run --message-format=json 2>"$log"
    ); then
        tail -n 30 "$log" >&2
        die "cannot build the core's benchmark; see $log"
    fi
    executable=$(grep -oE '"executable":"[^"]*/cache-[^"/]*"' <<<"$messages") ||
        die "cargo does not say where the core's benchmark is"
    executable=${executable#*:\"}
    printf '%s\n' "${executable%\"}"
}
