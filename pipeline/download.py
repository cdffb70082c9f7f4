"""HTTP as this pipeline wants it: whole answers or an error, retries only where they help."""

import ipaddress
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import tenacity
import urllib3

from pipeline import framing, network
from pipeline.errors import SourceError
from pipeline.framing import Transient
from pipeline.network import mirrored
from pipeline.printable import escaped, shown
from pipeline.settings import Settings, redact

CONNECT_SECONDS = 10
READ_SECONDS = 60
REDIRECTS = 5
RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_FIRST_WAIT = 1.0  # no publisher is asked again within a second, whatever it says


class NoNetwork(SourceError):
    """No host can be reached: retrying is of no use tonight."""


@dataclass(frozen=True)
class Received:
    """What came of one request. `status` is 200 or 304; only a 200 has bytes."""

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
        check: Callable[[Path, bool], None] = lambda path, is_delimited: None,
    ) -> Received:
        """Fetch a URL into a file, retrying within the source's patience.

        Parameters
        ----------
        url:     https address, parameters included.
        path:    file to write; it is whole when this returns 200.
        headers: request headers, such as those of a conditional request; they are sent to the
                 host of `url` alone.
        check:   `check(path, is_delimited)` raises SourceError when the file is not what was
                 asked for, Transient when it is worth asking again. `is_delimited` is false when
                 nothing but the document itself can prove that it is whole.

        Raises SourceError (refused answer), Transient (patience ran out), NoNetwork.
        """
        if not self.tries and network.is_down(self.settings, url):
            raise NoNetwork("no network: none of the publishers can be reached")
        first = self.tries
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            wait=self._wait,
            stop=lambda state: state.upcoming_sleep > self.patience,
            before_sleep=self._spend,
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return retrying(self._try, url, path, headers or {}, check)
        except Transient as error:
            if self.tries - first > 1:
                error.what += f" ({self.tries - first} tries)"
            raise

    def _try(self, url, path, headers, check) -> Received:
        self.tries += 1
        started = time.monotonic()
        try:
            return self._get_once(url, path, headers, check)
        except Transient:
            self.patience -= time.monotonic() - started
            raise

    def _wait(self, state: tenacity.RetryCallState) -> float:
        asked = state.outcome.exception().wait
        backoff = tenacity.wait_exponential_jitter(initial=_FIRST_WAIT, max=60)(state)
        return max(_FIRST_WAIT, backoff if asked is None else asked)

    def _spend(self, state: tenacity.RetryCallState) -> None:
        self.patience -= state.upcoming_sleep

    def _get_once(self, url, path, headers, check) -> Received:
        with self._open(url, headers) as response:
            if response.status_code == 304:
                return Received(url, 304, 0, "", "", _validators(response))
            framing.check_head(url, response)
            with path.open("wb") as file:
                digest, size = framing.copy_body(url, response, file)
            is_delimited = framing.is_delimited(response)
        check(path, is_delimited)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Received(url, 200, size, digest, media_type, _validators(response))

    def _open(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Send the request, following redirects by hand; the body is not read yet."""
        asked = url
        for _ in range(REDIRECTS + 1):
            to_the_same = urlsplit(asked).netloc == urlsplit(url).netloc
            response = self._send(asked, headers if to_the_same else {})
            if response.status_code not in (301, 302, 303, 307, 308):
                is_conditional = to_the_same and any(h.startswith("If-") for h in headers)
                _raise_for_status(asked, response, is_conditional)
                return response
            response.close()
            asked = _redirect_target(self.settings, asked, response)
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
                f"{shown(url)}: the certificate was refused: {framing.reason(error)}",
                "a certificate is never skipped; see whether the publisher's site is in order",
            ) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise Transient(f"{shown(url)}: {framing.reason(error)}") from None
        except (requests.exceptions.RequestException, ValueError) as error:
            raise SourceError(f"{shown(url)}: {framing.reason(error)}") from None


def _raise_for_status(url: str, response: requests.Response, is_conditional: bool) -> None:
    status = response.status_code
    if status == 200 or (status == 304 and is_conditional):
        return
    try:
        begin = response.raw.read(400, decode_content=True).decode("utf-8", "replace")
    except (urllib3.exceptions.HTTPError, OSError):
        begin = ""  # the status alone says enough
    response.close()
    what = f"{shown(url)} answered {status}{f': {escaped(redact(begin))}' if begin else ''}"
    if status in RETRIED_STATUSES:
        raise Transient(what, _retry_after(response.headers.get("Retry-After", "")))
    if status in (401, 403):
        raise SourceError(what, "a credential is missing or was refused")
    if status in (404, 410):
        raise SourceError(what, "see whether the publisher moved the data set")
    raise SourceError(what)


def _retry_after(value: str) -> float | None:
    """Seconds to wait by a Retry-After header, in both its forms (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _redirect_target(settings: Settings, url: str, response: requests.Response) -> str:
    """Where a redirect leads; SourceError when that is no place to follow it to."""
    places = response.raw.headers.getlist("Location")
    target = urljoin(url, places[0]) if len(places) == 1 else ""
    host = urlsplit(target).hostname or ""
    is_inside = host not in settings.mirrors and _is_inside(host)
    if urlsplit(target).scheme != "https" or not host or target == url or is_inside:
        where = shown(target) or f"{len(places)} places"
        raise SourceError(f"{shown(url)} redirects to {where}, which is not followed")
    return target


def _is_inside(host: str) -> bool:
    """Whether a host is this machine or an address of a private network, by its literal name."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2].lower()
        # A name whose last label is a number is an address in a form of C's inet_aton.
        return last in ("localhost", "local", "internal") or bool(
            re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last)
        )


def _validators(response: requests.Response) -> dict[str, str]:
    return {k: response.headers[k] for k in ("ETag", "Last-Modified") if k in response.headers}
