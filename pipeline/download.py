"""HTTP as this pipeline wants it: whole answers or an error, retries only where they help.

`requests` takes answers that it should not (a length that is not met, an error page with status
200, a redirect to anywhere), so length, framing, status and redirects are checked here.
"""

import hashlib
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import tenacity
import urllib3

from pipeline import network
from pipeline.errors import SourceError
from pipeline.settings import Settings, redact

CONNECT_SECONDS = 10
READ_SECONDS = 60
MAX_BYTES = 2 * 1024**3
MAX_EXPANSION = 200  # decoded bytes for one received, once past EXPANSION_FLOOR
EXPANSION_FLOOR = 10 * 1024**2
REDIRECTS = 5
RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_BLOCK = 256 * 1024
_FIRST_WAIT = 1.0  # no publisher is asked again within a second, whatever it says


class Transient(SourceError):
    """A failure that asking again may mend."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait  # seconds the publisher asked us to wait


class NoNetwork(SourceError):
    """No host can be reached: retrying is of no use tonight."""


@dataclass(frozen=True)
class Received:
    """What came of one request. `status` is 200, 204 or 304; only a 200 has bytes."""

    url: str
    status: int
    size: int
    sha256: str
    media_type: str
    validators: dict[str, str]  # ETag and Last-Modified as received


class Client:
    """One source's conversation with its publisher: connections and patience are kept here."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.patience = settings.fetch_patience
        self.tries = 0
        self.session = requests.Session()
        # A proxy is honoured; credentials of ~/.netrc are nobody's business here.
        self.session.auth = lambda request: request
        self.session.headers.update(
            {
                "User-Agent": f"county-hazards-pipeline/0.1 (+{settings.contact})",
                "Accept-Encoding": "identity",
            }
        )

    def get(
        self,
        url: str,
        path: Path,
        *,
        headers: dict[str, str] | None = None,
        check: Callable[[Path], None] = lambda path: None,
    ) -> Received:
        """Fetch a URL into a file, retrying within the source's patience.

        Parameters
        ----------
        url:     https address, parameters included.
        path:    file to write; it is whole and flushed to the kernel when this returns 200.
        headers: request headers, such as those of a conditional request.
        check:   looks at the file and raises SourceError when it is not what was asked for.

        Raises SourceError (refused answer), Transient (patience ran out), NoNetwork.
        """
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            wait=self._wait,
            stop=self._out_of_patience,
            before_sleep=self._spend,
            sleep=time.sleep,
            reraise=True,
        ):
            with attempt:
                self.tries += 1
                started = time.monotonic()
                try:
                    return self._get_once(url, path, headers or {}, check)
                except Transient:
                    self.patience -= time.monotonic() - started
                    raise
        raise AssertionError("unreachable: tenacity re-raises")

    def _wait(self, state: tenacity.RetryCallState) -> float:
        asked = state.outcome.exception().wait
        backoff = tenacity.wait_exponential_jitter(initial=_FIRST_WAIT, max=60)(state)
        return max(_FIRST_WAIT, backoff if asked is None else asked)

    def _out_of_patience(self, state: tenacity.RetryCallState) -> bool:
        return state.upcoming_sleep > self.patience

    def _spend(self, state: tenacity.RetryCallState) -> None:
        self.patience -= state.upcoming_sleep

    def _get_once(self, url, path, headers, check) -> Received:
        with self._open(url, headers) as response:
            if response.status_code in (204, 304):
                return Received(url, response.status_code, 0, "", "", _validators(response))
            _refuse_bad_head(url, response)
            with path.open("wb") as file:
                digest, size = _stream(url, response, file)
        check(path)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Received(url, 200, size, digest, media_type, _validators(response))

    def _open(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Send the request, following redirects by hand; the body is not read yet."""
        asked = url
        for _ in range(REDIRECTS + 1):
            response = self._send(asked, headers)
            if response.status_code not in (301, 302, 303, 307, 308):
                _raise_for_status(asked, response, conditional=bool(headers))
                return response
            response.close()
            asked = _redirect_target(asked, response)
        raise SourceError(f"{shown(url)} redirects more than {REDIRECTS} times")

    def _send(self, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self.session.get(
                mirrored(self.settings, url),
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
            )
        except requests.exceptions.SSLError as error:
            raise SourceError(
                f"{shown(url)}: the certificate was refused: {_reason(error)}",
                "a certificate is never skipped; see whether the publisher's site is in order",
            ) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            if network.is_down(self.settings):
                raise NoNetwork("no network: none of the publishers can be reached") from None
            raise Transient(f"{shown(url)}: {_reason(error)}") from None
        except (requests.exceptions.RequestException, ValueError) as error:
            raise SourceError(f"{shown(url)}: {_reason(error)}") from None


def mirrored(settings: Settings, url: str) -> str:
    """The address that is really asked: MIRRORS maps a host to a base URL."""
    parts = urlsplit(url)
    base = settings.mirrors.get((parts.hostname or "").lower())
    return base + urlunsplit(("", "", parts.path, parts.query, "")) if base else url


def shown(url: str) -> str:
    """A URL as it may be printed: without user, password and control characters."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return escaped(redact(urlunsplit((parts.scheme, host, parts.path, parts.query, ""))), 300)


def escaped(text: str, longest: int = 200) -> str:
    """Fetched text as it may be shown: control characters escaped, cut to a length."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    return printable if len(text) <= longest else f"{printable[:longest]}…"


def _raise_for_status(url: str, response: requests.Response, conditional: bool) -> None:
    status = response.status_code
    if status in (200, 204) or (status == 304 and conditional):
        return
    begin = escaped(response.raw.read(400, decode_content=True).decode("utf-8", "replace"))
    what = f"{shown(url)} answered {status}{f': {begin}' if begin else ''}"
    response.close()
    if status in RETRIED_STATUSES:
        raise Transient(what, _retry_after(response.headers.get("Retry-After", "")))
    if status in (401, 403):
        raise SourceError(what, "a credential is missing or was refused")
    if status in (404, 410):
        raise SourceError(what, "see whether the publisher moved the data set")
    raise SourceError(what)


def _retry_after(value: str) -> float | None:
    """Seconds to wait by a Retry-After header, in both its forms (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _redirect_target(url: str, response: requests.Response) -> str:
    target = urljoin(url, response.headers.get("Location", ""))
    if urlsplit(target).scheme != "https" or target == url:
        raise SourceError(f"{shown(url)} redirects to {shown(target)}, which is not followed")
    return target


def _refuse_bad_head(url: str, response: requests.Response) -> None:
    """Refuse what `requests` overlooks in a reply's head (curl refuses the same)."""
    original = response.raw._original_response
    if original is not None and original.msg.defects:
        raise SourceError(f"{shown(url)}: the head of the answer is malformed")
    lengths = response.raw.headers.getlist("Content-Length")
    if len(set(lengths)) > 1 or any(not re.fullmatch(r"[0-9]+", length) for length in lengths):
        raise SourceError(f"{shown(url)}: Content-Length is {escaped(', '.join(lengths))}")
    if response.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise SourceError(f"{shown(url)}: a Transfer-Encoding that is not chunked")


def _stream(url: str, response: requests.Response, file: BinaryIO) -> tuple[str, int]:
    """Copy the body to a file; returns its SHA-256 and size. Length and end are checked."""
    digest, size = hashlib.sha256(), 0
    for block in _decoded(url, response):
        size += len(block)
        if size > MAX_BYTES:
            raise SourceError(f"{shown(url)}: more than {MAX_BYTES >> 20} MiB; stopped")
        digest.update(block)
        file.write(block)
    return digest.hexdigest(), size


def _decoded(url: str, response: requests.Response) -> Iterator[bytes]:
    """The body's blocks. A coding sent although none was asked for is undone."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip"):
        raise SourceError(f"{shown(url)}: Content-Encoding {escaped(coding)} was not asked for")
    if coding != "gzip":
        yield from _received(url, response)
        return
    decoder, received, decoded = zlib.decompressobj(31), 0, 0
    try:
        for block in _received(url, response):
            received += len(block)
            while block:
                out = decoder.decompress(block, _BLOCK)
                block = decoder.unconsumed_tail
                decoded += len(out)
                if decoded > max(EXPANSION_FLOOR, MAX_EXPANSION * received):
                    raise SourceError(f"{shown(url)}: expands without end; stopped")
                yield out
    except zlib.error as error:
        raise Transient(f"{shown(url)}: the gzip coding is damaged ({error})") from None
    if not decoder.eof:
        raise Transient(f"{shown(url)}: the gzip coding has no end")


def _received(url: str, response: requests.Response) -> Iterator[bytes]:
    """The body as it came over the wire, held against Content-Length."""
    announced = response.headers.get("Content-Length")
    received = 0
    try:
        for block in response.raw.stream(_BLOCK, decode_content=False):
            received += len(block)
            yield block
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Transient(f"{shown(url)}: cut after {received:,} bytes: {_reason(error)}") from None
    if announced is not None and received != int(announced):
        raise Transient(f"{shown(url)}: {received:,} bytes came of {int(announced):,}")


def _validators(response: requests.Response) -> dict[str, str]:
    return {k: response.headers[k] for k in ("ETag", "Last-Modified") if k in response.headers}


def _reason(error: Exception) -> str:
    """The innermost reason of a chain of library errors, in a few words."""
    inner = error
    while True:
        reason = getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
        if not isinstance(reason, Exception) or reason is inner:
            break
        inner = reason
    text = str(inner).rpartition(">: ")[2] or type(inner).__name__
    return escaped(redact(text))
