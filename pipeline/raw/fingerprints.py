"""The content fingerprint of a raw file: it stays equal as long as the data is equal.

Archives are compared by their unpacked members, also archives within archives: an archive that was
packed again has other time stamps, another order or another compression, and the same data. What a
source declares as volatile does not count.
"""

import codecs
import hashlib
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from pipeline import compressed, durable
from pipeline.errors import SourceError
from pipeline.formats import lenient_json
from pipeline.raw.source import Source
from pipeline.text import escaped

_JSON = (".json", ".geojson", ".topojson")
_TABLES = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}  # the members of a zip that have columns
_ZIP = b"PK\x03\x04"  # the first bytes of a zip with members (APPNOTE.TXT, 4.3.7)
_DEEPEST = 4  # archives in archives


def fingerprint_of(parts: dict[str, str]) -> str:
    """Return one SHA-256 over the hashes of several named parts, whatever their order."""
    lines = (f"{parts[name]}  {name}\n" for name in sorted(parts))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def content_of(path: Path, source: Source) -> str:
    """Return the content fingerprint of a source's file; empty if it is the SHA-256 of its bytes.

    Raises SourceError when the file lacks a volatile column, or is not of the declared kind.
    """
    if source.kind == "zip":
        return _of_zip(path, source)
    if source.volatile:
        return of_json(path.read_bytes(), source.volatile, path.name)
    if source.volatile_columns:
        data = b"".join(compressed.blocks(path))
        return _of_any_dialect(data, path.name, source, source.kind.removesuffix(".gz"))
    return _sha256(compressed.blocks(path)) if source.kind.endswith(".gz") else ""


def of_json(document: bytes, volatile: tuple[str, ...], where: str) -> str:
    """Return the SHA-256 of a JSON object without the members that differ in every response.

    The other members are compared as bytes, so that `1.10` is not `1.1`.

    volatile: paths of members, such as `metadata.generated`.
    where:    the name of the document in an error.
    """
    try:
        kept = without(document.removeprefix(codecs.BOM_UTF8), volatile)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{where}: not a JSON object: {error}") from None
    return hashlib.sha256(kept).hexdigest()


def of_table(data: bytes, where: str, volatile_columns: tuple[str, ...], **dialect: Any) -> str:
    """Return the fingerprint of the rows of a table, in any order, without the volatile columns.

    where:   the name of the table in an error.
    dialect: parameters of `csv_columns.parse`.

    Raises SourceError when the table lacks such a column, or cannot be read in that dialect.
    """
    from pipeline.formats import csv_columns  # numpy is slow to start, and most sources do without

    table = csv_columns.parse(data, where, **dialect)
    return of_rows(*table.rows_without(volatile_columns))


def of_rows(header: bytes, *rows: bytes) -> str:
    """Return one fingerprint of the rows under a header, in any order: the sum of their SHA-256.

    A sum does not depend on how the rows were cut into pages (`total`).
    """
    prefix = hashlib.sha256(header + b"\0")

    def number(row: bytes) -> int:
        digest = prefix.copy()
        digest.update(row)
        return int.from_bytes(digest.digest())

    return _hex(sum(map(number, rows)))


def total(fingerprints: Iterable[str]) -> str:
    """Return the fingerprint of the rows of several pages, given that of each page."""
    return _hex(sum(int(fingerprint, 16) for fingerprint in fingerprints))


def _hex(number: int) -> str:
    return f"{number % 2**256:064x}"


def without(document: bytes, volatile: tuple[str, ...]) -> bytes:
    """Return a JSON object without the members at these paths, such as `metadata.generated`."""
    return _without(document, [path.split(".") for path in volatile])


def _without(document: bytes, paths: list[list[str]]) -> bytes:
    """Return the other members of a JSON object, sorted by name."""
    members = lenient_json.decode(document, type=dict[str, msgspec.Raw])
    kept = []
    for name, value in sorted(members.items()):
        below = [path[1:] for path in paths if path[0] == name]
        if [] in below:
            continue
        inner = bytes(value)
        if below and inner.startswith(b"{"):
            inner = _without(inner, below)
        kept.append(msgspec.json.encode(name) + b":" + inner)
    return b"{" + b",".join(kept) + b"}"


def _of_zip(path: Path, source: Source) -> str:
    """Return the fingerprint of all members by name, also of those in inner archives.

    A member without the volatile columns is hashed as it is, but one member must have them.
    """
    hashes: dict[str, str] = {}
    errors: list[SourceError] = []
    has_columns = not source.volatile_columns
    for name, blocks in _members(path):
        suffix, where = Path(name).suffix.lower(), f"{path.name}: {escaped(name)}"
        if source.volatile and suffix in _JSON:
            hashes[name] = of_json(b"".join(blocks), source.volatile, where)
        elif source.volatile_columns and suffix in _TABLES:
            data = b"".join(blocks)
            try:
                hashes[name] = _of_any_dialect(data, where, source, _TABLES[suffix])
                has_columns = True
            except SourceError as error:
                errors.append(error)
                hashes[name] = _sha256([data])
        else:
            hashes[name] = _sha256(blocks)
    if not has_columns:
        columns = escaped(", ".join(source.volatile_columns))
        what = f"{path.name}: no CSV or TSV in it has the volatile columns {columns}"
        raise errors[0] if errors else SourceError(what)
    return fingerprint_of(hashes)


def _members(path: Path, deep: int = 1) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Return the files of a zip; an archive among them is replaced by its own files.

    An inner archive that cannot be read completely counts as a file.
    """
    for name, blocks in compressed.contents(path):
        first = next(blocks, b"")
        is_zip = first.startswith(_ZIP)
        if deep == _DEEPEST or not (is_zip or first.startswith(compressed.GZIP)):
            yield name, chain([first], blocks)
            continue
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder) / "member"
            with durable.create(inner) as file:
                file.writelines(chain([first], blocks))
            if not _is_whole(inner, is_zip):
                yield name, _blocks(inner)
            elif is_zip:
                yield from ((f"{name}/{own}", data) for own, data in _members(inner, deep + 1))
            else:
                yield f"{name}/{Path(name).stem}", compressed.blocks(inner)


def _is_whole(path: Path, is_zip: bool) -> bool:
    """Return whether all of an archive can be unpacked."""
    try:
        for _, blocks in compressed.contents(path) if is_zip else [("", compressed.blocks(path))]:
            deque(blocks, maxlen=0)
    except SourceError:
        return False
    return True


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(compressed.BLOCK), b"")


def _of_any_dialect(data: bytes, where: str, source: Source, kind: str) -> str:
    """Return the fingerprint of the rows of a table without the volatile columns.

    By its registration (IANA, text/tab-separated-values) a TSV has no quotes; it is read with
    quotes if it cannot be read without. A CSV may have another delimiter than a comma.
    """
    dialects = [(delimiter, True) for delimiter in (b",", b";", b"\t", b"|")]
    if kind == "tsv":
        dialects = [(b"\t", False), (b"\t", True)]
    errors: list[SourceError] = []
    for delimiter, has_quotes in dialects:
        try:
            return of_table(
                data,
                where,
                source.volatile_columns,
                encoding=source.encoding,
                delimiter=delimiter,
                has_quotes=has_quotes,
            )
        except SourceError as error:
            errors.append(error)
    raise errors[0]


def _sha256(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
