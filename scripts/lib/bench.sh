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
    built_by_cargo "the core's benchmark" 'cache-[^"/]*' bench --bench cache --no-run
}

# The same of what signs JWTs and proofs.
signer() {
    built_by_cargo 'what signs' signer build --release --example signer
}

# built_by_cargo WHAT EXECUTABLE COMMAND…: builds in the core what COMMAND says, and prints the path of the
# executable of that name.
built_by_cargo() {
    local what=$1 name=$2 command=$3 log=$target/check/bench.log messages executable
    shift 3
    say "building $what"
    mkdir -p "${log%/*}"
    if ! messages=$(
        cd "$root"
        CARGO_TARGET_DIR=$target/check cargo "$command" --quiet --locked -p phantom-token-core \
            "$@" --message-format=json 2>"$log"
    ); then
        tail -n 30 "$log" >&2
        die "cannot build $what; see $log"
    fi
    executable=$(grep -oE "\"executable\":\"[^\"]*/$name\"" <<<"$messages") ||
        die "cargo does not say where $what is"
    executable=${executable#*:\"}
    printf '%s\n' "${executable%\"}"
}
