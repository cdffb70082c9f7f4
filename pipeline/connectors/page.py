"""What one page of a data set has: rows of CSV or features of GeoJSON, each with its key."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import SourceError
from pipeline.formats import lenient_json
from pipeline.raw import fingerprints


class _Features(msgspec.Struct):
    features: list[msgspec.Raw]


@dataclass(frozen=True)
class Page:
    """What a page has: its columns, its keys, and its header and rows without some columns."""

    header: list[str]
    keys: list[bytes]
    rows_without: Callable[[tuple[str, ...]], Iterable[bytes]]


def table(path: Path, where: str, key: str) -> Page:
    """A page of CSV; SourceError when it is none, or has no column `key`."""
    from pipeline.formats import csv_columns  # numpy is slow to start: not if nothing is new

    rows = csv_columns.read(path, where)
    return Page(rows.header, rows.values(key), rows.rows_without)


def features(path: Path, where: str, key: str) -> Page:
    """A page of GeoJSON; it has no header, since each feature names its properties.

    Raises SourceError when it is none, or a feature has no property `key`.
    """
    properties = msgspec.defstruct("Properties", [("key", str)], rename={"key": key})
    feature: Any = msgspec.defstruct("Feature", [("properties", properties)])
    try:
        found = lenient_json.decode(path.read_bytes(), type=_Features).features
        keys = [msgspec.json.decode(one, type=feature).properties.key.encode() for one in found]
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{where}: no features with a property {key}: {error}") from None

    def rows_without(columns: tuple[str, ...]) -> Iterable[bytes]:
        left_out = tuple(f"properties.{column}" for column in columns)
        return [b"", *(fingerprints.without(bytes(one), left_out) for one in found)]

    return Page([], keys, rows_without)
