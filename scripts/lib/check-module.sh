# shellcheck shell=bash disable=SC2154 # nginx_… are nginx.sh's
# Will this NGINX load this module? Asked before NGINX is, to answer in words what it would refuse
# with "not binary compatible" or an undefined symbol.

# check_version: before a build, do the headers belong to the binary?
check_version() {
    local headers binary
    headers=$(headers_version "$nginx_source")
    binary=$(binary_version "$nginx_binary")
    case $binary in
        # Distributions of NGINX add a number of their own.
        "$headers" | "$headers".*) ;;
        '') die "$nginx_binary does not say its version (nginx -v); does it run here?" ;;
        *) die "the headers in $nginx_source are of NGINX $headers, but $nginx_binary is $binary:" \
            "NGINX loads only modules that were built for its own version" ;;
    esac
}

# check_signature MODULE: are both built with the same features, as far as these shape structures?
check_signature() {
    local module binary
    module=$(signature "$1")
    binary=$(signature "$nginx_binary")
    [ -n "$module" ] || die "found no module signature in $1"
    [ -n "$binary" ] || die "found no module signature in $nginx_binary"
    [ "$module" = "$binary" ] && return
    say "the module's signature is not that of $nginx_binary:"
    say "    module  $module"
    say "    nginx   $binary"
    explain_signatures "$module" "$binary"
    die "configure the headers with the arguments that nginx -V shows, and build again"
}

# Sizes of a pointer, an atomic and a time, then one digit per feature (src/core/ngx_module.h).
signature() {
    local found
    found=$(LC_ALL=C grep -aoE '[48],[48],[48],[01]{34,}' "$1") || true
    printf '%s\n' "${found%%$'\n'*}"
}

explain_signatures() {
    local module=${1##*,} binary=${2##*,} i condition
    if [ "${1%,*}" != "${2%,*}" ]; then
        say "    sizes of pointer, atomic and time differ: built for another processor"
    fi
    for ((i = 0; i < ${#module} || i < ${#binary}; i++)); do
        [ "${module:i:1}" = "${binary:i:1}" ] && continue
        condition=$(
            awk -v name="NGX_MODULE_SIGNATURE_$((i + 1))" \
                '/^#if/ { c = $0 } $2 == name { sub(/^#if */, "", c); print c; exit }' \
                "$nginx_source/src/core/ngx_module.h"
        )
        say "    ${condition:-feature $((i + 1))}: module ${module:i:1}, nginx ${binary:i:1}"
    done
}

# check_symbols MODULE: has the binary every function and variable of NGINX that the module uses?
check_symbols() {
    local absent
    absent=$(
        comm -23 \
            <(nm -D --undefined-only "$1" | ngx_symbols) \
            <(nm -D --defined-only "$nginx_binary" | ngx_symbols)
    )
    [ -z "$absent" ] && return
    say "the module uses what $nginx_binary does not have:"
    say "${absent//ngx_/    ngx_}"
    die "the headers in $nginx_source were configured with features that this nginx lacks, or" \
        "the binary was stripped of its dynamic symbols"
}

ngx_symbols() {
    sed -n 's/.* \(ngx_[A-Za-z0-9_]*\)\(@.*\)*$/\1/p' | LC_ALL=C sort -u
}

# check_loading MODULE: NGINX itself, with a configuration of the module and nothing else.
check_loading() {
    local directory output
    directory=$(mktemp -d)
    output=$(
        trap 'rm -rf "$directory"' EXIT
        minimal_configuration "$1" >"$directory/nginx.conf"
        "$nginx_binary" -t -p "$directory/" -c "$directory/nginx.conf" -e stderr 2>&1 </dev/null
    ) && return
    say "$output"
    die "$nginx_binary does not load $1; see its message above"
}

# Nothing outside the prefix is opened or made, whatever paths the binary was configured with.
minimal_configuration() {
    local arguments part
    arguments=$("$nginx_binary" -V 2>&1)
    [ "$(id -u)" != 0 ] || echo 'user root;'
    echo 'pid nginx.pid;'
    printf 'load_module "%s";\n' "$1"
    echo 'events {}'
    echo 'http {'
    echo '    access_log off;'
    echo '    client_body_temp_path client_body;'
    for part in proxy fastcgi uwsgi scgi; do
        [[ $arguments == *--without-http_${part}_module* ]] || echo "    ${part}_temp_path $part;"
    done
    echo '    phantom_token off;'
    echo '}'
}
