"""Faults: functions that turn a correct reply of a publisher into a faulty one.

`./run_pipeline.sh drill` applies them to a user's own sources, the tests to samples of their own.
A `Reply` and how it is sent are here, too.
"""

import gzip
import json
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from pathlib import Path

from pipeline.compressed import GZIP
from pipeline.formats import records

SLICE = 16  # bytes sent at a time by `drip`
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass
class Reply:
    """One reply of a server.

    hang: seconds to wait before it.
    cut:  how many bytes of the body are sent; None sends all.
    send: writes head and body to the connection itself, whatever the other members say.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0
    cut: int | None = None
    length: str | None = "right"  # the Content-Length sent; None sends none
    send: Callable[[BufferedIOBase], object] | None = None


Fault = Callable[[Reply], Reply]


def send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    """Send a reply, faults included."""
    time.sleep(reply.hang)
    if reply.send:
        handler.close_connection = True
        reply.send(handler.wfile)
        return
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    if reply.length is not None and reply.status != 304:
        length = str(len(reply.body)) if reply.length == "right" else reply.length
        handler.send_header("Content-Length", length)
    else:
        handler.close_connection = reply.length is None
    handler.end_headers()
    if reply.status != 304:
        handler.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
    if reply.cut is not None:
        handler.close_connection = True


def status(code: int, *, retry_after: str | float | None = None, body: bytes = b"no") -> Fault:
    """A reply with a status; Retry-After as text, or as a date so many seconds from now."""

    def fault(reply: Reply) -> Reply:
        headers = {"Content-Type": "text/plain"}
        if isinstance(retry_after, str):
            headers["Retry-After"] = retry_after
        elif retry_after is not None:
            headers["Retry-After"] = formatdate(time.time() + retry_after, usegmt=True)
        return Reply(body, code, headers)

    return fault


def slow(seconds: float) -> Fault:
    """The complete reply, late."""
    return lambda reply: replace(reply, hang=seconds)


def drip(pause: float) -> Fault:
    """The complete reply, a few bytes at a time with pauses."""

    def fault(reply: Reply) -> Reply:
        def send(file) -> None:
            file.write(head(reply, f"Content-Length: {len(reply.body)}"))
            for begin in range(0, len(reply.body), SLICE):
                file.write(reply.body[begin : begin + SLICE])
                file.flush()
                time.sleep(pause)

        return Reply(send=send)

    return fault


def cut(share: float = 0.5, *, announced: bool = True) -> Fault:
    """A body that ends early; without `announced` no Content-Length shows it."""

    def fault(reply: Reply) -> Reply:
        end = int(len(reply.body) * share)
        if announced:
            return replace(reply, cut=end)
        return replace(reply, body=reply.body[:end], length=None)

    return fault


def chunked(*, ends: bool = True) -> Fault:
    """The body in chunks; the last chunk may be missing."""

    def fault(reply: Reply) -> Reply:
        def send(file) -> None:
            file.write(head(reply, "Transfer-Encoding: chunked"))
            middle = len(reply.body) // 2
            for part in filter(None, (reply.body[:middle], reply.body[middle:])):
                file.write(b"%x\r\n%s\r\n" % (len(part), part))
            if ends:
                file.write(b"0\r\n\r\n")

        return Reply(send=send)

    return fault


def length(value: str) -> Fault:
    """The body with another Content-Length."""
    return lambda reply: replace(reply, length=value)


def doubled_length(difference: int = 0) -> Fault:
    """The body with two Content-Lengths."""

    def fault(reply: Reply) -> Reply:
        size = len(reply.body)
        lines = f"Content-Length: {size}\r\nContent-Length: {size + difference}"
        return Reply(send=lambda file: file.write(head(reply, lines) + reply.body))

    return fault


def html(text: str = "Down for maintenance") -> Fault:
    """A web page with status 200."""
    body = f"<!DOCTYPE html>\n<html><body>{text}</body></html>\n".encode()
    return lambda reply: Reply(body, headers={"Content-Type": "text/html"})


def error_in_200(body: bytes) -> Fault:
    """An error message of a publisher with status 200."""
    return lambda reply: Reply(body, headers={"Content-Type": "application/json"})


def redirect(*to: str, code: int = 302) -> Fault:
    """A redirect with one Location per URL."""

    def fault(reply: Reply) -> Reply:
        lines = "\r\n".join(f"Location: {url}" for url in to)
        head = f"HTTP/1.1 {code} Moved\r\n{lines}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return Reply(send=lambda file: file.write(head.encode("latin-1")))

    return fault


def gzip_bomb(megabytes: int) -> Fault:
    """A few bytes that unpack to a body of zeros, in a coding that nobody requested."""
    body = gzip.compress(bytes(megabytes << 20), 9)
    return lambda reply: Reply(body, headers=reply.headers | {"Content-Encoding": "gzip"})


def changed(change: Callable[[bytes], bytes]) -> Fault:
    """The body as a function changes it."""
    return lambda reply: replace(reply, body=change(reply.body))


def self_signed(folder: Path) -> ssl.SSLContext:
    """TLS for 127.0.0.1 with a self-signed certificate; needs openssl."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1"
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    files = ["-out", certificate, "-keyout", key]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def head(reply: Reply, framing: str) -> bytes:
    """The head of a reply; `framing` is the header that says where its body ends."""
    lines = [f"HTTP/1.1 {reply.status} OK", *(f"{k}: {v}" for k, v in reply.headers.items())]
    return ("\r\n".join([*lines, framing, "Connection: close"]) + "\r\n\r\n").encode("latin-1")


# Faults of the rows themselves. The document stays valid: only counts, the volume guard and the
# declared columns can detect them.


def fewer_rows(share: float) -> Fault:
    """The same valid document with a share of its rows or features."""

    def of_rows(rows: list) -> list:
        return rows[: int(len(rows) * share)]

    def of_table(header: bytes, rows: list[bytes]) -> bytes:
        return header + b"".join(of_rows(rows))

    return changed(lambda body: _edited(body, of_table, of_rows))


def renamed_column(reply: Reply) -> Reply:
    """The same document whose first column, or first property, has another name."""

    def of_table(header: bytes, rows: list[bytes]) -> bytes:
        marks = (_BYTE_ORDER_MARK + b'"', _BYTE_ORDER_MARK, b'"', b"")
        start = next(mark for mark in marks if header.startswith(mark))
        return start + b"renamed_" + header.removeprefix(start) + b"".join(rows)

    def of_rows(rows: list) -> list:
        return [_renamed(row) for row in rows]

    return replace(reply, body=_edited(reply.body, of_table, of_rows))


def _renamed(row: dict) -> dict:
    """A row, or the properties of a feature, with another name for its first member."""
    if isinstance(row.get("properties"), dict):
        return row | {"properties": _renamed(row["properties"])}
    return {(f"renamed_{k}" if n == 0 else k): v for n, (k, v) in enumerate(row.items())}


def _edited(
    body: bytes,
    of_table: Callable[[bytes, list[bytes]], bytes],
    of_rows: Callable[[list], list],
) -> bytes:
    """A body with its rows edited; unchanged if no rows are recognised in it.

    of_table: edits a CSV, given its header and records.
    of_rows:  edits JSON, given the list of its features, geometries or rows.
    """
    if body.startswith(GZIP):
        return gzip.compress(_edited(gzip.decompress(body), of_table, of_rows), mtime=0)
    start = body.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
    if start in (b"<", b"") or b"\0" in body[:1024]:
        return body
    if start not in (b"{", b"["):
        header, *rows = records.split(body)
        return of_table(header, rows)
    document = json.loads(body.removeprefix(_BYTE_ORDER_MARK))
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
