"""County boundaries: the object `counties` of the TopoJSON file, as GeoJSON geometries.

One row is one county or county equivalent.
"""

from pathlib import Path

from pipeline.formats import topojson
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Join the arcs that counties share into rings."""
    return topojson.write_csv(snapshot.file, output, object_name="counties")


if __name__ == "__main__":
    run(make_legible)
