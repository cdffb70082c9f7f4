#!/usr/bin/env bash
# The tests: style and types first, then everything else. Arguments go to pytest: `./run_tests.sh -k stash`.
# `--fast` leaves out whatever needs a database or a clone of the project: two minutes at most.
# `--long` runs the long form, hours perhaps, of every test that has one.
# `--coverage`, as first argument, prints which lines and branches ran in the tests' own processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

. pipeline/environment.sh
make_environment

python=.venv/bin/python
"$python" -m ruff format --check --quiet .
"$python" -m ruff check --quiet .
PYREFLY_LOG=warn "$python" -m pyrefly check --summary=none --min-severity warn
"$python" -m sqlfluff lint --disable-progress-bar --nocolor load transform
# A file's tests run in one process: they share a server and a clone. The order of the files is that
# of tests/conftest.py, the longest first; xdist alone would begin with those of most tests.
# A test process that dies ends the run: where xdist replaces it, the run never ends.
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
