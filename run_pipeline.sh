#!/usr/bin/env bash
# Runs the pipeline, by hand or from cron. `./run_pipeline.sh --help` lists all commands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

STAGES=(
    api         # fetch the publishers' files, unchanged   -> data/raw, branch raw-data
    preprocess  # one legible, tested CSV per source       -> data/preprocessed
    load        # the rows, unchanged                      -> schema source
    transform   # dbt models, tested and published at once -> schema transformed
    publish     # the published tables, unchanged          -> database prod
)

. pipeline/environment.sh
make_environment

STAGES="${STAGES[*]}" exec .venv/bin/python -m pipeline "$@"
