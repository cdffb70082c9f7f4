"""Head and chunks of an HTTP response as RFC 9112 has them, where Python's reader is lenient.

`http.client` takes HTTP/1.2 for 1.1, a NUL or a lone carriage return in a header, and ends the
head at a line without a colon. urllib3 reads the size of a chunk as Python reads a number (`0x7`,
`0_7`), drops two bytes after a chunk whatever they are, and misses no end of the last one.
Whoever sends such a thing cannot be believed about the length.
"""

import http.client
import re
from io import BufferedReader
from typing import Any, BinaryIO, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

VERSIONS = ("HTTP/1.0", "HTTP/1.1")
_END = b"\r\n"
# RFC 9112, 7.1; blanks may stand before an extension, and some servers pad the size with them.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\r\n\0]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n")


class MalformedHead(http.client.HTTPException):
    """The head of an answer is not as the standard has it."""


def mount(session: requests.Session) -> None:
    """Let a session read its answers strictly; their heads raise MalformedHead."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())


class _Lines:
    """The lines of a head, none of them with a NUL or a carriage return within."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.close = file.close

    def readline(self, limit: int = -1) -> bytes:
        line = self._file.readline(limit)
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if b"\r" in text or b"\0" in text:
            raise MalformedHead("a control character in the head of the answer")
        if text and text[:1] not in b" \t" and b":" not in text and not text.startswith(b"HTTP/"):
            raise MalformedHead("a line of the head of the answer is no header")
        return line


class _Chunks:
    """A chunked body: size, bytes, line end, size, …, and after the size 0 the trailers.

    urllib3 asks for each of these in turn, by `readline` and `read`, and drops what is no data.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._left = 0  # bytes of the chunk that is being read
        self._is_in_chunk = self._is_last = False

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def readline(self, *limit: int) -> bytes:
        line = self._file.readline(*limit)
        if self._is_last:
            if line != _END and not _TRAILER.fullmatch(line):
                raise MalformedHead("the last chunk of the response has no end")
            return line
        size = _CHUNK_SIZE.fullmatch(line)
        if line and not size:
            raise MalformedHead("a chunk of the response has no length")
        self._left = int(size[1], 16) if size else 0
        self._is_in_chunk = bool(self._left)
        self._is_last = bool(size) and not self._left
        return line

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if self._left:
            self._left -= len(data)
        elif self._is_in_chunk and data != _END[: len(data)]:
            raise MalformedHead("a chunk of the response is longer or shorter than its length")
        return data


# The casts: `http.client` calls no more of a file than these have, and its types want all of one.
class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        file = self.fp
        self.fp = cast(BufferedReader, _Lines(file))
        try:
            super().begin()
        finally:
            if self.fp is not None:  # it is, when the answer has no body
                is_chunked = getattr(self, "chunked", False) is True
                self.fp = cast(BufferedReader, _Chunks(file)) if is_chunked else file

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # pyrefly: ignore[missing-attribute] # private
        if version not in VERSIONS:
            raise MalformedHead(f"the protocol of the answer is {version[:20]}")
        return version, status, reason


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


# The casts: urllib3's types have no room for its own connections, whose `host` is a property.
class _Pool(HTTPConnectionPool):
    ConnectionCls = cast(Any, _Connection)


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = cast(Any, _SecureConnection)


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *words, **named) -> None:
        super().init_poolmanager(*words, **named)
        _make_strict(self.poolmanager)

    def proxy_manager_for(self, proxy, **named):
        manager = super().proxy_manager_for(proxy, **named)
        if not proxy.lower().startswith("socks"):  # its connections are made another way
            _make_strict(manager)
        return manager


def _make_strict(manager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
