"""HTTP requests of one source: complete responses or an error, retries only where they help."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
import tenacity

from pipeline import durable
from pipeline.errors import SourceError, Transient
from pipeline.http import framing, keys, network, rate_limit, responses, resume
from pipeline.http.network import mirrored
from pipeline.settings import Settings
from pipeline.text import shown

CONNECT_SECONDS = 10
READ_SECONDS = 60
REDIRECTS = 5
_FIRST_WAIT = 1.0  # no publisher is asked again within a second, whatever it says
Check = Callable[[Path, bool], None]  # of a file, and whether the protocol says where it ends


class NoNetwork(SourceError):
    """No host can be reached: retrying is useless tonight."""


@dataclass(frozen=True)
class Received:
    """The result of a request. `status` is 200, 204 or 304; only a 200 has bytes."""

    url: str
    status: int
    size: int = 0
    sha256: str = ""
    media_type: str = ""
    validators: dict[str, str] = field(default_factory=dict)  # ETag and Last-Modified as received
    is_delimited: bool = True  # whether the protocol itself said where the body ends


@dataclass(frozen=True)
class _Request:
    url: str
    path: Path
    headers: Mapping[str, str]
    check: Check
    expected: frozenset[int]  # statuses that are accepted beside 200


class Client:
    """The requests of one source: they share connections and the patience for retries."""

    def __init__(
        self,
        settings: Settings,
        declared: Mapping[str, str] | None = None,
        addresses: Callable[[], Iterable[str]] = tuple,
    ):
        """Send nothing yet.

        declared:  the host that each key of a publisher is for, by the key's name.
        addresses: gives other URLs, whose hosts show whether there is a network.
        """
        self.settings = settings
        self.declared = declared or {}
        self.addresses = addresses
        self.keys_sent: set[str] = set()  # their names
        self.patience = settings.fetch_patience
        self.tries = 0
        self._host = ""  # of the last request, with its port
        self._interrupted: resume.Partial | None = None  # what the next try can resume
        self.session = requests.Session()
        framing.mount(self.session)
        # A proxy is used; credentials in ~/.netrc are not.
        self.session.auth = lambda request: request
        self.session.headers.update(
            {
                "User-Agent": settings.user_agent,
                "Accept-Encoding": "identity",
            }
        )

    def get(
        self,
        url: str,
        path: Path,
        *,
        headers: Mapping[str, str] | None = None,
        check: Check = lambda path, is_delimited: None,
        may_be_nothing: bool = False,
    ) -> Received:
        """Fetch a URL into a file, retrying within the source's patience.

        Parameters
        ----------
        url:     https address, parameters included.
        path:    file to write; it is complete when this returns 200.
        headers: request headers, such as those of a conditional request; they are sent to the
                 host of `url` alone.
        check:   `check(path, is_delimited)` raises SourceError when the file is not what was
                 requested, Transient when a retry may help. `is_delimited` is false when only the
                 document itself can prove that it is complete.
        may_be_nothing: whether the protocol uses 204 to say that there is nothing.

        Raises SourceError (the response was refused), Transient (patience ran out), NoNetwork.
        """
        if not network.joined(url, ""):
            raise SourceError(f"{shown(url)} is not a valid URL", "see the source's script in api/")
        if not self.tries and network.is_down(self.settings, url, self.addresses()):
            raise NoNetwork("no network: none of the publishers can be reached")
        first, self._interrupted = self.tries, resume.interrupted(url, path)
        expected = frozenset({204} if may_be_nothing else ())
        request = _Request(url, path, dict(headers or {}), check, expected)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            wait=self._wait,
            stop=lambda state: state.upcoming_sleep > self.patience,
            before_sleep=self._spend,
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return retrying(self._try, request)
        except Transient as error:
            if self.tries - first > 1:
                error.what += f" ({self.tries - first} tries)"
            raise
        finally:
            resume.end(path)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        asked = error.wait if isinstance(error, Transient) else None
        backoff = tenacity.wait_exponential_jitter(multiplier=_FIRST_WAIT, max=60)(state)
        return max(_FIRST_WAIT, backoff if asked is None else asked)

    def _spend(self, state: tenacity.RetryCallState) -> None:
        self.patience -= state.upcoming_sleep

    def _try(self, request: _Request) -> Received:
        self.tries += 1
        started = time.monotonic()
        try:
            return self._get_once(request)
        except Transient:
            if not self._interrupted:  # otherwise the next try resumes, and the time was well spent
                self.patience -= time.monotonic() - started
            raise

    def _get_once(self, request: _Request) -> Received:
        url, path = request.url, request.path
        interrupted, self._interrupted = self._interrupted, None
        with self._open(request, interrupted.headers if interrupted else {}) as response:
            names = ("ETag", "Last-Modified")
            validators = {k: response.headers[k] for k in names if k in response.headers}
            if response.status_code in (204, 304):
                path.unlink(missing_ok=True)  # left by an earlier try
                return Received(url, response.status_code, validators=validators)
            framing.check_head(url, response)
            partial = self._copy(url, response, path, interrupted)
        is_delimited = partial.total is not None or framing.is_delimited(response)
        request.check(path, is_delimited)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        digest = partial.digest.hexdigest()
        return Received(url, 200, partial.size, digest, media_type, validators, is_delimited)

    def _copy(self, url, response, path, interrupted: resume.Partial | None) -> resume.Partial:
        """Write a body, or the rest of an interrupted one, to the file."""
        if response.status_code != 206:
            partial = resume.start(url, response.headers, path)
        elif interrupted and interrupted.fits(response.headers):
            partial = interrupted
        else:
            raise Transient(f"{shown(url)}: the rest does not fit the part received before")
        with durable.reopen(path) if partial.size else durable.create(path) as file:
            file.seek(partial.size)
            file.truncate()
            try:
                framing.copy_body(url, response, file, partial)
            except Transient:
                self._interrupted = partial if partial.size and partial.etag else None
                raise
        if partial.total not in (None, partial.size):
            what = f"only {partial.size:,} of {partial.total:,} bytes arrived"
            raise Transient(f"{shown(url)}: {what}")
        return partial

    def _open(self, request: _Request, rest: Mapping[str, str]) -> requests.Response:
        """Send the request, following redirects; the body is not read yet.

        The request's headers go to the host of its URL alone; `rest`, the headers that ask for a
        range, go to whoever responds.
        """
        url = asked = request.url
        for _ in range(REDIRECTS + 1):
            is_own_host = urlsplit(asked).netloc == urlsplit(url).netloc
            own = request.headers if is_own_host else {}
            headers = {k: v for k, v in own.items() if not (rest and k.startswith("If-"))}
            headers |= rest
            self.keys_sent |= keys.sent(self.settings, self.declared, asked, url, headers)
            self._forget_cookies(asked)
            response = self._send(asked, headers)
            if response.status_code not in (301, 302, 303, 307, 308):
                is_conditional = any(name.startswith("If-") for name in own)
                answers = {206} if rest else {304} if is_conditional else set()
                self._check_status(asked, response, request.expected | answers)
                return response
            response.close()
            asked = responses.redirect_target(self.settings, asked, response)
        raise SourceError(f"{shown(url)} redirects more than {REDIRECTS} times")

    def _forget_cookies(self, url: str) -> None:
        """Send no host a cookie of another one, which may contain the key that it was sent.

        Cookies are for domains, which may be wider than a host, and for every port (RFC 6265).
        """
        host = urlsplit(url).netloc
        if host != self._host:
            self.session.cookies.clear()
        self._host = host

    def _check_status(self, url: str, response, expected: frozenset[int]) -> None:
        try:
            responses.check_status(url, response, expected)
        except Transient as error:
            if error.wait is not None:
                rate_limit.quiet(self.settings, urlsplit(url).hostname or "", error.wait)
            raise

    def _await_turn(self, url: str) -> None:
        """Keep to the rate of the host, which all its sources share."""
        host = urlsplit(url).hostname or ""
        while wait := rate_limit.turn(self.settings, host):
            if wait > _FIRST_WAIT:
                raise Transient(f"{shown(url)}: {host} asked us to wait before the next try", wait)
            time.sleep(wait)

    def _send(self, url: str, headers: Mapping[str, str]) -> requests.Response:
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
                "the check of certificates cannot be turned off; see whether the publisher's site "
                "works in a browser",
            ) from None
        except (requests.exceptions.RequestException, ValueError) as error:
            is_lost = isinstance(error, requests.ConnectionError | requests.Timeout)
            may_retry = is_lost and not isinstance(framing.root_cause(error), framing.Malformed)
            kind = Transient if may_retry else SourceError
            raise kind(f"{shown(url)}: {framing.reason(error)}") from None
