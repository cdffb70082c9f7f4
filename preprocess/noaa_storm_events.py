"""Storm events: the yearly files, unpacked and put one after another.

One row is one event in one county or forecast zone.
"""

from pathlib import Path

from pipeline import delimited
from pipeline.legible import Legible
from pipeline.preprocess import run
from pipeline.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """The publisher quotes some columns and leaves others bare; line ends stand in narratives."""
    return delimited.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
