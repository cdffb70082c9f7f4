"""Unemployment rates: tabs become commas. County codes keep their missing leading zero.

One row is one county.
"""

from pathlib import Path

from pipeline.formats import delimited
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """The publisher separates values by tabs and quotes nothing."""
    return delimited.write_csv(snapshot.files, output, delimiter="\t", quote=None)


if __name__ == "__main__":
    run(make_legible)
