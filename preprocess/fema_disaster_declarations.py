"""Disaster declarations: the pages of the publisher's CSV, one after the other.

One row is one designated area of one disaster.
"""

from pathlib import Path

from pipeline import delimited
from pipeline.legible import Legible
from pipeline.preprocess import run
from pipeline.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """UTF-8, commas, the same header on every page."""
    return delimited.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
