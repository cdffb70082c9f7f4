"""Disaster declarations: the pages of the publisher's CSV, concatenated.

One row is one designated area of one disaster.
"""

from pathlib import Path

from pipeline.formats import delimited
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """UTF-8, commas, the same header on every page."""
    return delimited.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
