"""GeoJSON (RFC 7946) as a legible file: one or several FeatureCollections as one CSV.

Columns: `feature_id` (the member `id`), the properties in the order of their first appearance, and
`geometry`, the GeoJSON text as published. A missing property is null, like a property null.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.errors import SourceError
from pipeline.formats import features, strict_json
from pipeline.formats.features import NULL, Feature
from pipeline.formats.legible import Legible
from pipeline.formats.positions import EARTH, Bounds
from pipeline.formats.strict_json import Raw
from pipeline.text import excerpt, label

MEMBERS = ("type", "id", "properties", "geometry")
# Accepted values of the member `crs` of the specification of 2008: WGS 84, longitude first.
WGS84 = ("urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:OGC::CRS84", "OGC:CRS84")
WGS84 += ("EPSG:4326", "urn:ogc:def:crs:EPSG::4326")


class _Feature(msgspec.Struct):
    type: Literal["Feature"]
    id: Raw = Raw(NULL)
    properties: dict[str, Raw] | None = None
    geometry: Raw = Raw(NULL)


class _Members(msgspec.Struct):
    """A feature during the examination, which distinguishes missing members from null."""

    type: Literal["Feature"]
    id: Raw = Raw()
    properties: dict[str, Raw] | msgspec.UnsetType | None = msgspec.UNSET
    geometry: dict[str, Raw] | msgspec.UnsetType | None = msgspec.UNSET

    def count(self) -> int:
        """The number of expected members of the feature, its properties and its geometry."""
        parts = [part for part in (self.properties, self.geometry) if part is not msgspec.UNSET]
        return 1 + bool(bytes(self.id)) + len(parts) + sum(len(part or ()) for part in parts)


def write_csv(
    inputs: Path | Sequence[Path],
    output: Path,
    *,
    rename: Mapping[str, str] | None = None,
    properties: Sequence[str] = (),
    optional: Sequence[str] = (),
    bounds: Bounds | None = EARTH,
) -> Legible:
    """Write the FeatureCollections of one snapshot as one legible CSV.

    Parameters
    ----------
    inputs:       one raw file, or several in their order; one at a time is held in memory.
    output:       the file to write; the caller renames it into place.
    rename:       published property name -> the name to use instead.
    properties:   properties that have a column even when no feature has them. If one existed before
                  and none of many features has it, that is drift: see `drift.vanished`.
    optional:     those of them that only some features have, or none for a long time.
    bounds:       west, south, east and north of all positions; (-180, -90, 180, 90) when left out,
                  None for coordinates that are not degrees.

    Raises SourceError with file and feature for what is not strict JSON, not a FeatureCollection
    in WGS 84, or impossible to store in PostgreSQL.
    """
    paths = [inputs] if isinstance(inputs, Path) else list(inputs)
    where = label(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    notes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    names_in: dict[str, dict[str, None]] = {path.name: {} for path in paths}
    for path in paths:
        files[path.name] += _examine(path, names_in[path.name], notes)
    found = dict.fromkeys(name for names in names_in.values() for name in names)
    names = list(dict.fromkeys([*properties, *found]))
    legible = features.write_csv(
        lambda: (feature for path in paths for feature in _features(path)),
        names,
        files,
        output,
        where=where,
        rename=rename or {},
        notes=notes,
        bounds=bounds,
    )
    columns = dict(zip(names, legible.columns[1:-1], strict=True))
    needed = [name for name in names if name not in optional]
    absent = [columns[name] for name in needed if name not in found]
    lacking = {
        file: [columns[name] for name in needed if name in found and name not in own]
        for file, own in names_in.items()
    }
    return replace(legible, absent=absent, lacking=lacking)


def _examine(path: Path, names: dict[str, None], notes: Counter[str]) -> int:
    """Check one file, add its property names to `names`; return the number of its features."""
    data = strict_json.read(path)
    where = label(path)
    top = strict_json.decode(data, dict[str, Raw], where)
    raw_features = _raw_features(top, where)
    counts = []
    for number, raw in enumerate(raw_features, start=1):
        here = f"{where}, feature {number}"
        feature = strict_json.decode(raw, _Members, here)
        if bytes(feature.id)[:1] in (b"[", b"{", b"t", b"f"):
            raise SourceError(
                f"{here}: an id that is neither text nor a number: {excerpt(bytes(feature.id))}"
            )
        if feature.properties:
            names.update(dict.fromkeys(feature.properties))
        counts.append(feature.count())
    other = len(top) + sum(strict_json.members(top[name]) for name in top if name != "features")
    seen = strict_json.members(data)
    if seen != other + sum(counts):
        exact = 0
        for number, (raw, count) in enumerate(zip(raw_features, counts, strict=True), start=1):
            exact += _look_closer(raw, count, notes, f"{where}, feature {number}")
        if seen != other + exact:
            strict_json.refuse_twins(data, where)
    return len(raw_features)


def _look_closer(raw: Raw, count: int, notes: Counter[str], where: str) -> int:
    """Refuse members of the same name, note unknown members; return the number of all members."""
    seen = strict_json.members(raw)
    if seen != count:
        strict_json.refuse_twins(raw, where)
        foreign = set(strict_json.decode(raw, dict[str, Raw], where)) - set(MEMBERS)
        notes.update(f"member {excerpt(name)} left out" for name in foreign)
    return seen


def _features(path: Path) -> Iterator[Feature]:
    """The features of a file that has been examined."""
    where = label(path)
    top = strict_json.decode(strict_json.read(path), dict[str, Raw], where)
    for number, raw in enumerate(_raw_features(top, where), start=1):
        here = f"{where}, feature {number}"
        feature = strict_json.decode(raw, _Feature, here)
        yield Feature(
            here,
            bytes(feature.id),
            feature.properties or {},
            bytes(feature.geometry),
        )


def _raw_features(top: Mapping[str, Raw], where: str) -> list[Raw]:
    """The raw features of a collection. Raises SourceError for anything but a collection."""
    kind = bytes(top.get("type", Raw(NULL)))
    if kind != b'"FeatureCollection"':
        start = "{" + ", ".join(f'"{name}": {excerpt(bytes(raw))}' for name, raw in top.items())
        raise SourceError(f"{where}: JSON, but not a FeatureCollection: {excerpt(start)}")
    crs = bytes(top.get("crs", Raw()))
    if crs and not any(f'"{name}"'.encode() in crs for name in WGS84):
        raise SourceError(
            f"{where}: coordinates that are not WGS 84: {excerpt(crs)}",
            "ask the publisher for WGS 84 (EPSG:4326), or reproject in the preprocess script",
        )
    return strict_json.decode(top.get("features", Raw(NULL)), list[Raw], f"{where}, features")
