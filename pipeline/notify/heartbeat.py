"""Pings of HEARTBEAT_URL, by the conventions of Healthchecks (https://healthchecks.io/docs/http_api/).

A service that expects a ping every night notices a night that never began.
"""

from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pipeline import settings
from pipeline.errors import DEGRADED, OK
from pipeline.settings import Settings

Signal = Literal["start", "success", "fail"]
SECONDS = 4  # to connect, and again to wait for the response
LONGEST_BODY = 10_000  # bytes; Healthchecks keeps the first 100 kB


def of_code(code: int) -> Signal:
    """The signal for the exit code of a night: a degraded night has ended, so it is a success."""
    return "success" if code in (OK, DEGRADED) else "fail"


def ping(here: Settings, signal: Signal, text: str = "") -> str:
    """Send one ping; returns why it failed, in a sentence without secrets; empty when it did not.

    text: what the service shows beside the ping. Without HEARTBEAT_URL nothing is sent.
    """
    if not here.heartbeat_url:
        return ""
    import requests

    try:
        response = requests.post(
            _address(here.heartbeat_url, signal),
            data=settings.redact(text).encode()[:LONGEST_BODY],
            headers={"User-Agent": here.contact, "Content-Type": "text/plain; charset=utf-8"},
            timeout=SECONDS,
        )
    except requests.RequestException as error:
        return f"HEARTBEAT_URL cannot be reached: {type(error).__name__}"
    if not response.ok:
        return f"HEARTBEAT_URL responded with status {response.status_code}"
    return ""


def _address(url: str, signal: Signal) -> str:
    """The address of a signal: success is the URL itself, the others are below it."""
    parts = urlsplit(url)
    ending = "" if signal == "success" else f"/{signal}"
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + ending, fragment=""))
