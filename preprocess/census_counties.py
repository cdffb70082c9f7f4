"""County boundaries: the object `counties` of the TopoJSON file, as GeoJSON geometries.

One row is one county or county equivalent.
"""

from pathlib import Path

from pipeline import topojson
from pipeline.legible import Legible
from pipeline.preprocess import run
from pipeline.snapshot import Snapshot


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Join the arcs that counties share into rings."""
    return topojson.write_csv(snapshot.file, output, object_name="counties")


if __name__ == "__main__":
    run(make_legible)
