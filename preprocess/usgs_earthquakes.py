"""Earthquakes: the features of every monthly file, one row each.

One row is one seismic event.
"""

from pathlib import Path

from pipeline.formats import geojson
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Flatten the features of all files into rows."""
    return geojson.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
