"""TopoJSON as a legible file: the geometries of one object as GeoJSON text, one row each.

According to the TopoJSON specification 1.0, arcs are lists of quantised differences. A geometry
refers to its arcs by index, `~index` means an arc in reverse, and neighbouring arcs share a point.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from pipeline.errors import SourceError
from pipeline.formats import features, strict_json
from pipeline.formats.features import NULL, Feature
from pipeline.formats.legible import Legible
from pipeline.formats.positions import EARTH, Bounds
from pipeline.formats.strict_json import Raw
from pipeline.text import excerpt, label

Line = list[list[float]]


class _Transform(msgspec.Struct):
    scale: tuple[float, float]
    translate: tuple[float, float]


class _Geometry(msgspec.Struct):
    type: str | None
    id: Raw = Raw(NULL)
    properties: dict[str, Raw] | None = None
    arcs: Raw = Raw(NULL)
    coordinates: Raw = Raw(NULL)


class _Collection(msgspec.Struct, tag="GeometryCollection"):
    geometries: list[_Geometry]


class _Topology(msgspec.Struct, tag="Topology"):
    objects: dict[str, Raw]
    arcs: list[list[list[float]]]
    transform: _Transform | None = None


def write_csv(
    input: Path,
    output: Path,
    *,
    object_name: str,
    rename: Mapping[str, str] | None = None,
    bounds: Bounds | None = EARTH,
) -> Legible:
    """Write one object of a TopoJSON file, whose coordinates are WGS 84, as a legible CSV.

    Parameters
    ----------
    input:       the raw file.
    output:      the file to write; the caller renames it into place.
    object_name: the member of `objects` to write, a GeometryCollection.
    rename:      published property name -> the name to use instead.
    bounds:      west, south, east and north of all positions; None if they are not degrees.

    Raises SourceError for what is not strict JSON, not a topology, or lacks an arc.
    """
    where = label(input)
    data = strict_json.read(input)
    topology = strict_json.decode(data, _Topology, where)
    strict_json.refuse_twins(data, where)
    if object_name not in topology.objects:
        existing = excerpt(", ".join(topology.objects)) or "none"
        raise SourceError(f"{where}: no object {object_name!r}; its objects are {existing}")
    here = f"{where}, object {object_name}"
    collection = strict_json.decode(topology.objects[object_name], _Collection, here)
    if not collection.geometries:
        raise SourceError(f"{here}: it has no geometry")
    arcs = [_decoded(arc, topology.transform) for arc in topology.arcs]
    notes: Counter[str] = Counter()
    names = dict.fromkeys(name for each in collection.geometries for name in each.properties or ())
    return features.write_csv(
        lambda: (
            _feature(each, _Shapes(arcs, topology.transform, f"{here}, geometry {number}", notes))
            for number, each in enumerate(collection.geometries, start=1)
        ),
        list(names),
        {input.name: len(collection.geometries)},
        output,
        where=where,
        rename=rename or {},
        notes=notes,
        bounds=bounds,
    )


def _decoded(positions: list[list[float]], transform: _Transform | None) -> Line:
    """The positions of an arc in degrees: the running sum of the differences, scaled."""
    if transform is None:
        return positions
    steps = np.array(positions, dtype=float)
    return (steps.cumsum(axis=0) * transform.scale + transform.translate).tolist()


@dataclass(frozen=True)
class _Shapes:
    """Builds the shapes of one geometry from the arcs of the file."""

    arcs: list[Line]
    transform: _Transform | None
    where: str
    notes: Counter[str]

    def point(self, position: list[float]) -> list[float]:
        """A single position in degrees; it is quantised, but not a difference."""
        return _decoded([position], self.transform)[0]

    def line(self, indexes: list[int]) -> Line:
        """Arcs joined; the point that two neighbours share appears once."""
        points: Line = []
        for index in indexes:
            if not -len(self.arcs) <= index < len(self.arcs):
                raise SourceError(f"{self.where}: arc {index} of {len(self.arcs)} does not exist")
            arc = self.arcs[index] if index >= 0 else self.arcs[~index][::-1]
            if points and points[-1] != arc[0]:
                raise SourceError(f"{self.where}: arc {index} does not begin where another ends")
            points += arc[1:] if points else arc
        return points

    def ring(self, indexes: list[int]) -> Line:
        """Arcs joined to a closed ring.

        Quantising reduces the smallest rings to two or three points. GDAL drops these, and an area
        may disappear with them. Here the first point is repeated, as in Mike Bostock's
        topojson-client, to get the four positions that RFC 7946 requires.
        """
        points = self.line(indexes)
        if not points or points[0] != points[-1]:
            raise SourceError(f"{self.where}: a ring of {len(points)} points that is not closed")
        missing = max(0, 4 - len(points))
        self.notes["rings of two or three points, closed and kept"] += missing > 0
        return points + points[:1] * missing


# For each type of geometry: its member, the method for its parts, and how deep they are nested.
SHAPES = {
    "Point": ("coordinates", _Shapes.point, 0),
    "MultiPoint": ("coordinates", _Shapes.point, 1),
    "LineString": ("arcs", _Shapes.line, 0),
    "MultiLineString": ("arcs", _Shapes.line, 1),
    "Polygon": ("arcs", _Shapes.ring, 1),
    "MultiPolygon": ("arcs", _Shapes.ring, 2),
}


def _feature(geometry: _Geometry, shapes: _Shapes) -> Feature:
    properties = geometry.properties or {}
    return Feature(shapes.where, bytes(geometry.id), properties, _geojson(geometry, shapes))


def _geojson(geometry: _Geometry, shapes: _Shapes) -> bytes:
    """A geometry as GeoJSON text; every coordinate has enough digits for the same float."""
    if geometry.type is None:
        return NULL
    if geometry.type not in SHAPES:
        raise SourceError(f"{shapes.where}: a {excerpt(geometry.type)}, which is not supported")
    member, shape, depth = SHAPES[geometry.type]
    kind = strict_json.nested(float if member == "coordinates" else int, depth + 1)
    parts = strict_json.decode(getattr(geometry, member), kind, shapes.where)

    def each(parts: list, depth: int) -> list:
        return [each(part, depth - 1) for part in parts] if depth else shape(shapes, parts)

    text = {"type": geometry.type, "coordinates": each(parts, depth)}
    return json.dumps(text, separators=(",", ":"), allow_nan=False).encode()
