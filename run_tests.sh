#!/usr/bin/env bash
# Runs the style and type checks, then the tests. Arguments go to pytest: `./run_tests.sh -k stash`.
# `--fast` skips the tests that need a database or a clone of the project (some four minutes).
# `--long` runs the long form of every test that has one, which may take hours.
# `--coverage` (first argument) prints which lines and branches ran in the test processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

. pipeline/environment.sh
make_environment

python=.venv/bin/python
"$python" -m ruff format --check --quiet .
"$python" -m ruff check --quiet .
PYREFLY_LOG=warn "$python" -m pyrefly check --summary=none --min-severity warn
sql=(transform tests/example)
[ ! -d load ] || sql+=(load) # a project without sources has none
"$python" -m sqlfluff lint --disable-progress-bar --nocolor "${sql[@]}"
# The tests of a file run in one process, because they share a server and a clone. tests/conftest.py
# orders the files, longest first; xdist would start with the files that have the most tests.
# A test process that dies ends the run. If xdist replaced it, the run would never end.
pytest=(-m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0)
if [ "${1:-}" != --coverage ]; then exec "$python" "${pytest[@]}" "$@"; fi

shift
export COVERAGE_FILE="$PWD/.coverage"
rm -f .coverage .coverage.*
code=0
"$python" -m coverage run "${pytest[@]}" "$@" || code=$?
"$python" -m coverage combine --quiet
"$python" -m coverage report --skip-covered --sort=cover
exit "$code"
