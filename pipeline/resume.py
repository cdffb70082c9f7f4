"""A download that broke off is gone on with, where the publisher named its version exactly.

Only a strong ETag does (RFC 9110, 8.8.1): the rest is asked for with Range and If-Range (14.2,
13.1.5), and what comes is held against what was had. Anything else starts over.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import requests

from pipeline.framing import Body

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


def begun(response: requests.Response, path: Path) -> Partial | None:
    """What to keep of an answer 200 in case it breaks off; None when it cannot be gone on with."""
    etag = response.headers.get("ETag", "")
    if not _STRONG.fullmatch(etag) or response.headers.get("Content-Encoding", "") not in _PLAIN:
        return None
    length = response.headers.get("Content-Length")
    return Partial(path, etag, int(length) if length else None)


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
