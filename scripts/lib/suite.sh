# shellcheck shell=bash disable=SC2154 # root and target are common.sh's, apt_get is packages.sh's
# NGINX of another suite of Debian than the one that runs here, with the libraries that it needs: fetched by apt from
# the mirror of this machine, checked by Debian's keys, unpacked and not installed.

suite_keys=/usr/share/keyrings/debian-archive-keyring.gpg
# All that Debian's nginx is linked against, itself or by way of these.
suite_libraries=(libc6 libcrypt1 libgcc-s1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g)

# suite_nginx SUITE: prints the path of that suite's NGINX, which runs here. Ends with status 3 if it cannot be had.
suite_nginx() {
    local suite=$1 release directory
    suite_sources "$suite"
    release=$(in_suite "$suite" candidate nginx)
    [ -n "$release" ] || absent "Debian $suite has no nginx"
    directory=$target/debian-nginx-$release
    if [ ! -x "$directory/package/usr/sbin/nginx" ]; then
        say "fetching nginx $release of Debian $suite, and its libraries"
        rm -rf "$directory/libraries" "$directory/package"
        for library in "${suite_libraries[@]}"; do
            in_suite "$suite" download_latest "$library" "$directory/libraries"
        done
        in_suite "$suite" download_package nginx "$release" "$directory/package.new" ||
            absent "cannot fetch nginx=$release; see $target/apt.log"
        use_libraries "$directory/package.new/usr/sbin/nginx" "$directory/libraries"
        mv "$directory/package.new" "$directory/package"
    fi
    printf '%s\n' "$directory/package/usr/sbin/nginx"
}

# Package lists of their own for a suite: nothing of the machine's is changed.
suite_sources() {
    local suite=$1 mirror
    has_command apt-get && [ -f $suite_keys ] ||
        absent "no apt with Debian's keys here, so the NGINX of Debian $suite is not to be had"
    [ -f "$target/apt-$suite/sources" ] && return
    # shellcheck disable=SC2016 # apt's variable
    mirror=$(
        apt-get indextargets --format '$(REPO_URI)' \
            'Created-By: Packages' 'Origin: Debian' 'Component: main' | head -n 1
    )
    [ -n "$mirror" ] || absent "this machine knows no mirror of Debian, for its NGINX of $suite"
    mkdir -p "$target/apt-$suite"/{lists/partial,archives/partial}
    : >"$target/apt-$suite/status"
    printf 'deb [signed-by=%s] %s %s main\n' $suite_keys "$mirror" "$suite" \
        >"$target/apt-$suite/sources.new"
    mv "$target/apt-$suite/sources.new" "$target/apt-$suite/sources"
    in_suite "$suite" apt_get update || {
        rm "$target/apt-$suite/sources"
        absent "apt cannot fetch the package lists of Debian $suite; see $target/apt.log"
    }
}

# in_suite SUITE COMMAND…: the command, where apt means that suite.
in_suite() {
    local own=$target/apt-$1 apt_options
    # shellcheck disable=SC2034 # the functions of packages.sh and nginx.sh use it
    apt_options=(
        -o "Dir::Etc::sourcelist=$own/sources" -o Dir::Etc::sourceparts=- -o "Dir::State=$own"
        -o "Dir::State::status=$own/status" -o "Dir::Cache=$own" -o Acquire::Languages=none
        -o "APT::Sandbox::User=$(id -un)"
    )
    shift
    "$@"
}

# download_latest NAME DIRECTORY: adds what is in a package to a directory.
download_latest() {
    local release
    release=$(candidate "$1")
    [ -n "$release" ] && download_package "$1" "$release" "$2.$1" ||
        absent "cannot fetch $1; see $target/apt.log"
    mkdir -p "$2"
    cp -R "$2.$1/." "$2"
    rm -rf "$2.$1"
}

# use_libraries BINARY DIRECTORY: has a binary run with these libraries, its loader among them.
use_libraries() {
    local loader
    loader=$(patchelf --print-interpreter "$1")
    loader=$(find "$2" -name "${loader##*/}" ! -type l)
    # A path for the libraries of the libraries as well, which RUNPATH is not.
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "${loader%/*}" "$1"
    [ -n "$(binary_version "$1")" ] ||
        absent "$1 does not run with the libraries in $2: it may need others than before"
}
