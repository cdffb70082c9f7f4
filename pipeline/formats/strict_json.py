"""JSON by the standard (RFC 8259): where parsers disagree, the document is refused.

msgspec refuses NaN, concatenated documents, bad escapes and lone surrogates, even in values it
leaves raw. It does not check that raw values are UTF-8 and that no two members have the same name.
"""

import codecs
import json
import re
from functools import cache
from pathlib import Path
from types import GenericAlias
from typing import Any, TypeVar

import msgspec

from pipeline.errors import SourceError
from pipeline.formats import charset, lenient_json
from pipeline.formats.remedies import REPAIR
from pipeline.text import excerpt, label

MAX_BYTES = 1 << 30  # a document is held in memory
Raw = msgspec.Raw
Kind = TypeVar("Kind")
_MEMBER = re.compile(rb'"[ \t\r\n]*:')


def nested(kind: Any, depth: int) -> Any:
    """The type of lists of a kind, nested to a depth, for msgspec."""
    return nested(GenericAlias(list, (kind,)), depth - 1) if depth else kind


def read(path: Path) -> bytes:
    """A whole JSON document in UTF-8, not parsed. Raises SourceError with file and offset."""
    if path.stat().st_size > MAX_BYTES:
        raise SourceError(f"{label(path)}: over {MAX_BYTES >> 30} GiB, too large for one document")
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if marked := charset.marked(data):
        raise SourceError(f"{label(path)}: {marked.upper()}, but JSON is UTF-8 (RFC 8259)")
    start = data[:1024].lstrip()[:1]
    if start == b"<":
        raise SourceError(f"{label(path)}: an HTML page instead of JSON: {excerpt(data.lstrip())}")
    if not start:
        raise SourceError(f"{label(path)}: an empty file instead of JSON")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            what = f"the byte 0x{data[error.start]:02x} is not UTF-8 here"
            around = excerpt(data[max(0, error.start - 20) : error.start + 40])
            raise SourceError(
                f"{label(path)}, line {line}, byte {error.start + 1}: {what}: {around}"
            ) from None
    return data


def decode(data: bytes | Raw, kind: type[Kind], where: str) -> Kind:
    """Decode a document or a raw value as a type. Raises SourceError that begins with `where`."""
    try:
        return _decoder(kind).decode(data)
    except RecursionError:
        raise SourceError(f"{where}: JSON nested too deep") from None
    except msgspec.DecodeError as error:
        what = f"{where}: {error}: {excerpt(bytes(data)[:240])}"
        if isinstance(error, msgspec.ValidationError) or not lenient_json.has_foreign_value(data):
            raise SourceError(what) from None
        raise SourceError(
            f"{what} (NaN, Infinity and the like are not JSON values)", REPAIR
        ) from None


@cache
def _decoder(kind: type[Kind]) -> msgspec.json.Decoder[Kind]:
    return msgspec.json.Decoder(kind)


def members(data: bytes | Raw) -> int:
    """The number of members of the objects in a value, at any depth; sometimes too high.

    A string with `":` in it counts as a member. So a number larger than expected needs a closer
    look, and an equal one proves that no object has two members of the same name.
    """
    return len(_MEMBER.findall(data))


def refuse_twins(data: bytes | Raw, where: str) -> None:
    """Raise SourceError if any object in a value has two members of the same name."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            twin = next(name for name in names if names.count(name) > 1)
            raise SourceError(f"{where}: two members are called {excerpt(twin)!r}")

    try:
        json.loads(bytes(data), object_pairs_hook=check, parse_int=str, parse_float=str)
    except RecursionError:
        raise SourceError(f"{where}: JSON nested too deep") from None
