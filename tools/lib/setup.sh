# What tools/quickstart and tools/test share: missing packages are installed, the tree is built. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

build_packages="cmake ninja-build gcc pkg-config libc6-dev libnng-dev libprotobuf-c-dev protobuf-c-compiler libpq-dev liburcu-dev
 libxxhash-dev libjansson-dev libcurl4-openssl-dev libuv1-dev libmicrohttpd-dev systemtap-sdt-dev libcmocka-dev"
# redis-tools and psql (from postgresql) are what the README's tour types; etcd-server is for quickstart --coordinator etcd and
# the tests, its service is not started (install_quietly)
run_packages="postgresql python3 redis-tools etcd-server"
# hosts of tests: client libraries, Redis to compare with, another compiler for warnings
# (prometheus has promtool, which checks our metrics; its service is not started, see install_quietly)
test_packages="spin prometheus python3-redis redis-server redis-tools nutcracker nodejs npm clang clang-format-14 iproute2 nftables openssl etcd-client"

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "packages are missing and there is no sudo; run as root: apt-get install $*"; fi
}

# A subshell: its end, whatever it is, takes back what keeps packages from starting services of their own.
install_quietly() (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'as_root rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@" </dev/null
)

# install_packages NAME...: only what dpkg does not know as installed.
install_packages() {
    local missing=() p
    for p in "$@"; do
        case $p in
        npm|nodejs) command -v "${p/nodejs/node}" >/dev/null && continue ;; # whatever version is there will do
        esac
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "installing ${#missing[@]} Debian packages: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || die "apt-get update failed"
    # Debian's postgresql package would start a server of its own on 5432: not wanted, ours are private
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    install_quietly "${missing[@]}" >/tmp/forebay-apt.$$.log 2>&1 ||
        { tail -20 /tmp/forebay-apt.$$.log >&2; die "apt-get install failed"; }
    rm -f /tmp/forebay-apt.$$.log
    # nor is Debian's etcd to come up on 2379 with the next boot, when it was us who installed it
    if [[ " ${missing[*]} " == *" etcd-server "* ]] && command -v systemctl >/dev/null; then
        as_root systemctl --quiet disable etcd >/dev/null 2>&1 || true
    fi
}

programs="forebay-node forebay-router forebay-sync forebayctl"

# build PRESET [TARGET ...]: tools/build with its output in a file, shown when it fails. Result: $root/.build/PRESET/bin
build() {
    local log=$root/.build/$1.log
    mkdir -p "$root/.build"
    say "building ($1)"
    "$root/tools/build" "$@" >"$log" 2>&1 ||
        { tail -40 "$log" >&2; die "the build failed; the whole log is in $log"; }
}
