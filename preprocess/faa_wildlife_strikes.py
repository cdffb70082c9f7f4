"""Wildlife strikes: white space in column names becomes `_`; the rows stay byte for byte.

One row is one reported strike.
"""

from pathlib import Path

from pipeline import delimited
from pipeline.legible import Legible
from pipeline.preprocess import run
from pipeline.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """The publisher's last line has no line end."""
    return delimited.write_csv(snapshot.files, output, final_newline=False)


if __name__ == "__main__":
    run(make_legible)
