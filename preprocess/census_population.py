"""Population: the publisher's CSV. Its encoding and its last line end depend on the vintage.

One row is one county or county equivalent, or one state.
"""

from pathlib import Path

from pipeline.formats import delimited
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """UTF-8 if the whole file is (2020 and later), else Latin-1; the receipt records which."""
    return delimited.write_csv(
        snapshot.file, output, encoding=("utf-8", "latin-1"), final_newline=False
    )


if __name__ == "__main__":
    run(make_legible)
