"""Wildlife strikes: white space in column names becomes `_`; the rows are copied byte for byte.

One row is one reported strike.
"""

from pathlib import Path

from pipeline.formats import delimited
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """The last line of the publisher's file has no line end."""
    return delimited.write_csv(snapshot.files, output, final_newline=False)


if __name__ == "__main__":
    run(make_legible)
