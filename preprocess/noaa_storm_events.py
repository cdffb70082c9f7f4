"""Storm events: the yearly files, unpacked and concatenated.

One row is one event in one county or forecast zone.
"""

from pathlib import Path

from pipeline.formats import delimited
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """The publisher quotes some columns and not others; narratives contain line ends."""
    return delimited.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
