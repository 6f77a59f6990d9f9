# shellcheck shell=bash
# What every script here starts with: where things are, how to report, how to fail.

# A failure within $(…) counts.
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Everything that the scripts make or fetch lives here, nothing elsewhere in the clone.
# shellcheck disable=SC2034 # for the scripts that source this file
target=$root/target

# Progress goes to standard error: standard output is for what a caller reads.
say() {
    printf '%s\n' "$*" >&2
}

die() {
    printf 'scripts/%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# absent WHY: ends the script as something does that cannot be had on this machine.
absent() {
    printf 'scripts/%s: %s\n' "${0##*/}" "$*" >&2
    exit 3
}

has_command() {
    command -v "$1" >/dev/null 2>&1
}

# logged LOG COMMAND…: runs the command with its output in LOG; shows the end of LOG if it fails.
logged() {
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    printf '\n$ %s\n' "$*" >>"$log"
    if ! "$@" >>"$log" 2>&1 </dev/null; then
        say "failed: $*"
        say "the last lines of $log:"
        tail -n 30 "$log" | sed 's/^/    /' >&2
        return 1
    fi
}

# Replaces a file in one step: a running NGINX keeps the mapping of the old one.
put_in_place() {
    cp "$1" "$2.new.$$"
    mv -f "$2.new.$$" "$2"
}
