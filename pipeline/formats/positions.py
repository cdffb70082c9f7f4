"""Are the positions of GeoJSON geometries longitude and latitude (RFC 7946, 3.1.1 and 4)?

Coordinates in feet or metres, and many with swapped axes, are outside of the range of degrees.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from pipeline.errors import SourceError
from pipeline.formats import strict_json
from pipeline.text import excerpt

Bounds = tuple[float, float, float, float]  # west, south, east, north
EARTH: Bounds = (-180.0, -90.0, 180.0, 90.0)
# How deep the positions of a geometry are nested in lists.
DEPTHS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
_NUMERIC = re.compile(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*")


class _Geometry(msgspec.Struct):
    type: Any = None
    coordinates: msgspec.Raw = msgspec.Raw(b"null")
    geometries: list[msgspec.Raw] | None = None


_decode_geometry = msgspec.json.Decoder(_Geometry).decode


def check(geometry: bytes, bounds: Bounds, where: str, notes: Counter[str]) -> None:
    """Refuse a geometry with a position outside of the bounds, or with an invalid position.

    Parameters
    ----------
    geometry: GeoJSON, or `null`.
    bounds:   the least and greatest longitude and latitude.
    where:    the feature, for errors.
    notes:    counts oddities that are accepted: rings that are not closed, numbers in quotes,
              positions with a null, geometries of a type that is not in RFC 7946.

    Raises SourceError with the position.
    """
    if geometry == b"null":
        return
    try:
        _point_decoder(bounds)(geometry)  # most features, in one go
        return
    except msgspec.DecodeError:
        pass
    try:
        found = _decode_geometry(geometry)
    except (msgspec.DecodeError, RecursionError):
        notes["geometries of an unknown kind, kept as they came"] += 1
        return
    if found.type == "GeometryCollection":
        for part in found.geometries or ():
            check(bytes(part), bounds, where, notes)
    elif not isinstance(found.type, str) or found.type not in DEPTHS:
        notes["geometries of an unknown kind, kept as they came"] += 1
        for position in _pairs(json.loads(bytes(found.coordinates))):
            _check_position(position, bounds, where, notes)
    else:
        _check_coordinates(found, bounds, where, notes)


def _check_coordinates(found: _Geometry, bounds: Bounds, where: str, notes: Counter[str]) -> None:
    try:
        coordinates = _decoder(found.type, bounds)(found.coordinates)
        rings = _rings(found.type, coordinates)
    except msgspec.DecodeError:  # slower, and for each value: to name it, or to accept an oddity
        coordinates = json.loads(bytes(found.coordinates))
        for position in _positions(coordinates, DEPTHS[found.type], where):
            _check_position(position, bounds, where, notes)
        rings = _rings(found.type, coordinates)
    notes["rings that are not closed, kept as they came"] += sum(
        bool(ring) and ring[0] != ring[-1] for ring in rings
    )


@cache
def _point_decoder(bounds: Bounds) -> Callable[[bytes], Any]:
    """A decoder that accepts only a Point within the bounds."""
    fields = [("type", Literal["Point"]), ("coordinates", _position(bounds))]
    return msgspec.json.Decoder(msgspec.defstruct("Point", fields)).decode


def _position(bounds: Bounds) -> type[msgspec.Struct]:
    """The type of a position within the bounds; values after the latitude are ignored."""
    west, south, east, north = bounds
    longitude = Annotated[float, msgspec.Meta(ge=west, le=east)]
    latitude = Annotated[float, msgspec.Meta(ge=south, le=north)]
    fields = [("longitude", longitude), ("latitude", latitude)]
    return msgspec.defstruct("Position", fields, array_like=True)


@cache
def _decoder(kind: str, bounds: Bounds) -> Callable[[msgspec.Raw], Any]:
    """A decoder that accepts only coordinates of a type of geometry within the bounds."""
    shape = strict_json.nested(_position(bounds), DEPTHS[kind])
    return msgspec.json.Decoder(shape).decode


def _rings(kind: str, coordinates: Any) -> list:
    if kind == "Polygon":
        return list(coordinates or ())
    if kind == "MultiPolygon":
        return [ring for polygon in coordinates or () for ring in polygon]
    return []


def _positions(part: Any, depth: int, where: str) -> Iterator[list]:
    """The positions in coordinates; an empty geometry has none."""
    if part is None or part == []:
        return
    if not isinstance(part, list):
        raise SourceError(f"{where}: {excerpt(repr(part))} instead of a list of coordinates")
    if not depth:
        yield part
        return
    for each in part:
        yield from _positions(each, depth - 1, where)


def _pairs(part: Any) -> Iterator[list]:
    """The lists that begin with two numbers, at any depth."""
    if not isinstance(part, list):
        return
    if len(part) > 1 and all(type(number) in (int, float) for number in part[:2]):
        yield part
    for each in part:
        yield from _pairs(each)


def _check_position(position: list, bounds: Bounds, where: str, notes: Counter[str]) -> None:
    numbers = [_number(value) for value in position[:2]]
    given = [number for number in numbers if number is not None]
    if len(numbers) < 2 or any(math.isnan(number) for number in given):
        raise SourceError(f"{where}: not a position: {excerpt(repr(position))}")
    notes["positions with a number in quotes"] += any(
        isinstance(value, str) for value in position[:2]
    )
    if len(given) < 2:
        notes["positions with a null"] += 1
        return
    west, south, east, north = bounds
    if west <= given[0] <= east and south <= given[1] <= north:
        return
    raise SourceError(
        f"{where}: the position {excerpt(repr(position))} is not a longitude and a latitude within "
        f"{west:g} to {east:g} and {south:g} to {north:g} degrees",
        "the publisher may have swapped the axes or projected the coordinates: ask for WGS 84, "
        "reproject in the preprocess script, or declare other bounds= there",
    )


def _number(value: Any) -> float | None:
    """A coordinate as a number; None for null, NaN for anything else."""
    if value is None:
        return None
    if isinstance(value, str):
        return float(value) if _NUMERIC.fullmatch(value) else math.nan
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
