# shellcheck shell=bash disable=SC2154 # root and target are common.sh's
# What a script needs of the system: looked for by use, not by package, so that any distribution
# will do; what is missing is installed by apt (as root) or named.

missing_packages=()
# For all that apt is asked.
apt_options=()

# need PACKAGE TEST…: notes Debian's package unless the test succeeds.
need() {
    local package=$1
    shift
    "$@" || missing_packages+=("$package")
}

# Installs what need() noted, or names it and stops.
install_missing() {
    ((${#missing_packages[@]})) || return 0
    local names=${missing_packages[*]}
    missing_packages=()
# For all that apt is asked.
apt_options=()
    if ! has_command apt-get; then
        die "missing (Debian's package names): $names; install them and try again"
    fi
    if [ "$(id -u)" != 0 ]; then
        die "missing packages: $names; install them (sudo apt-get install $names) and try again"
    fi
    say "installing $names"
    # shellcheck disable=SC2086 # one word per package
    apt_get install --yes --no-install-recommends $names ||
        die "cannot install $names by apt; see $target/apt.log"
}

# apt_get ARGUMENT…: apt-get without questions; on failure once more with fresh package lists,
# since a new machine has none and an old one may name packages that are gone.
apt_get() {
    local run=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    run+=("${apt_options[@]}")
    if ! quietly_apt "${run[@]}" "$@"; then
        if [ "$(id -u)" = 0 ]; then
            quietly_apt "${run[@]}" update || return 1
        fi
        logged "$target/apt.log" "${run[@]}" "$@"
    fi
}

quietly_apt() {
    mkdir -p "$target"
    "$@" >>"$target/apt.log" 2>&1 </dev/null
}

has_header() {
    printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <%s>\n' "$1" |
        cc -E -o /dev/null - >/dev/null 2>&1
}

# bindgen needs the library and clang's own headers (stddef.h), which are packaged apart.
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    first_match /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib -- \
        'libclang.so*' 'libclang-*.so*' &&
        first_match /usr/lib/llvm-*/lib/clang/* /usr/lib64/clang/* /usr/lib/clang/* \
            /usr/local/lib/clang/* -- include/stddef.h
}

# first_match DIRECTORY… -- PATTERN…: is there a file of such a name in one of the directories?
first_match() {
    local directories=() directory pattern
    while [ "$1" != -- ]; do
        directories+=("$1")
        shift
    done
    shift
    for directory in "${directories[@]}"; do
        for pattern; do
            compgen -G "$directory/$pattern" >/dev/null && return
        done
    done
    return 1
}

# The Rust toolchain is the user's to choose: it is never installed here.
need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
    if ! has_command cargo || ! has_command rustc; then
        die "no Rust toolchain found; install Rust $wanted or later (https://rustup.rs)"
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        die "Rust $found is too old; install $wanted or later (https://rustup.rs)"
    fi
}

# What it takes to configure and compile NGINX and to build the module for it.
need_build_tools() {
    need_rust
    need gcc has_command cc
    need libc6-dev has_header stdlib.h
    need make has_command make
    need binutils has_command nm
    need libclang-dev has_libclang
    need libpcre2-dev has_header pcre2.h
    need libssl-dev has_header openssl/ssl.h
    need zlib1g-dev has_header zlib.h
}
