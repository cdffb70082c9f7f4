"""What the data tests work on: the legible file about to be loaded.

A run gives its path in PIPELINE_LEGIBLE, before the file takes its place; by hand
(`.venv/bin/python -m pytest preprocess`) the tests look at the files in place.
"""

import os
from pathlib import Path

import pytest

from pipeline import preprocess, settings


@pytest.fixture(scope="module")
def legible(request: pytest.FixtureRequest) -> Path:
    """Path of the legible file that belongs to the test module's name."""
    if given := os.environ.get("PIPELINE_LEGIBLE"):
        return Path(given)
    source = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    path = preprocess.output_of(settings.load(), source)
    if not path.exists():
        pytest.skip(f"{path.name} is not there yet: ./run_pipeline.sh preprocess {source}")
    return path


@pytest.fixture(scope="module")
def table(legible: Path):
    """The legible file as an ibis table on duckdb; every column is text, nothing is sniffed."""
    import csv

    import ibis

    with legible.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    return ibis.duckdb.connect().read_csv(
        legible,
        header=True,
        auto_detect=False,
        columns=dict.fromkeys(columns, "VARCHAR"),
        delim=",",
        quote='"',
        escape='"',
        max_line_size=64 * 1024 * 1024,
    )
