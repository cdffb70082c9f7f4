"""The head of an HTTP answer as RFC 9112 has it, where Python's own reader is lenient.

`http.client` takes HTTP/1.2 for 1.1, a NUL or a lone carriage return in a header, and ends the
head at a line without a colon. Whoever sends such a thing cannot be believed about the length.
"""

import http.client
from typing import BinaryIO

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

VERSIONS = ("HTTP/1.0", "HTTP/1.1")


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
    """A chunked body; the length of a chunk has no sign, which `int` would take."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def readline(self, *limit: int) -> bytes:
        line = self._file.readline(*limit)
        if line[:1] in (b"-", b"+", b"_"):
            raise MalformedHead("a chunk of the answer has no length")
        return line


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        file, self.fp = self.fp, _Lines(self.fp)
        try:
            super().begin()
        finally:
            if self.fp is not None:  # it is, when the answer has no body
                self.fp = _Chunks(file) if getattr(self, "chunked", False) is True else file

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()
        if version not in VERSIONS:
            raise MalformedHead(f"the protocol of the answer is {version[:20]}")
        return version, status, reason


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


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
