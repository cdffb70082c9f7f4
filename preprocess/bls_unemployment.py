"""Unemployment rates: tabs become commas. County codes stay as they are, short of their zero.

One row is one county.
"""

from pathlib import Path

from pipeline import delimited
from pipeline.legible import Legible
from pipeline.preprocess import run
from pipeline.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """The publisher separates by tabs and quotes nothing."""
    return delimited.write_csv(snapshot.files, output, delimiter="\t", quote=None)


if __name__ == "__main__":
    run(make_legible)
