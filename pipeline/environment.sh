# shellcheck shell=bash
# Makes .venv from the hashed requirements.txt. Sourced by run_pipeline.sh and run_tests.sh with the
# clone's root as current directory; bash 3.2 (macOS) suffices.

SETUP_ERROR=78 # sysexits.h: EX_CONFIG

# The environment is whole when these files say so: the lock it was made from and where it stands,
# written last. Comparing them costs a millisecond.
#
# A new one is built in its place, since the scripts of a renamed one do not start. The one before
# stands in .venv.old until the new one is whole: what fails, is stopped or killed puts it back.
make_environment() {
    if environment_is_current && [ ! -e .venv.old ]; then return; fi
    take_turn
    put_back
    if ! environment_is_current; then
        find_python
        say "making .venv with $(describe_installer) (once, a minute or so)"
        install_environment
        say "done; the next start takes no time"
    fi
    end_turn
}

environment_is_current() {
    environment_is_whole && cmp -s requirements.txt .venv/requirements.txt
}

environment_is_whole() {
    [ -x .venv/bin/python ] && [ -f .venv/requirements.txt ] &&
        [ "$(cat .venv/root 2>/dev/null)" = "$PWD" ]
}

# The environment as it was before one that was not finished; after one that was, nothing is left.
put_back() {
    [ -e .venv.old ] || [ -L .venv.old ] || return 0
    if environment_is_whole; then
        rm -rf .venv.old
    else
        rm -rf .venv && mv .venv.old .venv
    fi
}

# Two first runs at once: the second waits. A turn whose holder is gone is taken over.
take_turn() {
    until mkdir .venv.lock 2>/dev/null; do
        [ -d .venv.lock ] || give_up "$PWD cannot be written by $(id -un)"
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

end_turn() {
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
    if command -v uv >/dev/null; then return; fi # uv brings a Python of its own
    give_up "Python 3.11, 3.12 or 3.13 is needed; found $(python3 --version 2>/dev/null || echo none)"
}

describe_installer() {
    if command -v uv >/dev/null; then echo uv; else echo "$PYTHON and pip"; fi
}

install_environment() {
    if environment_is_whole; then
        mv .venv .venv.old 2>/dev/null || give_up "$PWD/.venv cannot be moved by $(id -un)"
    else
        rm -rf .venv 2>/dev/null || give_up "$PWD/.venv cannot be replaced by $(id -un): delete it"
    fi
    log=$(mktemp "${TMPDIR:-/tmp}/pipeline-install.XXXXXX")
    if command -v uv >/dev/null; then
        {
            uv venv --quiet --python "${PYTHON:->=3.11,<3.14}" .venv &&
                VIRTUAL_ENV="$PWD/.venv" uv pip install --quiet --no-deps --require-hashes -r requirements.txt
        } 2>"$log" || give_up_installing
    else
        "$PYTHON" -m venv .venv >"$log" 2>&1 ||
            give_up "python3 has no working venv module: apt-get install python3-venv ($(tail -n 1 "$log"))$(kept)"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
            --require-hashes -r requirements.txt 2>"$log" || give_up_installing
    fi
    rm -f "$log"
    # `pipeline` is found by scripts started by hand, without a build step.
    echo "$PWD" >"$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pipeline.pth"
    echo "$PWD" >.venv/root
    cp requirements.txt .venv/requirements.txt
    rm -rf .venv.old
}

give_up_installing() {
    tail -n 5 "$log" >&2
    [ -e .venv.old ] || rm -rf .venv # else what is put back takes its place
    give_up "the packages of requirements.txt could not be installed (whole log: $log)$(kept)"
}

# What is left when a new environment cannot be made.
kept() {
    [ ! -e .venv.old ] || echo "; the .venv from before is kept, and works with its own requirements.txt"
}

say() { echo "setup: $*" >&2; }

give_up() {
    say "$*"
    exit $SETUP_ERROR
}
