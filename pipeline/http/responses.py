"""What a status says, and where a redirect leads: only what is understood is gone on with."""

import re
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3

from pipeline.errors import SourceError, Throttled, Transient
from pipeline.http import addresses, network
from pipeline.http.network import joined
from pipeline.settings import Settings, redact
from pipeline.text import escaped, shown, start_of

# All of 5xx: a host in front of the publisher's has numbers of its own, such as 520 to 527.
RETRIED_STATUSES = {408, 425, 429, *range(500, 600)}
# The answer is being made: asking again gives it (https://dev.socrata.com/docs/response-codes.html;
# RFC 9110, 15.3.3).
RETRIED_STATUSES |= {202}


def check_status(url: str, response: requests.Response, expected: set[int]) -> None:
    """Refuse every status but 200 and those expected.

    Raises Transient where asking again may help, with the time the publisher wants; SourceError
    otherwise. The begin of the body is shown.
    """
    status = response.status_code
    if status == 200 or status in expected:
        return
    try:
        begin = response.raw.read(400, decode_content=True)
    except (urllib3.exceptions.HTTPError, OSError):
        begin = b""  # the status alone says enough
    response.close()
    what = f"{shown(url)} answered {status}{f': {start_of(begin)}' if begin else ''}"
    if status == 416 and 206 in expected:
        raise Transient(what)  # it is shorter now; the next try starts over
    if status in RETRIED_STATUSES:
        kind = Throttled if status == 429 else Transient
        raise kind(what, _retry_after(response.headers.get("Retry-After", "")))
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


def redirect_target(settings: Settings, url: str, response: requests.Response) -> str:
    """Where a redirect leads; SourceError with the reason when it is not followed."""
    places = response.raw.headers.getlist("Location")
    if len(places) != 1:
        raise SourceError(f"{shown(url)} redirects to {len(places)} places, which is not followed")
    target = joined(url, places[0])
    flaw = _flaw(settings, url, target) if target else "it is no address"
    if flaw:
        where = shown(target) or escaped(redact(places[0]))
        raise SourceError(f"{shown(url)} redirects to {where}, which is not followed: {flaw}")
    return target


def _flaw(settings: Settings, url: str, target: str) -> str:
    """Why a redirect is not followed; empty when it is."""
    host = addresses.host_of(target)
    if target == url:
        return "it leads to itself"
    if not host or urlsplit(target).scheme != "https":
        return "it is no https address"
    if host in settings.mirrors:
        return ""
    if addresses.is_inside(host):
        return "it leads to an address that is not public"
    if network.mirrored(settings, target) != target or network.proxy_of(target):
        return ""  # somebody else resolves the name
    inside = addresses.inside_address(host)
    return f"the name stands for {inside}, an address that is not public" if inside else ""
