"""Declared disasters: the publisher's CSV as it is, names padded with blanks included.

One row is one disaster in one state.
"""

from pathlib import Path

from pipeline import delimited
from pipeline.legible import Legible
from pipeline.preprocess import run
from pipeline.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """UTF-8, commas, LF."""
    return delimited.write_csv(snapshot.file, output)


if __name__ == "__main__":
    run(make_legible)
