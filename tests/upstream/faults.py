"""What goes wrong on the way, for the answers of any protocol.

A fault turns an honest answer into a bad one. `switched` puts it between a publisher and its
handler, for some of the requests:

    publisher.answers[path] = switched(honest, status(503, retry_after="2"), times=1)
"""

import gzip
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

from publisher import Answer, Request

Fault = Callable[[Answer], Answer]
Handler = Callable[[Request], Answer]

SLICE = 16  # bytes of a body that drips


def switched(
    honest: Handler,
    fault: Fault,
    *,
    times: int | None = None,
    when: Callable[[Request], bool] = lambda request: True,
) -> Handler:
    """A handler with a fault in it.

    Parameters
    ----------
    times: how many of the answers are bad, the first ones; all when left out.
    when:  which requests the fault is for; the others are neither bad nor counted.
    """
    left = [float("inf") if times is None else times]

    def handler(request) -> Answer:
        answer = honest(request)
        if not when(request) or left[0] <= 0:
            return answer
        left[0] -= 1
        return fault(answer)

    return handler


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
            file.write(_head(answer, f"Content-Length: {len(answer.body)}"))
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


def cut_at_a_line(share: float = 0.5) -> Fault:
    """The worst cut: after a whole line, and nothing announced."""

    def fault(answer: Answer) -> Answer:
        end = answer.body.index(b"\n", int(len(answer.body) * share)) + 1
        return replace(answer, body=answer.body[:end], length=None)

    return fault


def chunked(*, ends: bool = True) -> Fault:
    """The body in chunks, of which the last one may be missing."""

    def fault(answer: Answer) -> Answer:
        def send(file) -> None:
            file.write(_head(answer, "Transfer-Encoding: chunked"))
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
        return Answer(send=lambda file: file.write(_head(answer, lines) + answer.body))

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


def _head(answer: Answer, framing: str) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} OK", *(f"{k}: {v}" for k, v in answer.headers.items())]
    return ("\r\n".join([*lines, framing, "Connection: close"]) + "\r\n\r\n").encode("latin-1")
