# shellcheck shell=bash
# Creates .venv from the hashed requirements.txt. run_pipeline.sh and run_tests.sh source this file from
# the root of the clone. It works with bash 3.2 (macOS).

SETUP_ERROR=78 # sysexits.h: EX_CONFIG

# Two files, written last, mark a complete environment: the lock file it was made from, and the folder
# it was made for. Comparing them takes a millisecond.
#
# A new environment is built at its final path, because its scripts would not start after a rename. The
# previous one stays in .venv.old until the new one is complete. If the installation fails, is stopped or
# is killed, the previous one is restored.
make_environment() {
    if environment_is_current && [ ! -e .venv.old ]; then return; fi
    take_lock
    put_back
    if ! environment_is_current; then
        find_python
        say "installing .venv with $(describe_installer) (once; about a minute)"
        install_environment
        say "installation finished; later starts skip it"
    fi
    release_lock
}

environment_is_current() {
    environment_is_complete && cmp -s requirements.txt .venv/requirements.txt
}

environment_is_complete() {
    [ -x .venv/bin/python ] && [ -f .venv/requirements.txt ] &&
        [ "$(cat .venv/root 2>/dev/null)" = "$PWD" ]
}

# Restores the previous environment, unless the new one is complete; then deletes the previous one.
put_back() {
    [ -e .venv.old ] || [ -L .venv.old ] || return 0
    if environment_is_complete; then
        rm -rf .venv.old
    else
        rm -rf .venv && mv .venv.old .venv
    fi
}

# Of two first runs at the same time the second waits. A lock whose holder is gone is taken over.
take_lock() {
    until mkdir .venv.lock 2>/dev/null; do
        [ -d .venv.lock ] || give_up "$(id -un) cannot write to $PWD: change its owner or its permissions"
        holder=$(cat .venv.lock/pid 2>/dev/null || true)
        if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
            rm -rf .venv.lock
        elif [ -z "$holder" ] && [ -n "$(find .venv.lock -prune -mmin +1 2>/dev/null)" ]; then
            rm -rf .venv.lock
        else
            sleep 1
        fi
    done
    trap 'put_back || true; rm -rf .venv.lock' EXIT
    echo $$ >.venv.lock/pid
}

release_lock() {
    rm -rf .venv.lock
    trap - EXIT
}

find_python() {
    for candidate in python3.13 python3.12 python3.11 python3; do
        PYTHON=$(command -v "$candidate" || true)
        if [ -n "$PYTHON" ] && "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            return
        fi
    done
    PYTHON=
    if command -v uv >/dev/null; then return; fi # uv installs its own Python
    give_up "Python 3.11, 3.12 or 3.13 is required; found $(python3 --version 2>/dev/null || echo none)"
}

describe_installer() {
    if command -v uv >/dev/null; then echo uv; else echo "$PYTHON and pip"; fi
}

install_environment() {
    if environment_is_complete; then
        mv .venv .venv.old 2>/dev/null || give_up "$(id -un) cannot move $PWD/.venv: change its owner, or delete it"
    else
        rm -rf .venv 2>/dev/null || give_up "$(id -un) cannot replace $PWD/.venv: delete it"
    fi
    log=$(mktemp "${TMPDIR:-/tmp}/pipeline-install.XXXXXX")
    if command -v uv >/dev/null; then
        {
            uv venv --quiet --python "${PYTHON:->=3.11,<3.14}" .venv &&
                VIRTUAL_ENV="$PWD/.venv" uv pip install --quiet --no-deps --require-hashes -r requirements.txt
        } 2>"$log" || give_up_installing
    else
        "$PYTHON" -m venv .venv >"$log" 2>&1 ||
            give_up "Python has no working venv module: apt-get install python3-venv ($(tail -n 1 "$log"))$(kept)"
        .venv/bin/python -m pip install --progress-bar off --disable-pip-version-check --no-deps \
            --require-hashes -r requirements.txt 2>"$log" | show_progress || give_up_installing
    fi
    rm -f "$log"
    # Scripts started by hand find the package `pipeline` without a build step.
    echo "$PWD" >"$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pipeline.pth"
    echo "$PWD" >.venv/root
    cp requirements.txt .venv/requirements.new # a copy that a full disk cut short says nothing
    mv .venv/requirements.new .venv/requirements.txt
    rm -rf .venv.old
}

# Reads what pip prints, and shows on a terminal which package it fetches now.
show_progress() {
    packages=0 fetched=0
    while read -r line; do
        case $line in *==*) packages=$((packages + 1)) ;; esac
    done <requirements.txt
    while read -r what package _; do
        [ -t 2 ] || continue
        case $what in
            Collecting)
                fetched=$((fetched + 1))
                printf '\r\033[Ksetup: package %d of %d: %s' $fetched $packages "${package%%==*}" >&2
                ;;
            Installing) printf '\r\033[Ksetup: unpacking %d packages …' $packages >&2 ;;
        esac
    done
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}

give_up_installing() {
    tail -n 5 "$log" >&2
    [ -e .venv.old ] || rm -rf .venv # otherwise put_back restores the previous one
    give_up "the packages in requirements.txt could not be installed (full log: $log)$(kept)"
}

# What stays if the new environment cannot be created.
kept() {
    [ ! -e .venv.old ] || echo "; the previous .venv is kept and works with its own requirements.txt"
}

say() { echo "setup: $*" >&2; }

give_up() {
    say "$*"
    exit $SETUP_ERROR
}
