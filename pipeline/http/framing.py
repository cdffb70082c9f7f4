"""Is a response complete? Head, chunks and length as RFC 9112 has them, or an error.

`http.client` takes HTTP/1.2 for 1.1, accepts a NUL or a lone carriage return in a header, and ends
the head at a line without a colon. urllib3 reads the size of a chunk as Python reads a number
(`0x7`, `0_7`), skips two bytes after a chunk whatever they are, and does not miss the end of the
last chunk. A server that sends such a response cannot be trusted about its length.
"""

import http.client
import re
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, BinaryIO, cast

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pipeline import compressed
from pipeline.errors import SourceError, Transient
from pipeline.http.resume import Partial
from pipeline.settings import redact
from pipeline.text import escaped, shown

VERSIONS = ("HTTP/1.0", "HTTP/1.1")
_BLOCK = 256 * 1024
_END = b"\r\n"
# RFC 9112, 7.1. Spaces may precede an extension, and some servers pad the size with them.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\r\n\0]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n")


class Malformed(http.client.HTTPException):
    """The head or a chunk of a response violates the standard."""


def mount(session: requests.Session) -> None:
    """Make a session read responses strictly: it raises Malformed where libraries are lenient."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())


def check_head(url: str, response: requests.Response) -> None:
    """Refuse a response whose head does not say clearly where its body ends.

    Raises SourceError on a malformed head, a Content-Length that is not a number or is repeated, a
    Transfer-Encoding other than `chunked`, or a status 200 with the range of a part.
    """
    original = response.raw._original_response
    if original is not None and original.msg.defects:
        raise SourceError(f"{shown(url)}: the head of the response is malformed")
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


def copy_body(url: str, response: requests.Response, file: BinaryIO, partial: Partial) -> None:
    """Append a body to a file, and count and hash it in `partial`.

    Raises Transient when it is cut or damaged, SourceError when it is too large or in a coding
    that was not requested. gzip is decoded although it was not requested either: caches add it.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip"):
        raise SourceError(f"{shown(url)}: Content-Encoding {escaped(coding)} was not requested")
    blocks = _received(url, response)
    for block in compressed.gunzip(blocks, shown(url)) if coding == "gzip" else blocks:
        if partial.size + len(block) > compressed.MAX_BYTES:
            raise SourceError(f"{shown(url)}: more than {compressed.MAX_BYTES >> 20} MiB; stopped")
        file.write(block)
        partial.add(block)


def _received(url: str, response: requests.Response) -> Iterator[bytes]:
    """The body as received; its size must be the Content-Length, if there is one."""
    announced = response.headers.get("Content-Length")
    received = 0
    try:
        for block in response.raw.stream(_BLOCK, decode_content=False):
            received += len(block)
            yield block
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Transient(f"{shown(url)}: cut after {received:,} bytes: {reason(error)}") from None
    if announced is not None and received != int(announced):
        raise Transient(f"{shown(url)}: only {received:,} of {int(announced):,} bytes arrived")


def reason(error: Exception) -> str:
    """The root cause of a chain of library errors, in a few words."""
    cause = root_cause(error)
    text = str(cause).rpartition(">: ")[2] or type(cause).__name__
    return escaped(redact(text))


def root_cause(error: Exception) -> Exception:
    """The error that a chain of library errors began with."""
    while True:
        cause = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(cause, Exception) or cause is error:
            return error
        error = cause


class _Head:
    """The lines of a head; none may contain a NUL or a carriage return."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.close = file.close

    def readline(self, limit: int = -1) -> bytes:
        line = self._file.readline(limit)
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if b"\r" in text or b"\0" in text:
            raise Malformed("a control character in the head of the response")
        if text and text[:1] not in b" \t" and b":" not in text and not text.startswith(b"HTTP/"):
            raise Malformed("a line of the head of the response is not a header")
        return line


class _Chunks:
    """A chunked body: size, bytes, line end, size, …, and after the size 0 the trailers.

    urllib3 reads each of these in turn, by `readline` and `read`, and drops what is not data.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._left = 0  # bytes of the current chunk
        self._is_in_chunk = self._is_last = False

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def readline(self, *limit: int) -> bytes:
        line = self._file.readline(*limit)
        if self._is_last:
            if line != _END and not _TRAILER.fullmatch(line):
                raise Malformed("the last chunk of the response has no end")
            return line
        size = _CHUNK_SIZE.fullmatch(line)
        if line and not size:
            raise Malformed("a chunk of the response has no length")
        self._left = int(size[1], 16) if size else 0
        self._is_in_chunk = bool(self._left)
        self._is_last = bool(size) and not self._left
        return line

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if self._left:
            self._left -= len(data)
        elif self._is_in_chunk and data != _END[: len(data)]:
            raise Malformed("a chunk of the response is longer or shorter than its length")
        return data


# The casts: `http.client` uses only these methods of a file, but its types want a complete one.
class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        file = self.fp
        self.fp = cast(BufferedReader, _Head(file))
        try:
            super().begin()
        finally:
            if self.fp is not None:  # None when the response has no body
                is_chunked = getattr(self, "chunked", False) is True
                self.fp = cast(BufferedReader, _Chunks(file)) if is_chunked else file

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # pyrefly: ignore[missing-attribute] # private
        if version not in VERSIONS:
            raise Malformed(f"the protocol of the response is {version[:20]}")
        return version, status, reason


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


# The casts: urllib3's types do not accept its own connections, whose `host` is a property.
class _Pool(HTTPConnectionPool):
    ConnectionCls = cast(Any, _Connection)


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = cast(Any, _SecureConnection)


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments, **options) -> None:
        super().init_poolmanager(*arguments, **options)
        _make_strict(self.poolmanager)

    def proxy_manager_for(self, proxy, **options):
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # a SOCKS proxy needs connections of its own
            _make_strict(manager)
        return manager


def _make_strict(manager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
