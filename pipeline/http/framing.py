"""Whether the body of an HTTP answer came whole, and what its bytes are.

`requests` takes answers that it should not: a length that is not met, a head with a line it could
not read, chunk marks left in the body. What curl refuses is refused here (RFC 9112, 6 and 7).
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import requests
import urllib3

from pipeline import compressed
from pipeline.errors import SourceError, Transient
from pipeline.settings import redact
from pipeline.text import escaped, shown

_BLOCK = 256 * 1024


def check_head(url: str, response: requests.Response) -> None:
    """Refuse an answer whose head leaves open where its body ends.

    Raises SourceError on a malformed head, a Content-Length that is no number or given twice, a
    Transfer-Encoding other than `chunked`, or a status 200 with the range of a part.
    """
    original = response.raw._original_response
    if original is not None and original.msg.defects:
        raise SourceError(f"{shown(url)}: the head of the answer is malformed")
    lengths = [value.strip(" \t") for value in response.raw.headers.getlist("Content-Length")]
    if len(lengths) > 1 or any(not re.fullmatch(r"[0-9]{1,18}", length) for length in lengths):
        raise SourceError(f"{shown(url)}: Content-Length is {escaped(', '.join(lengths))}")
    codings = response.raw.headers.getlist("Transfer-Encoding")
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        raise SourceError(f"{shown(url)}: Transfer-Encoding is {escaped(', '.join(codings))}")
    if codings and lengths:
        raise SourceError(f"{shown(url)}: both Content-Length and Transfer-Encoding")
    if response.status_code == 200 and "Content-Range" in response.headers:  # RFC 9110, 14.4
        given = escaped(response.headers["Content-Range"])
        raise SourceError(f"{shown(url)}: status 200 with Content-Range {given}")


def is_delimited(response: requests.Response) -> bool:
    """Whether the protocol itself says where the body ends, by a length or by chunks."""
    return "Content-Length" in response.headers or "Transfer-Encoding" in response.headers


@dataclass
class Body:
    """What came of a body so far, after decoding."""

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0  # bytes


def copy_body(url: str, response: requests.Response, file: BinaryIO, body: Body) -> None:
    """Append a body to a file and to what came of it before.

    Raises Transient when it is cut or damaged, SourceError when it is too large or in a coding
    that was not asked for. A gzip coding, not asked for either, is undone: caches add it.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip"):
        raise SourceError(f"{shown(url)}: Content-Encoding {escaped(coding)} was not asked for")
    blocks = _received(url, response)
    for block in compressed.gunzip(blocks, shown(url)) if coding == "gzip" else blocks:
        if body.size + len(block) > compressed.MAX_BYTES:
            raise SourceError(f"{shown(url)}: more than {compressed.MAX_BYTES >> 20} MiB; stopped")
        file.write(block)
        body.digest.update(block)
        body.size += len(block)


def _received(url: str, response: requests.Response) -> Iterator[bytes]:
    """The body as it came over the wire, held against Content-Length."""
    announced = response.headers.get("Content-Length")
    received = 0
    try:
        for block in response.raw.stream(_BLOCK, decode_content=False):
            received += len(block)
            yield block
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Transient(f"{shown(url)}: cut after {received:,} bytes: {reason(error)}") from None
    if announced is not None and received != int(announced):
        raise Transient(f"{shown(url)}: {received:,} bytes came of {int(announced):,}")


def reason(error: Exception) -> str:
    """The innermost reason of a chain of library errors, in a few words."""
    inner = innermost(error)
    text = str(inner).rpartition(">: ")[2] or type(inner).__name__
    return escaped(redact(text))


def innermost(error: Exception) -> Exception:
    """What a chain of library errors began with."""
    while True:
        cause = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(cause, Exception) or cause is error:
            return error
        error = cause
