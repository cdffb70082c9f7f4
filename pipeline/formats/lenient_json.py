"""JSON as stage `api` reads it: what stage `preprocess` can repair must reach the snapshot.

A byte order mark is no reason to refuse a response (RFC 8259, 8.1, lets a reader ignore it), nor is
a value in the notation of another language: numbers that JSON does not have (`NaN`, `-inf`,
`1.#QNAN`), its own numbers in other spellings (`.5`, `007`), other names of null (`None`,
`undefined`). Stage `preprocess` reads strictly (`strict_json`).
"""

import codecs
import re
from typing import TypeVar

import msgspec

from pipeline.errors import SourceError
from pipeline.text import start_of

Kind = TypeVar("Kind")
# A string, which is skipped, or a whole value without quotes.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s",:\[\]{}]+(?=[\s,\]}]|\Z)', re.DOTALL)
_OF_JSON = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|null|true|false")
_FOREIGN = re.compile(
    rb"[+-]?(?:nan|inf(?:inity)?)(?:\([a-z0-9]*\))?"  # C and Python, in any case
    rb"|[+-]?[0-9]\.#[a-z]+[0-9]*"  # as Windows prints them: 1.#QNAN, -1.#IND00
    rb"|[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"  # a number in another spelling
    rb"|none|null|undefined|true|false|\#?n/a",
    re.IGNORECASE,
)


def read(data: bytes | msgspec.Raw, type: type[Kind], where: str, expected: str) -> Kind:
    """Decode a document as `decode` does; SourceError says that it is not what was expected."""
    try:
        return decode(data, type)
    except (msgspec.DecodeError, RecursionError) as error:
        text = start_of(bytes(data))
        raise SourceError(f"{where}: not {expected} ({error}): {text}") from None


def decode(data: bytes | msgspec.Raw, type: type[Kind]) -> Kind:
    """Decode a document as a type; a value that JSON does not have becomes a text.

    Raises msgspec.DecodeError and RecursionError, as msgspec does.
    """
    data = bytes(data).removeprefix(codecs.BOM_UTF8)
    try:
        return msgspec.json.decode(data, type=type)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if not has_foreign_value(data):
            raise
    return msgspec.json.decode(_TOKEN.sub(_as_text, data), type=type)


def has_foreign_value(data: bytes) -> bool:
    """Whether a value is a number or a name that another language has, and JSON does not."""
    return any(_is_foreign(found[0]) for found in _TOKEN.finditer(data))


def _is_foreign(token: bytes) -> bool:
    is_bare = not token.startswith(b'"') and not _OF_JSON.fullmatch(token)
    return is_bare and bool(_FOREIGN.fullmatch(token))


def _as_text(found: re.Match[bytes]) -> bytes:
    return b'"%b"' % found[0] if _is_foreign(found[0]) else found[0]
