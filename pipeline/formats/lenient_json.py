"""JSON as stage `api` looks at it: what stage `preprocess` can repair must reach the snapshot.

A byte order mark (RFC 8259, 8.1, lets a reader ignore it) is no reason to refuse a response, nor
is a value in the words of another language: the numbers that JSON does not have (`NaN`, `-inf`,
`1.#QNAN`), its own in other spellings (`.5`, `007`), what stands for no value (`None`,
`undefined`). Stage `preprocess` reads strictly (`strict_json`).
"""

import codecs
import re
from typing import TypeVar

import msgspec

Kind = TypeVar("Kind")
# A string, which is passed over, or a whole value that stands bare.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s",:\[\]{}]+(?=[\s,\]}]|\Z)', re.DOTALL)
_OF_JSON = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|null|true|false")
_NO_VALUE = re.compile(
    rb"[+-]?(?:nan|inf(?:inity)?)(?:\([a-z0-9]*\))?"  # C and Python, in any case
    rb"|[+-]?[0-9]\.#[a-z]+[0-9]*"  # as Windows prints them: 1.#QNAN, -1.#IND00
    rb"|[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"  # a number, spelled otherwise
    rb"|none|null|undefined|true|false|\#?n/a",
    re.IGNORECASE,
)


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
        if not has_no_number(data):
            raise
    return msgspec.json.decode(_TOKEN.sub(_as_text, data), type=type)


def has_no_number(data: bytes) -> bool:
    """Whether a number or word stands where JSON has a value, and is none of JSON."""
    return any(_is_no_value(met[0]) for met in _TOKEN.finditer(data))


def _is_no_value(token: bytes) -> bool:
    is_bare = not token.startswith(b'"') and not _OF_JSON.fullmatch(token)
    return is_bare and bool(_NO_VALUE.fullmatch(token))


def _as_text(met: re.Match[bytes]) -> bytes:
    return b'"%b"' % met[0] if _is_no_value(met[0]) else met[0]
