"""HTTP as this pipeline wants it: whole answers or an error, retries only where they help."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
import tenacity

from pipeline import durable
from pipeline.errors import SourceError, Transient
from pipeline.http import framing, keys, network, rate_limit, responses, resume, strict_http
from pipeline.http.network import mirrored
from pipeline.settings import Settings
from pipeline.text import shown

CONNECT_SECONDS = 10
READ_SECONDS = 60
REDIRECTS = 5
_FIRST_WAIT = 1.0  # no publisher is asked again within a second, whatever it says


class NoNetwork(SourceError):
    """No host can be reached: retrying is useless tonight."""


@dataclass(frozen=True)
class Received:
    """What came of one request. `status` is 200, 204 or 304; only a 200 has bytes."""

    url: str
    status: int
    size: int
    sha256: str
    media_type: str
    validators: dict[str, str]  # ETag and Last-Modified as received
    is_delimited: bool = True  # whether the protocol itself said where the body ends


class Client:
    """One source's conversation with its publisher: connections and patience are kept here."""

    def __init__(
        self,
        settings: Settings,
        declared: Mapping[str, str] | None = None,
        addresses: Callable[[], Iterable[str]] = tuple,
    ):
        """A conversation that has not begun.

        declared:  the host that each key of a publisher is for, by the key's name.
        addresses: other URLs whose hosts show whether there is a network; asked for if need be.
        """
        self.settings = settings
        self.declared = declared or {}
        self.addresses = addresses
        self.keys_sent: set[str] = set()  # their names
        self.patience = settings.fetch_patience
        self.tries = 0
        self._host = ""  # that was asked last, with its port
        self._broken: resume.Partial | None = None  # what the last try left to go on with
        self.session = requests.Session()
        strict_http.mount(self.session)
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
        may_be_nothing: bool = False,
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
        may_be_nothing: whether the protocol says by 204 that there is nothing.

        Raises SourceError (refused answer), Transient (patience ran out), NoNetwork.
        """
        if not network.joined(url, ""):
            raise SourceError(f"{shown(url)} is no address", "see the source's script in api/")
        if not self.tries and network.is_down(self.settings, url, self.addresses()):
            raise NoNetwork("no network: none of the publishers can be reached")
        first, self._broken = self.tries, resume.left(url, path)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            wait=self._wait,
            stop=lambda state: state.upcoming_sleep > self.patience,
            before_sleep=self._spend,
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return retrying(self._try, url, path, headers or {}, check, may_be_nothing)
        except Transient as error:
            if self.tries - first > 1:
                error.what += f" ({self.tries - first} tries)"
            raise
        finally:
            resume.end(path)

    def _try(self, url, path, headers, check, may_be_nothing) -> Received:
        self.tries += 1
        started = time.monotonic()
        try:
            return self._get_once(url, path, headers, check, may_be_nothing)
        except Transient:
            if not self._broken:  # else the time was not lost
                self.patience -= time.monotonic() - started
            raise

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        asked = error.wait if isinstance(error, Transient) else None
        backoff = tenacity.wait_exponential_jitter(multiplier=_FIRST_WAIT, max=60)(state)
        return max(_FIRST_WAIT, backoff if asked is None else asked)

    def _spend(self, state: tenacity.RetryCallState) -> None:
        self.patience -= state.upcoming_sleep

    def _get_once(self, url, path, headers, check, may_be_nothing) -> Received:
        broken, self._broken = self._broken, None
        other = {204} if may_be_nothing else set()
        with self._open(url, headers, broken.headers if broken else {}, other) as response:
            if response.status_code in (204, 304):
                path.unlink(missing_ok=True)  # what an earlier try left
                return Received(url, response.status_code, 0, "", "", _validators(response))
            framing.check_head(url, response)
            body, is_delimited = self._copy(url, response, path, broken)
        check(path, is_delimited)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        digest = body.digest.hexdigest()
        validators = _validators(response)
        return Received(url, 200, body.size, digest, media_type, validators, is_delimited)

    def _copy(self, url, response, path, broken) -> tuple[framing.Body, bool]:
        """Copy a body, or the rest of one, and whether the protocol says where it ends."""
        if response.status_code == 206 and not resume.goes_on(response, broken):
            raise Transient(f"{shown(url)}: the rest does not fit what came before it broke off")
        partial = broken if response.status_code == 206 else resume.begun(url, response, path)
        body = partial.body if partial else framing.Body()
        with durable.reopen(path) if body.size else durable.create(path) as file:
            file.seek(body.size)
            file.truncate()
            try:
                framing.copy_body(url, response, file, body)
            except Transient:
                self._broken = partial if body.size else None
                raise
        total = partial.total if partial else None
        if total not in (None, body.size):
            raise Transient(f"{shown(url)}: {body.size:,} bytes came of {total:,}")
        return body, total is not None or framing.is_delimited(response)

    def _open(self, url, headers: dict, rest: dict, other: set[int]) -> requests.Response:
        """Send the request, following redirects by hand; the body is not read yet.

        `headers` go to the host of `url` alone, `rest` asks whoever answers for a range; `other`
        are statuses that answer beside those the headers allow.
        """
        asked = url
        headers = {name: value for name, value in headers.items() if not (rest and _is_if(name))}
        for _ in range(REDIRECTS + 1):
            given = headers if urlsplit(asked).netloc == urlsplit(url).netloc else {}
            self.keys_sent |= keys.sent(self.settings, self.declared, asked, url, given | rest)
            self._forget_cookies(asked)
            response = self._send(asked, given | rest)
            if response.status_code not in (301, 302, 303, 307, 308):
                self._check_status(asked, response, other | ({206} if rest else _expected(given)))
                return response
            response.close()
            asked = responses.redirect_target(self.settings, asked, response)
        raise SourceError(f"{shown(url)} redirects more than {REDIRECTS} times")

    def _forget_cookies(self, url: str) -> None:
        """Let no host be told what another one said, which may be the key that it was sent.

        Cookies are for domains, which may be wider than a host, and for every port (RFC 6265).
        """
        host = urlsplit(url).netloc
        if host != self._host:
            self.session.cookies.clear()
        self._host = host

    def _check_status(self, url: str, response: requests.Response, expected: set[int]) -> None:
        try:
            responses.check_status(url, response, expected)
        except Transient as error:
            if error.wait is not None:
                rate_limit.quiet(self.settings, urlsplit(url).hostname or "", error.wait)
            raise

    def _await_turn(self, url: str) -> None:
        """Keep the rate of the host, which all sources on it share."""
        host = urlsplit(url).hostname or ""
        while wait := rate_limit.turn(self.settings, host):
            if wait > _FIRST_WAIT:
                raise Transient(f"{shown(url)}: {host} asked to be left alone for a while", wait)
            time.sleep(wait)

    def _send(self, url: str, headers: dict[str, str]) -> requests.Response:
        login = network.login(self.settings, url)
        if login and any(name.lower() == "authorization" for name in headers):
            raise SourceError(
                f"{shown(url)}: both MIRRORS and the source's script set an Authorization header",
                "a request can carry only one: remove user and password from MIRRORS, or send the "
                "key another way in the script",
            )
        self._await_turn(url)
        try:
            return self.session.get(
                mirrored(self.settings, url),
                headers=headers,
                auth=login,
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
            if isinstance(framing.innermost(error), strict_http.MalformedHead):
                raise SourceError(f"{shown(url)}: {framing.reason(error)}") from None
            raise Transient(f"{shown(url)}: {framing.reason(error)}") from None
        except (requests.exceptions.RequestException, ValueError) as error:
            raise SourceError(f"{shown(url)}: {framing.reason(error)}") from None


def _is_if(header: str) -> bool:
    return header.startswith("If-")


def _expected(headers: dict[str, str]) -> set[int]:
    """The statuses that answer a request beside 200."""
    return {304} if any(map(_is_if, headers)) else set()


def _validators(response: requests.Response) -> dict[str, str]:
    return {k: response.headers[k] for k in ("ETag", "Last-Modified") if k in response.headers}
