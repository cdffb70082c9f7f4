"""A download that broke off is gone on with, where the publisher named its version exactly.

Only a strong ETag does (RFC 9110, 8.8.1): the rest is asked for with Range and If-Range (14.2,
13.1.5), and what comes is held against what was had. Anything else starts over.

A note beside the file says so to a later process, should this one be killed; not to one after a
reboot, which may have lost what was not flushed.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import requests

from pipeline import durable
from pipeline.http.framing import Body
from pipeline.http.partial import note_of
from pipeline.text import shown

_BLOCK = 1 << 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux; elsewhere nothing is gone on with
_STRONG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_PLAIN = ("", "identity")


@dataclass
class Partial:
    """A body of which a file has the beginning."""

    path: Path
    etag: str
    total: int | None  # its length in bytes; None: the publisher did not say
    body: Body = field(default_factory=Body)

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that ask for the rest."""
        return {"Range": f"bytes={self.body.size}-", "If-Range": self.etag}


def begun(url: str, response: requests.Response, path: Path) -> Partial | None:
    """What to keep of an answer 200 in case it breaks off; None when it cannot be gone on with."""
    end(path)
    etag = response.headers.get("ETag", "")
    if not _STRONG.fullmatch(etag) or response.headers.get("Content-Encoding", "") not in _PLAIN:
        return None
    length = response.headers.get("Content-Length")
    partial = Partial(path, etag, int(length) if length else None)
    told = {"url": shown(url), "etag": etag, "total": partial.total, "boot": _boot()}
    with durable.create(note_of(path)) as file:
        file.write(json.dumps(told).encode())
    return partial


def left(url: str, path: Path) -> Partial | None:
    """What a process that was killed had of a file; None when it cannot be gone on with."""
    try:
        told = json.loads(note_of(path).read_bytes())
        partial = Partial(path, told["etag"], told["total"])
        if (told["url"], told["boot"]) != (shown(url), _boot() or None):
            return None
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                partial.body.digest.update(block)
                partial.body.size += len(block)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return partial if partial.body.size else None


def end(path: Path) -> None:
    """Forget that a file was begun."""
    note_of(path).unlink(missing_ok=True)


def _boot() -> str:
    """Which start of the machine this is; empty when it does not tell."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def goes_on(response: requests.Response, partial: Partial) -> bool:
    """Whether an answer 206 is the rest of the same version, all of it and nothing else."""
    given = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not given or response.headers.get("Content-Encoding", "") not in _PLAIN:
        return False
    first, last, total = map(int, given.groups())
    is_the_rest = (first, last) == (partial.body.size, total - 1)
    is_the_same = response.headers.get("ETag") == partial.etag and partial.total in (None, total)
    length = response.headers.get("Content-Length")
    if not (is_the_rest and is_the_same and length in (None, str(last - first + 1))):
        return False
    partial.total = total
    return True
