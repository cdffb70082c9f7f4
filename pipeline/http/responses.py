"""What a response means: its status, an error in its body, and the target of a redirect."""

import re
import time
from collections.abc import Collection
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3

from pipeline.errors import SourceError, Throttled, Transient
from pipeline.formats import lenient_json
from pipeline.http import addresses, network
from pipeline.http.network import joined
from pipeline.settings import Settings, redact
from pipeline.text import escaped, shown, start_of

# All of 5xx: a proxy in front of the publisher has codes of its own, such as 520 to 527.
RETRIED_STATUSES = {408, 425, 429, *range(500, 600)}
# The response is still being prepared (https://dev.socrata.com/docs/response-codes.html; RFC 9110,
# 15.3.3).
RETRIED_STATUSES |= {202}
NO_ACCESS = "a credential is missing or was refused"
REFUSED = {401, 403, 498, 499}  # ArcGIS: 498, the token is invalid; 499, a token is required


def check_status(url: str, response: requests.Response, expected: Collection[int]) -> None:
    """Refuse every status except 200 and those expected.

    Raises Transient where a retry may help, with the time the publisher wants us to wait;
    SourceError otherwise. The message shows the beginning of the body.
    """
    status = response.status_code
    if status == 200 or status in expected:
        return
    try:
        start = response.raw.read(400, decode_content=True)
    except (urllib3.exceptions.HTTPError, OSError):
        start = b""  # the status alone says enough
    response.close()
    what = f"{shown(url)} answered {status}{f': {start_of(start)}' if start else ''}"
    if status == 416 and 206 in expected:
        raise Transient(what)  # the file is shorter now; the next try starts over
    if status in RETRIED_STATUSES:
        kind = Throttled if status == 429 else Transient
        raise kind(what, _retry_after(response.headers.get("Retry-After", "")))
    remedies = {401: NO_ACCESS, 403: NO_ACCESS}
    remedies |= dict.fromkeys((404, 410), "see whether the publisher moved the data set")
    raise SourceError(what, remedies.get(status, ""))


def _retry_after(value: str) -> float | None:
    """Seconds to wait by a Retry-After header, in both its forms (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


class ErrorBody(msgspec.Struct):
    """The members in which services report an error although the status is 200."""

    error: Any = None  # true, a text, or {"code": 400, "message": ""}
    status: Any = None  # "error", or a status code (RFC 9457)
    message: Any = None
    code: Any = None
    statusCode: Any = None
    errorCode: Any = None

    def refuse(self, body: bytes, where: str, *, is_data: bool = False) -> None:
        """Raise Throttled when there is a code 429 in it, Transient at 5xx, SourceError otherwise.

        is_data: the body may be data, where a message or a code is a value like any other.
        """
        members = ("code", "status", "statusCode", "errorCode")
        inner = self.error if isinstance(self.error, dict) else {}
        codes = [inner.get(name) for name in members] + [getattr(self, name) for name in members]
        numbers = {int(str(code)) for code in codes if str(code).isdecimal()}
        is_error = self.error is not None or self.status == "error"
        if not is_data:
            is_error |= self.message is not None or any(number >= 400 for number in numbers)
        if not is_error:
            return
        what = f"{where}: an error came with status 200: {start_of(body)}"
        if 429 in numbers:
            raise Throttled(what)
        if any(500 <= number < 600 for number in numbers):
            raise Transient(what)
        raise SourceError(what, NO_ACCESS if numbers & REFUSED else "")


def refuse_error(body: bytes, where: str, *, is_data: bool = False) -> None:
    """Refuse a body that reports an error although the status is 200; see `ErrorBody.refuse`."""
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        return
    try:
        found = lenient_json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, RecursionError):
        return  # the reader of the response will say what it is instead
    found.refuse(body, where, is_data=is_data)


def redirect_target(settings: Settings, url: str, response: requests.Response) -> str:
    """Where a redirect leads; SourceError with the reason when it is not followed."""
    locations = response.raw.headers.getlist("Location")
    if len(locations) != 1:
        what = f"{shown(url)} redirects to {len(locations)} locations, which is not followed"
        raise SourceError(what)
    target = joined(url, locations[0])
    flaw = _flaw(settings, url, target) if target else "it is not a valid URL"
    if flaw:
        where = shown(target) or escaped(redact(locations[0]))
        raise SourceError(f"{shown(url)} redirects to {where}, which is not followed: {flaw}")
    return target


def _flaw(settings: Settings, url: str, target: str) -> str:
    """Why a redirect is not followed; empty when it is."""
    host = addresses.host_of(target)
    if target == url:
        return "it leads to itself"
    if not host or urlsplit(target).scheme != "https":
        return "it is not an https address"
    if host in settings.mirrors:
        return ""
    if addresses.is_inside(host):
        return "it leads to an address that is not public"
    if network.mirrored(settings, target) != target or network.proxy_of(target):
        return ""  # the mirror or proxy resolves the name
    inside = addresses.inside_address(host)
    return f"the name resolves to {inside}, an address that is not public" if inside else ""
