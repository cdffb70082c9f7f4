"""Earthquakes: the features of every monthly file, one row each.

One row is one seismic event.
"""

from pathlib import Path

from pipeline import geojson
from pipeline.legible import Legible
from pipeline.preprocess import run
from pipeline.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Flatten the features of all files into rows."""
    return geojson.write_csv(snapshot.files, output)


if __name__ == "__main__":
    run(make_legible)
