# shellcheck shell=bash
# Sourced by scripts/ensure_*.sh: installs a system package where nobody's own machine is changed
# unasked: as root (a container) and in CI. Homebrew needs no rights, and starts no service.
# Needs `say` and the variable `log`.

quietly() { "$@" >>"$log" 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    [ "$(id -u)" = 0 ] || { [ -n "${CI:-}" ] && sudo -n true 2>/dev/null; }
}

# install_package apt-get=NAME brew=NAME ...: with the first of these installers that is there, in
# the order of the arguments. Fails if there is none, or if it may not be used.
install_package() {
    local pair installer name
    for pair in "$@"; do
        installer=${pair%%=*} name=${pair#*=}
        command -v "$installer" >/dev/null || continue
        [ "$installer" = brew ] || may_install || return 1
        say "installing $name with $installer"
        "install_with_${installer//-/_}" "$name"
        return
    done
    return 1
}

install_with_brew() { quietly brew install "$1"; }

install_with_apt_get() {
    quietly as_root apt-get update
    quietly as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "$1"
}

install_with_apk() { quietly as_root apk add "$1"; }

install_with_dnf() { quietly as_root dnf install --assumeyes "$1"; }
