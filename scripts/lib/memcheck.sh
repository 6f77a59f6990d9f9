# shellcheck shell=bash disable=SC2154 # target is common.sh's, nginx_… and vendored_… are nginx.sh's
# NGINX and the module as valgrind sees most of them, the tests in it, and what valgrind has found.

memcheck_logs=$target/memcheck/logs

# Hit, miss, wait and refusal, every kind of answer, verified ones too, redirects, aborts, header surgery, request
# bodies, reload.
# shellcheck disable=SC2034 # scripts/memcheck uses it
memcheck_files=(
    answers.t bodies.t cache.t credentials.t h2.t headers.t jwks_file.t moves.t redirects.t refusals.t
    reload.t satisfy.t single_flight.t translate.t variables.t
)

need_memcheck_tools() {
    need perl has_command prove
    need valgrind has_command valgrind
    # valgrind puts its own functions in the place of libc's, and needs their names.
    need libc6-dbg has_command valgrind
}

# Sets nginx_source and nginx_binary.
memcheck_nginx() {
    local index
    # With NGX_DEBUG_PALLOC a pool takes every piece from malloc, so that each has its own bounds and
    # its own life. Only the code that allocates changes, no structure: a module does not notice.
    for index in "${!vendored_options[@]}"; do
        case ${vendored_options[index]} in
            --with-cc-opt=*) vendored_options[index]='--with-cc-opt=-O1 -g -DNGX_DEBUG_PALLOC=1' ;;
        esac
    done
    nginx_from_crate memcheck
}

# The module as it is shipped, with line numbers. Prints its path.
memcheck_module() {
    local built
    built=$(
        CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none \
            "$scripts/build" --source "$nginx_source"
    ) || exit
    sed -n 's/^module=//p' <<<"$built" | tail -n 1
}

# memcheck_prove MODULE FILE…
memcheck_prove() {
    local module=$1
    shift
    rm -rf "$memcheck_logs"
    mkdir -p "$memcheck_logs"
    (
        cd "$root" || exit
        export MEMCHECK_NGINX=$nginx_binary MEMCHECK_LOGS=$memcheck_logs
        export MEMCHECK_SUPPRESSIONS=$root/scripts/lib/memcheck.supp
        # valgrind has a hard limit of its own, and refuses to raise it.
        export TEST_NGINX_EXPECTED_ALERTS='setrlimit\(RLIMIT_NOFILE, \d+\) failed'
        TEST_NGINX_BINARY=$root/scripts/lib/memcheck-nginx TEST_NGINX_MODULE=$module \
            TEST_NGINX_TIMEOUT_SCALE=6 prove -j2 --timer -I t/lib "$@"
    )
}

# Prints what the logs have between markers, each stack once; fails if there is anything, or no log.
memcheck_findings() {
    local logs=("$memcheck_logs"/*)
    [ -f "${logs[0]}" ] || die "no log in $memcheck_logs: valgrind did not run"
    awk '
        { sub(/^==[0-9]+== ?/, "") }
        /^BEGIN$/ { inside = 1; title = stack = ""; next }
        /^END$/ {
            inside = 0
            if (!found[stack]++) {
                file = FILENAME
                sub(/.*\//, "", file)
                text[stack] = title "\n" stack "    first in " file
            }
            next
        }
        inside && title == "" { title = $0; next }
        inside { gsub(/0x[0-9A-F]+: /, ""); if (NF) stack = stack $0 "\n" }
        END {
            for (stack in text) printf "\n%s, %d times\n", text[stack], found[stack]
            exit length(text) > 0
        }
    ' "${logs[@]}"
}
