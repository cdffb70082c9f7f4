"""What the data tests work on: the legible file about to be loaded.

A run gives its path in PIPELINE_LEGIBLE, before the file takes its place; by hand
(`.venv/bin/python -m pytest preprocess`) the tests look at the files in place.
"""

import os
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.stages import preprocess


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


def as_duckdb_names(columns: list[str]) -> list[str]:
    """The names of columns for duckdb, to which `Name` and `NAME` are one.

    All but the first of such names get a number: `Name`, `NAME_1`.
    """
    taken = {name.lower() for name in columns}
    seen: set[str] = set()
    names = []
    for column in columns:
        name, number = column, 0
        while name.lower() in seen or (number and name.lower() in taken):
            number += 1
            name = f"{column}_{number}"
        seen.add(name.lower())
        names.append(name)
    return names


def read(path: Path):
    """A legible file as an ibis table on duckdb; every column is text, nothing is sniffed."""
    import csv

    import ibis

    with path.open(encoding="utf-8", newline="") as file:
        columns = as_duckdb_names(next(csv.reader(file)))
    return ibis.duckdb.connect().read_csv(
        path,
        header=True,
        auto_detect=False,
        columns=dict.fromkeys(columns, "VARCHAR"),
        delim=",",
        quote='"',
        escape='"',
        max_line_size=64 * 1024 * 1024,
    )


@pytest.fixture(scope="module")
def table(legible: Path):
    """The legible file as an ibis table of texts.

    Of columns whose names differ in case alone, `Name` and `NAME`, the second is `NAME_1` here.
    """
    return read(legible)
