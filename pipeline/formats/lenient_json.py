"""JSON as stage `api` looks at it: what stage `preprocess` can repair must reach the snapshot.

A byte order mark (RFC 8259, 8.1, lets a reader ignore it) and the numbers that JSON does not have
are no reason to refuse a response. Stage `preprocess` reads strictly (`strict_json`).
"""

import codecs
import re
from typing import TypeVar

import msgspec

Kind = TypeVar("Kind")
# A string, which is passed over, or a number that JSON does not have.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|(?<![\w.-])-?(?:NaN|Infinity)\b', re.DOTALL)


def decode(data: bytes | msgspec.Raw, type: type[Kind]) -> Kind:
    """Decode a document as a type; NaN and Infinity become texts of these names.

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
    """Whether NaN or Infinity stands where JSON has a number."""
    return any(not met[0].startswith(b'"') for met in _TOKEN.finditer(data))


def _as_text(met: re.Match[bytes]) -> bytes:
    return met[0] if met[0].startswith(b'"') else b'"%b"' % met[0]
