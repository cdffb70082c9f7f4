"""Features as rows: `feature_id`, the properties, then `geometry`; values as their publisher wrote
them.

Numbers are never parsed: `1.10` stays `1.10`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline.errors import SourceError
from pipeline.formats import charset, positions
from pipeline.formats.csv_scan import REPAIR, Scan
from pipeline.formats.dialect import Dialect
from pipeline.formats.legible import Legible, Output, column_names, header_line, quoted
from pipeline.formats.positions import EARTH, Bounds
from pipeline.text import excerpt

CHUNK = 2 << 20  # bytes written at a time
NULL = b"null"
ABSENT = msgspec.Raw(NULL)
# In nested values, which stay JSON text, a C1 control may stand as an escape that the scan passes.
_ESCAPED_C1 = re.compile(rb"(?<!\\)(?:\\\\)*\\u(00[89][0-9a-f])", re.IGNORECASE)


class Feature(NamedTuple):
    """A feature in raw JSON: `null`, or the text of a value as it was sent."""

    where: str  # file and number, as errors name it
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
    """Write features as a legible CSV, and hold what is written to the scan of a published one.

    Parameters
    ----------
    features: gives the features.
    names:    the published names of all their properties, in the order of the columns.
    files:    how many features were counted in each raw file, by its name.
    where:    the raw data, as errors name it.
    rename:   published property name -> the name to use instead.
    notes:    what was met, and how often; nulls among ids and geometries are added, and what is
              odd about positions.
    bounds:   west, south, east and north of all positions; None if they are no degrees.

    Raises SourceError for a value PostgreSQL cannot hold, a name it cannot have as a column, and
    when another number of rows was written than counted.
    """
    properties = column_names(names, rename, where)
    columns = column_names(["feature_id", *properties, "geometry"], {}, where)
    header = header_line(columns)
    scan = Scan(f"{where} as CSV", header, columns, Dialect())
    with Output(output) as out:
        for chunk in _chunks(header, _held(features(), bounds, notes), names, notes):
            scan.block(chunk)
            out.write(chunk)
        scan.finish()
        count = sum(files.values())
        if scan.records - 1 != count:
            raise SourceError(f"{where}: {count} features, but {scan.records - 1} rows from them")
        return out.receipt(files, columns, +notes)


def _held(
    features: Iterator[Feature], bounds: Bounds | None, notes: Counter[str]
) -> Iterator[Feature]:
    """The features, each of whose positions is within the bounds. Raises SourceError."""
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
    """A feature as a line of CSV. Raises SourceError where a text has a NUL in it."""
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
            f"{feature.where}, {excerpt(name)}: a NUL, which PostgreSQL cannot hold: "
            f"{excerpt(fields[bad])}",
            "the publisher has to repair it; until then fix.lines in the preprocess script can",
        )
    return line + b"\n"


def _refuse_escaped_controls(where: str, names: Sequence[str], values: Sequence[bytes]) -> None:
    """Raise SourceError for a C1 control in a nested value, as the scan does for all other text."""
    for name, value in zip(names, values, strict=True):
        if value[:1] in (b"{", b"[") and (met := _ESCAPED_C1.search(value)):
            sign = charset.control(chr(int(met[1], 16)))
            raise SourceError(f"{where}, {excerpt(name)}: {sign}: {excerpt(value)}", REPAIR)


def _field(raw: bytes) -> bytes:
    """A JSON value as a CSV field: null is nothing, a string its text in quotes, all else as sent.

    JSON text without a backslash is a quoted CSV field already: there is no quote inside.
    """
    if raw == NULL:
        return b""
    kind = raw[:1]
    if kind == b'"':
        return raw if b"\\" not in raw else quoted(msgspec.json.decode(raw, type=str).encode())
    return quoted(raw) if kind in (b"{", b"[") else raw
