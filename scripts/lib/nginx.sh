# shellcheck shell=bash disable=SC2154 # root and target are common.sh's
# The NGINX that a module is built for. Each function sets
#   nginx_name     the folder under target/ that belongs to it
#   nginx_binary   the executable
#   nginx_source   its source tree, configured: headers in src/, the configuration in objs/

# The release that nginx-sys 0.5 builds, from the sources within the crate nginx-src.
vendored_version=1.28.3
vendored_options=(
    --with-compat
    --with-debug
    --with-threads
    --with-http_auth_request_module
    --with-http_gunzip_module
    --with-http_realip_module
    --with-http_ssl_module
    --with-http_v2_module
    --with-http_v3_module
    --with-cc-opt=-O2
)

# nginx_from_crate [VARIANT]: with other vendored_options, a folder of that name of its own.
nginx_from_crate() {
    nginx_name=nginx-$vendored_version${1:+-$1}
    nginx_source=$target/$nginx_name/source
    nginx_binary=$nginx_source/objs/nginx
    local log=$target/$nginx_name/build.log crate stamp version

    crate=$(vendored_crate)
    version=$(headers_version "$crate/nginx")
    if [ "$version" != "$vendored_version" ]; then
        die "Cargo.lock's nginx-src carries NGINX $version, not $vendored_version; set it back" \
            "(cargo update -p nginx-src --precise …) or change scripts/lib/nginx.sh"
    fi

    stamp="${crate##*/} ${vendored_options[*]} $(cc --version | head -n 1) $(uname -m)"
    if [ -x "$nginx_binary" ] && [ "$(cat "$nginx_source/.stamp" 2>/dev/null)" = "$stamp" ] &&
        "$nginx_binary" -v 2>/dev/null; then
        return
    fi

    say "building NGINX $vendored_version"
    rm -rf "$nginx_source" "$log"
    mkdir -p "$target/$nginx_name"
    cp -R "$crate/nginx" "$nginx_source"
    (
        cd "$nginx_source" &&
            logged "$log" ./auto/configure "${vendored_options[@]}" &&
            logged "$log" make -j "$(nproc 2>/dev/null || echo 2)" build
    ) || die "cannot build NGINX $vendored_version; see $log"
    version=$(binary_version "$nginx_binary")
    [ "$version" = "$vendored_version" ] ||
        die "built NGINX $vendored_version from ${crate##*/}, but it says that it is $version"
    printf '%s\n' "$stamp" >"$nginx_source/.stamp"
}

# Where cargo keeps the crate nginx-src. It is fetched for its NGINX sources, never compiled.
vendored_crate() {
    local host metadata manifest
    host=$(rustc -vV | sed -n 's/^host: //p')
    metadata=$(
        cd "$root"
        cargo metadata --quiet --locked --features vendored --format-version 1 \
            --filter-platform "$host"
    ) || die "cargo cannot tell where the crate nginx-src is; see its message above"
    manifest=$(grep -oE '"manifest_path":"[^"]*/nginx-src[^/"]*/Cargo\.toml"' <<<"$metadata") ||
        die "the crate nginx-src is not among the dependencies of the feature vendored"
    manifest=${manifest#*:\"}
    printf '%s\n' "${manifest%/Cargo.toml\"}"
}

# nginx_from_tree DIRECTORY [BINARY]: a configured source tree; the binary is the one built in it
# unless another is named (a package's, built from the same sources).
nginx_from_tree() {
    [ -f "$1/src/core/nginx.h" ] || die "$1 is not an NGINX source tree: it has no src/core/nginx.h"
    nginx_source=$(cd "$1" && pwd)
    if [ ! -f "$nginx_source/objs/ngx_auto_config.h" ] || [ ! -f "$nginx_source/objs/Makefile" ]; then
        die "$nginx_source is not configured: run ./configure there, with the arguments that" \
            "nginx -V shows"
    fi
    nginx_binary=${2:-$nginx_source/objs/nginx}
    [ -x "$nginx_binary" ] || die "$nginx_binary is missing: run make in $nginx_source, or name" \
        "the binary that was built from these sources with --nginx PATH"
    nginx_binary=$(realpath "$nginx_binary")
    case $nginx_source in
        "$target"/*/source)
            nginx_name=${nginx_source#"$target"/}
            nginx_name=${nginx_name%/source}
            ;;
        *)
            nginx_name=source-$(headers_version "$nginx_source")-$(
                printf '%s' "$nginx_source" | cksum | cut -d ' ' -f 1
            )
            ;;
    esac
}

# nginx_from_binary PATH: an installed NGINX, with the headers that its distribution has for it;
# never upstream's instead: a distribution's patches change structures that the module signature
# does not cover.
nginx_from_binary() {
    if [ ! -f "$1" ] || [ ! -x "$1" ]; then
        die "$1 is not an executable file"
    fi
    local directory release
    nginx_binary=$(realpath "$1")
    [ -n "$(binary_version "$nginx_binary")" ] ||
        die "$nginx_binary does not say its version as NGINX does (nginx -v); does it run here?"
    directory=$(dirname "$nginx_binary")
    if [ -f "$directory/ngx_auto_config.h" ] && [ "${directory##*/}" = objs ]; then
        nginx_from_tree "$(dirname "$directory")"
        return
    fi

    release=$(package_release "$nginx_binary")
    if [ -z "$release" ]; then
        die "$nginx_binary belongs to no Debian package, so its headers are not to be had: name" \
            "the source tree that it was built from with --source DIR"
    fi
    nginx_name=debian-nginx-$release
    nginx_source=$target/$nginx_name/source
    configured_headers "$release"
}

# The release (version and Debian revision) of the package that a binary came in: installed, or
# unpacked by `dpkg -x`. Nothing if it is no package's.
package_release() {
    local owner changelog
    has_command dpkg-query || return 0
    if owner=$(dpkg-query --search "$1" 2>/dev/null); then
        # shellcheck disable=SC2016 # dpkg-query's variable
        dpkg-query --show --showformat '${source:Version}\n' "${owner%%:*}"
        return
    fi
    changelog=${1%/sbin/nginx}/share/doc/nginx/changelog.Debian.gz
    [ -f "$changelog" ] || return 0
    # The first line reads: nginx (1.22.1-9+deb12u1) bookworm; urgency=…
    gzip -dc "$changelog" | sed -n '1s/^[^ ]* (\([^)]*\)).*/\1/p'
}

# configured_headers RELEASE: nginx-dev of exactly that release, copied and configured.
configured_headers() {
    local release=$1 log=$target/$nginx_name/build.log from=/usr/share/nginx/src installed
    # shellcheck disable=SC2016 # dpkg-query's variable
    installed=$(dpkg-query --show --showformat '${Version}' nginx-dev 2>/dev/null) || true
    [ -f "$nginx_source/.configured" ] && return

    if [ "$installed" != "$release" ] || [ ! -f $from/conf_flags ]; then
        from=$target/$nginx_name/nginx-dev/usr/share/nginx/src
        if ! download_package nginx-dev "$release" "$target/$nginx_name/nginx-dev"; then
            die "apt has no nginx-dev=$release, the headers of $nginx_binary. If apt offers a later" \
                "release, upgrade nginx; packages of nginx.org have no headers: name the source" \
                "tree that they were built from, configured with the arguments that nginx -V" \
                "shows, as --source DIR --nginx $nginx_binary"
        fi
    fi
    if grep -q dpkg-architecture "$from/conf_flags"; then
        need dpkg-dev has_command dpkg-architecture
        install_missing
    fi
    say "configuring the headers of NGINX $release"
    rm -rf "$nginx_source" "$log"
    mkdir -p "$target/$nginx_name"
    cp -R "$from" "$nginx_source"
    (
        cd "$nginx_source" || exit
        # The package's own list, as dh_nginx uses it for Debian's modules.
        # shellcheck source=/dev/null
        . ./conf_flags || exit
        logged "$log" bash ./configure "${NGX_CONF_FLAGS[@]}" --with-cc-opt='-g -O2 -fPIC'
    ) || die "cannot configure the headers of NGINX $release; see $log"
    : >"$nginx_source/.configured"
}

# The oldest NGINX that the module is built for.
oldest_version=1.22.0

# distribution_release: prints the release of the NGINX that Debian or Ubuntu has for this machine, if it is one that
# the module can be built for, with its headers.
distribution_release() {
    local release version
    has_command apt-cache || return 0
    release=$(candidate nginx)
    if [ -z "$release" ] && [ "$(id -u)" = 0 ]; then
        apt_get update || die "apt cannot fetch its package lists; see $target/apt.log"
        release=$(candidate nginx)
    fi
    version=${release#*:}
    version=${version%%-*}
    [ -n "$version" ] && [ "$(candidate nginx-dev)" = "$release" ] || return 0
    [ "$(printf '%s\n' $oldest_version "$version" | sort -V | head -n 1)" = $oldest_version ] || return 0
    printf '%s\n' "$release"
}

# distribution_nginx: prints the path of the distribution's NGINX, unpacked and not installed: installing it would
# start a server on port 80.
distribution_nginx() {
    local release unpacked
    release=$(distribution_release)
    [ -n "$release" ] ||
        absent "apt has no nginx $oldest_version or later with its headers (nginx-dev) here"
    unpacked=$target/debian-nginx-$release/package
    if [ ! -x "$unpacked/usr/sbin/nginx" ]; then
        say "fetching the distribution's nginx $release"
        download_package nginx "$release" "$unpacked" ||
            die "cannot fetch nginx=$release by apt; see $target/apt.log"
    fi
    printf '%s\n' "$unpacked/usr/sbin/nginx"
}

# The release of a package that apt would install.
candidate() {
    LC_ALL=C apt-cache "${apt_options[@]}" policy "$1" | sed -n 's/^  Candidate: //p' | grep -v '(none)' || true
}

# download_package NAME RELEASE DIRECTORY: unpacks a package there without installing it.
download_package() {
    local directory=$3 archives
    has_command apt-get || return 1
    archives=$directory.deb.$$
    rm -rf "$archives" "$directory"
    mkdir -p "$archives"
    (
        # Fetched as the user who runs this: apt's own user may not write here.
        cd "$archives" &&
            apt_get -o APT::Sandbox::User="$(id -un)" download "$1=$2" &&
            dpkg -x ./*.deb "$directory.new" &&
            mv "$directory.new" "$directory"
    )
    local status=$?
    rm -rf "$archives"
    return $status
}

headers_version() {
    sed -n 's/^#define NGINX_VERSION  *"\(.*\)"$/\1/p' "$1/src/core/nginx.h"
}

binary_version() {
    "$1" -v 2>&1 | sed -n 's#^nginx version: [^/]*/\([0-9.]*\).*#\1#p'
}
