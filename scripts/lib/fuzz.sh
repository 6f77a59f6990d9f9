# shellcheck shell=bash disable=SC2154 # root and target are common.sh's
# How the targets of fuzz/ are built and run. What cargo-fuzz does with nightly Rust and a sanitizer is
# done here with stable Rust and without: coverage is a pass of LLVM that any rustc has, and the code
# under test has next to no unsafe blocks for a sanitizer to watch.

fuzz_host=$(rustc -vV 2>/dev/null | sed -n 's/^host: //p') || true
fuzz_binaries=$target/fuzz/cargo/$fuzz_host/release
# An input that takes 5 s, or a gigabyte, is a finding.
fuzz_limits=(-timeout=5 -rss_limit_mb=1024)

fuzz_targets() {
    local file
    for file in "$root"/fuzz/fuzz_targets/*.rs; do
        basename "$file" .rs
    done
}

need_fuzz_tools() {
    need_rust
    need gcc has_command cc
    # libFuzzer comes as source.
    need g++ has_command c++
}

# build_fuzz_targets TARGET…
build_fuzz_targets() {
    local bins=("${@/#/--bin=}") quiet=--quiet flags=(
        # Counters on edges, and operands of comparisons: what libFuzzer steers by.
        -Cpasses=sancov-module
        -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares
        # Branches that are folded into one could not be told apart.
        -Cllvm-args=-simplifycfg-branch-fold-threshold=0
        -Ccodegen-units=1
        --cfg=fuzzing
    )
    [ ! -t 2 ] || quiet=
    say 'building the fuzz targets'
    # With --target the flags are not those of build scripts and macros, which are not to be watched.
    (
        cd "$root/fuzz" &&
            RUSTFLAGS=${flags[*]} CARGO_TARGET_DIR=$target/fuzz/cargo \
                cargo build ${quiet:+"$quiet"} --release --locked --target "$fuzz_host" \
                "${bins[@]}" >&2
    ) || die "cargo cannot build the fuzz targets; see its messages above"
}

# fuzz_one TARGET SECONDS: prints one line, or what was found and how to see it again.
fuzz_one() {
    local name=$1 seconds=$2 status=0 artifact
    local corpus=$target/fuzz/corpus/$name artifacts=$target/fuzz/artifacts/$name log=$target/fuzz/$name.log
    local directories=("$corpus")
    [ ! -d "$root/fuzz/seeds/$name" ] || directories+=("$root/fuzz/seeds/$name")
    mkdir -p "$corpus" "$artifacts"
    "$fuzz_binaries/$name" "${directories[@]}" "${fuzz_limits[@]}" -max_total_time="$seconds" \
        -dict="$root/fuzz/dictionary" -artifact_prefix="$artifacts/" -print_final_stats=1 \
        >"$log" 2>&1 </dev/null || status=$?
    if [ $status = 0 ]; then
        printf '%-16s %s runs, %s edges, %s inputs kept\n' "$name" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
            "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)" \
            "$(find "$corpus" -type f | wc -l)"
        return
    fi
    artifact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    say "$name ended with status $status; from $log:"
    grep -a -A 2 -e 'panicked at' -e 'ERROR: libFuzzer' "$log" | cut -c -400 | sed 's/^/    /' >&2 ||
        tail -n 20 "$log" | sed 's/^/    /' >&2
    [ -z "$artifact" ] || say "the input: $artifact
to see it again: scripts/fuzz --input $artifact $name"
    return 1
}
