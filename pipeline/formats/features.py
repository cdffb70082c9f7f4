"""Features as rows: `feature_id`, the properties, then `geometry`.

Values stay as published. Numbers are never parsed: `1.10` stays `1.10`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline.errors import SourceError
from pipeline.formats import charset, positions
from pipeline.formats.csv_scan import Scan
from pipeline.formats.dialect import Dialect
from pipeline.formats.legible import Legible, Output, column_names, header_line, quoted
from pipeline.formats.positions import EARTH, Bounds
from pipeline.formats.remedies import REPAIR
from pipeline.text import excerpt

CHUNK = 2 << 20  # bytes written at a time
NULL = b"null"
ABSENT = msgspec.Raw(NULL)
# In nested values, which stay JSON text, a C1 control may be an escape, which the scan cannot see.
_ESCAPED_C1 = re.compile(rb"(?<!\\)(?:\\\\)*\\u(00[89][0-9a-f])", re.IGNORECASE)


class Feature(NamedTuple):
    """A feature; its values are raw JSON as published, or `null`."""

    where: str  # file and number, for errors
    feature_id: bytes
    properties: Mapping[str, msgspec.Raw]
    geometry: bytes


def write_csv(
    features: Callable[[], Iterator[Feature]],
    names: Sequence[str],
    files: Mapping[str, int],
    output: Path,
    *,
    where: str,
    rename: Mapping[str, str],
    notes: Counter[str],
    bounds: Bounds | None = EARTH,
) -> Legible:
    """Write features as a legible CSV, and apply the strict scan to the result.

    Parameters
    ----------
    features: iterates over the features.
    names:    the published names of all their properties, in the order of the columns.
    files:    the number of features counted in each raw file, by its name.
    where:    the raw data, for errors.
    rename:   published property name -> the name to use instead.
    notes:    oddities and their number; missing ids and geometries are added, and odd positions.
    bounds:   west, south, east and north of all positions; None if they are not degrees.

    Raises SourceError for a value that PostgreSQL cannot store, an impossible column name, and when
    the number of rows differs from the number of features counted.
    """
    properties = column_names(names, rename, where)
    columns = column_names(["feature_id", *properties, "geometry"], {}, where)
    header = header_line(columns)
    scan = Scan(f"{where} as CSV", header, columns, Dialect())
    with Output(output) as out:
        for chunk in _chunks(header, _within(features(), bounds, notes), names, notes):
            scan.block(chunk)
            out.write(chunk)
        scan.finish()
        count = sum(files.values())
        if scan.records - 1 != count:
            raise SourceError(f"{where}: {count} features, but {scan.records - 1} rows from them")
        return out.receipt(files, columns, +notes)


def _within(
    features: Iterator[Feature], bounds: Bounds | None, notes: Counter[str]
) -> Iterator[Feature]:
    """The features; raises SourceError for a position outside of the bounds."""
    for feature in features:
        if bounds:
            positions.check(feature.geometry, bounds, feature.where, notes)
        yield feature


def _chunks(
    header: bytes, features: Iterator[Feature], names: Sequence[str], notes: Counter[str]
) -> Iterator[bytes]:
    lines, size = [header], len(header)
    for feature in features:
        line = _row(feature, names)
        notes["features without an id"] += feature.feature_id == NULL
        notes["features without a geometry"] += feature.geometry == NULL
        lines.append(line)
        size += len(line)
        if size >= CHUNK:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)


def _row(feature: Feature, names: Sequence[str]) -> bytes:
    """A feature as a line of CSV. Raises SourceError for a text that contains a NUL."""
    value_of = feature.properties.get
    values = [bytes(value_of(name, ABSENT)) for name in names]
    plain = b"".join(values)
    if not (b"\\" in plain or b"{" in plain or b"[" in plain):
        fields = [b"" if value == NULL else value for value in values]  # most rows, fast
    else:
        _refuse_escaped_controls(feature.where, names, values)
        fields = [_field(value) for value in values]
    fields = [_field(feature.feature_id), *fields, _field(feature.geometry)]
    line = b",".join(fields)
    if b"\0" in line:
        bad = next(i for i, value in enumerate(fields) if b"\0" in value)
        name = ["feature_id", *names, "geometry"][bad]
        raise SourceError(
            f"{feature.where}, {excerpt(name)}: a NUL, which PostgreSQL cannot store: "
            f"{excerpt(fields[bad])}",
            REPAIR,
        )
    return line + b"\n"


def _refuse_escaped_controls(where: str, names: Sequence[str], values: Sequence[bytes]) -> None:
    """Raise SourceError for a C1 control in a nested value, as the scan does in other values."""
    for name, value in zip(names, values, strict=True):
        if value[:1] in (b"{", b"[") and (found := _ESCAPED_C1.search(value)):
            sign = charset.control(chr(int(found[1], 16)))
            raise SourceError(f"{where}, {excerpt(name)}: {sign}: {excerpt(value)}", REPAIR)


def _field(raw: bytes) -> bytes:
    """A JSON value as a CSV field: null becomes empty, a string a quoted field, all else unchanged.

    A JSON string without a backslash is already a quoted CSV field: it has no quote inside.
    """
    if raw == NULL:
        return b""
    kind = raw[:1]
    if kind == b'"':
        return raw if b"\\" not in raw else quoted(msgspec.json.decode(raw, type=str).encode())
    return quoted(raw) if kind in (b"{", b"[") else raw
