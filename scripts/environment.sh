# shellcheck shell=bash
# Read by the other scripts: `make_environment EXTRA...` makes .venv, `need_packages` brings Debian packages.
# Everything is done once; a stamp of what was asked says when it must be done again.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
export PIP_DISABLE_PIP_VERSION_CHECK=1
# What is started hundreds of times (servers, commands, the tests' own processes) is compiled once.
unset PYTHONDONTWRITEBYTECODE

say() { printf '== %s\n' "$*"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# need_packages WHAT PACKAGE...: Debian packages that WHAT needs; only called when something of theirs is missing.
need_packages() {
    local what="$1"
    shift
    if ! command -v apt-get >/dev/null; then
        fail "$what needs ${*} of Debian, or the same from your system. Install that and try again."
    fi
    if ! is_root; then
        fail "$what needs packages that only root can install: sudo apt-get install $*"
    fi
    say "Installing $* ($what)"
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$root/.apt.log" 2>&1; then
        apt-get update -q >"$root/.apt.log" 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >>"$root/.apt.log" 2>&1 ||
            fail "apt-get install $* failed; the end of $root/.apt.log says why: $(tail -n 3 "$root/.apt.log")"
    fi
    rm -f "$root/.apt.log"
}

check_python() {
    command -v python3 >/dev/null || need_packages "Halfdoor" python3 python3-venv
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Halfdoor needs Python 3.11 or newer; this is $(python3 --version). Put a newer python3 first in PATH."
    # Debian keeps what makes environments in a package of its own.
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        need_packages "Making a Python environment" python3-venv
    fi
}

# make_environment [EXTRA]: .venv with Halfdoor and the packages of an extra of setup.py (dev).
make_environment() {
    local extra="${1:-}" wanted stamp
    check_python
    wanted="$(cat setup.py pyproject.toml <(python3 --version) <(pwd) | sha256sum | cut -d' ' -f1)"
    stamp=".venv/.installed${extra:+-$extra}"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        say "Making a Python environment in .venv"
        python3 -m venv --clear .venv || fail "python3 -m venv failed; its message is above."
    fi
    say "Installing Halfdoor${extra:+ and its tools ($extra)} into .venv (a minute or two the first time)"
    .venv/bin/python -m pip install -q -e ".${extra:+[$extra]}" ||
        fail "pip could not install Halfdoor. Its message is above; is the package index reachable?"
    printf '%s\n' "$wanted" >"$stamp"
}
