"""County health: the pages of the data set, concatenated.

One row is one measure of one county, crude or age-adjusted.
"""

from pathlib import Path

from pipeline.formats import delimited
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """UTF-8, commas; every value is quoted, except missing ones."""
    return delimited.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
