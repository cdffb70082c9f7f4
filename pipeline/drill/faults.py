"""What goes wrong on the way: faults that turn an honest answer into a bad one.

`./run_pipeline.sh drill` puts them before a user's own sources, the tests before slices of their
own. What an answer is, and how it is sent, stands here too.
"""

import gzip
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from pathlib import Path

SLICE = 16  # bytes of a body that drips


@dataclass
class Answer:
    """One scripted answer. `hang` seconds pass before it; `cut` sends only so many bytes.

    `send` writes to the connection by itself, head and all, instead of everything else.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0
    cut: int | None = None
    length: str | None = "right"  # the Content-Length sent; None sends none
    send: Callable[[BufferedIOBase], object] | None = None


Fault = Callable[[Answer], Answer]


def send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    """Send an answer, as bad as it is."""
    time.sleep(answer.hang)
    if answer.send:
        handler.close_connection = True
        answer.send(handler.wfile)
        return
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    if answer.length is not None and answer.status != 304:
        length = str(len(answer.body)) if answer.length == "right" else answer.length
        handler.send_header("Content-Length", length)
    else:
        handler.close_connection = answer.length is None
    handler.end_headers()
    if answer.status != 304:
        handler.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
    if answer.cut is not None:
        handler.close_connection = True


def status(code: int, *, retry_after: str | float | None = None, body: bytes = b"no") -> Fault:
    """An answer with a status; Retry-After as text, or as a date so many seconds from now."""

    def fault(answer: Answer) -> Answer:
        headers = {"Content-Type": "text/plain"}
        if isinstance(retry_after, str):
            headers["Retry-After"] = retry_after
        elif retry_after is not None:
            headers["Retry-After"] = formatdate(time.time() + retry_after, usegmt=True)
        return Answer(body, code, headers)

    return fault


def slow(seconds: float) -> Fault:
    """The whole answer, late."""
    return lambda answer: replace(answer, hang=seconds)


def drip(pause: float) -> Fault:
    """The whole answer, a few bytes at a time with a pause between."""

    def fault(answer: Answer) -> Answer:
        def send(file) -> None:
            file.write(head(answer, f"Content-Length: {len(answer.body)}"))
            for begin in range(0, len(answer.body), SLICE):
                file.write(answer.body[begin : begin + SLICE])
                file.flush()
                time.sleep(pause)

        return Answer(send=send)

    return fault


def cut(share: float = 0.5, *, announced: bool = True) -> Fault:
    """A body that ends early; without `announced` no Content-Length tells that it does."""

    def fault(answer: Answer) -> Answer:
        end = int(len(answer.body) * share)
        if announced:
            return replace(answer, cut=end)
        return replace(answer, body=answer.body[:end], length=None)

    return fault


def chunked(*, ends: bool = True) -> Fault:
    """The body in chunks, of which the last one may be missing."""

    def fault(answer: Answer) -> Answer:
        def send(file) -> None:
            file.write(head(answer, "Transfer-Encoding: chunked"))
            middle = len(answer.body) // 2
            for part in filter(None, (answer.body[:middle], answer.body[middle:])):
                file.write(b"%x\r\n%s\r\n" % (len(part), part))
            if ends:
                file.write(b"0\r\n\r\n")

        return Answer(send=send)

    return fault


def length(value: str) -> Fault:
    """The body with another Content-Length."""
    return lambda answer: replace(answer, length=value)


def doubled_length(difference: int = 0) -> Fault:
    """The body with two Content-Lengths."""

    def fault(answer: Answer) -> Answer:
        size = len(answer.body)
        lines = f"Content-Length: {size}\r\nContent-Length: {size + difference}"
        return Answer(send=lambda file: file.write(head(answer, lines) + answer.body))

    return fault


def html(text: str = "Down for maintenance") -> Fault:
    """A web page with status 200."""
    body = f"<!DOCTYPE html>\n<html><body>{text}</body></html>\n".encode()
    return lambda answer: Answer(body, headers={"Content-Type": "text/html"})


def error_in_200(body: bytes) -> Fault:
    """A publisher's own error with status 200."""
    return lambda answer: Answer(body, headers={"Content-Type": "application/json"})


def redirect(*to: str, code: int = 302) -> Fault:
    """A redirect, to as many places as there are Locations."""

    def fault(answer: Answer) -> Answer:
        lines = "\r\n".join(f"Location: {place}" for place in to)
        head = f"HTTP/1.1 {code} Moved\r\n{lines}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return Answer(send=lambda file: file.write(head.encode("latin-1")))

    return fault


def gzip_bomb(megabytes: int) -> Fault:
    """A few bytes that unpack to a body of zeros, in a coding that was not asked for."""
    body = gzip.compress(bytes(megabytes << 20), 9)
    return lambda answer: Answer(body, headers=answer.headers | {"Content-Encoding": "gzip"})


def changed(change: Callable[[bytes], bytes]) -> Fault:
    """The body as a function makes it."""
    return lambda answer: replace(answer, body=change(answer.body))


def self_signed(folder: Path) -> ssl.SSLContext:
    """TLS for 127.0.0.1 with a certificate that nobody vouches for; needs openssl."""
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1"
    words += " -addext subjectAltName=IP:127.0.0.1"
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    files = ["-out", certificate, "-keyout", key]
    subprocess.run([*words.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def head(answer: Answer, framing: str) -> bytes:
    """The head of an answer after which the connection ends; `framing` says where its body does."""
    lines = [f"HTTP/1.1 {answer.status} OK", *(f"{k}: {v}" for k, v in answer.headers.items())]
    return ("\r\n".join([*lines, framing, "Connection: close"]) + "\r\n\r\n").encode("latin-1")
