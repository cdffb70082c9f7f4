"""Faults of the rows themselves: fewer, none, or a column by another name, in a form that is whole.

Nothing on the way betrays them: only counts, the volume guard and the declared columns do.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace

from pipeline.compressed import GZIP
from pipeline.drill.faults import Answer, Fault, changed
from pipeline.formats import records

_MARK = b"\xef\xbb\xbf"


def fewer_rows(share: float) -> Fault:
    """The same document with so much of its rows or features, header and form in order."""

    def of_rows(rows: list) -> list:
        return rows[: int(len(rows) * share)]

    def of_table(header: bytes, rows: list[bytes]) -> bytes:
        return header + b"".join(of_rows(rows))

    return changed(lambda body: _edited(body, of_table, of_rows))


def renamed_column(answer: Answer) -> Answer:
    """The same document whose first column, or first property, has another name."""

    def of_table(header: bytes, rows: list[bytes]) -> bytes:
        begin = next(mark for mark in (_MARK + b'"', _MARK, b'"', b"") if header.startswith(mark))
        return begin + b"renamed_" + header.removeprefix(begin) + b"".join(rows)

    def of_rows(rows: list) -> list:
        return [_renamed(row) for row in rows]

    return replace(answer, body=_edited(answer.body, of_table, of_rows))


def _renamed(row: dict) -> dict:
    """A row, or a feature by its properties, with another name for its first member."""
    if isinstance(row.get("properties"), dict):
        return row | {"properties": _renamed(row["properties"])}
    return {(f"renamed_{k}" if n == 0 else k): v for n, (k, v) in enumerate(row.items())}


def _edited(
    body: bytes,
    of_table: Callable[[bytes, list[bytes]], bytes],
    of_rows: Callable[[list], list],
) -> bytes:
    """A body with its rows edited; as it is when it has none that are known here.

    A CSV is edited by header and records, JSON by the lists of its features, geometries or rows.
    """
    if body.startswith(GZIP):
        return gzip.compress(_edited(gzip.decompress(body), of_table, of_rows), mtime=0)
    begin = body.removeprefix(_MARK).lstrip()[:1]
    if begin in (b"<", b"") or b"\0" in body[:1024]:
        return body
    if begin not in (b"{", b"["):
        header, *rows = records.split(body)
        return of_table(header, rows)
    document = json.loads(body.removeprefix(_MARK))
    if isinstance(document, list):
        return json.dumps(of_rows(document)).encode()
    if isinstance(document.get("features"), list):
        document["features"] = of_rows(document["features"])
    elif document.get("type") == "Topology":
        for layer in document["objects"].values():
            layer["geometries"] = of_rows(layer.get("geometries", []))
    else:
        return body
    return json.dumps(document).encode()
