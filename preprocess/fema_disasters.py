"""Declared disasters: the publisher's CSV, unchanged; state names stay padded with blanks.

One row is one disaster in one state.
"""

from pathlib import Path

from pipeline.formats import delimited
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """UTF-8, commas, LF."""
    return delimited.write_csv(snapshot.file, output)


if __name__ == "__main__":
    run(make_legible)
