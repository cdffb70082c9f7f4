"""Airports: the publisher's CSV as it is.

One row is one airport.
"""

from pathlib import Path

from pipeline import delimited
from pipeline.legible import Legible
from pipeline.preprocess import run
from pipeline.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Nothing to do but to check every byte."""
    return delimited.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
