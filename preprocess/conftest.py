"""Fixtures of the data tests: the legible file that is about to be loaded.

During a run, PIPELINE_LEGIBLE holds its path, before the file replaces the previous one. Without it
(`.venv/bin/python -m pytest preprocess`) the tests read the current files.
"""

import os
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.stages import preprocess


@pytest.fixture(scope="module")
def legible(request: pytest.FixtureRequest) -> Path:
    """Return the path of the legible file that the test module is named after."""
    if given := os.environ.get("PIPELINE_LEGIBLE"):
        return Path(given)
    source = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    path = preprocess.output_of(settings.load(), source)
    if not path.exists():
        pytest.skip(f"{path.name} does not exist yet: ./run_pipeline.sh preprocess {source}")
    return path


def as_duckdb_names(columns: list[str]) -> list[str]:
    """Return column names that are unique for duckdb, which ignores case.

    Of names that differ only in case, all but the first get a number: `Name`, `NAME_1`.
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
    """Return a legible file as an ibis table on duckdb; every column is text, none is guessed."""
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
    """Return the legible file as an ibis table whose columns are all text.

    Of columns whose names differ only in case (`Name`, `NAME`) the second is called `NAME_1`.
    """
    return read(legible)
