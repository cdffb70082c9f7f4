#!/usr/bin/env bash
# The night: cron starts this, and so may you. `./run_pipeline.sh --help` says what else it does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

STAGES=(
    api         # bytes from the publishers, unchanged     -> data/raw, branch raw-data
    preprocess  # one legible, tested CSV a source         -> data/preprocessed
    load        # the rows as they are                     -> schema source
    transform   # dbt models, tested and published at once -> schema transformed
    publish     # the published tables as they are         -> database prod
)

. pipeline/environment.sh
make_environment

STAGES="${STAGES[*]}" exec .venv/bin/python -m pipeline "$@"
