"""Resuming a download: after a broken connection, and after a fetch that was killed.

Only what the publisher confirms is used. A complete file is requested with its validators, and a
304 confirms it. An incomplete one is resumed if it has a strong ETag (RFC 9110, 8.8.1): the rest is
requested with Range and If-Range (14.2, 13.1.5) and must fit. Everything else, pages included,
starts over.

Two small files describe a fetch to a later process, should this one be killed: the journal lists
the complete files, `.NAME.begun` describes an incomplete one. The latter is ignored after a
reboot, which may have lost bytes that were not flushed.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline import durable
from pipeline.settings import Settings
from pipeline.text import shown

JOURNAL = ".finished.json"
_BLOCK = 1 << 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux; on other systems a kill starts it over
_STRONG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_PLAIN = ("", "identity")


@dataclass
class Partial:
    """A body of which a file has the beginning. Without an ETag it cannot be resumed."""

    etag: str = ""
    total: int | None = None  # its length in bytes; None: the publisher did not say
    size: int = 0  # bytes received and decoded so far
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)  # of these bytes

    def add(self, block: bytes) -> None:
        """Count and hash the next bytes."""
        self.digest.update(block)
        self.size += len(block)

    @property
    def headers(self) -> dict[str, str]:
        """The request headers that ask for the rest."""
        return {"Range": f"bytes={self.size}-", "If-Range": self.etag}

    def fits(self, headers: Mapping[str, str]) -> bool:
        """Whether a response 206 is the whole rest of the same version; then `total` is set."""
        found = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if not found or headers.get("Content-Encoding", "") not in _PLAIN:
            return False
        first, last, total = map(int, found.groups())
        is_the_rest = (first, last) == (self.size, total - 1)
        is_the_same = headers.get("ETag") == self.etag and self.total in (None, total)
        length = headers.get("Content-Length")
        if not (is_the_rest and is_the_same and length in (None, str(last - first + 1))):
            return False
        self.total = total
        return True


def start(url: str, headers: Mapping[str, str], path: Path) -> Partial:
    """Begin a file whose response has these headers; describe it if it can be resumed."""
    end(path)
    etag = headers.get("ETag", "")
    if not _STRONG.fullmatch(etag) or headers.get("Content-Encoding", "") not in _PLAIN:
        return Partial()
    length = headers.get("Content-Length")
    partial = Partial(etag, int(length) if length else None)
    described = {"url": shown(url), "etag": etag, "total": partial.total, "boot": _boot()}
    with durable.create(_description(path)) as file:
        file.write(json.dumps(described).encode())
    return partial


def interrupted(url: str, path: Path) -> Partial | None:
    """What a killed process had received of a file; None when it cannot be resumed."""
    try:
        described = durable.read_json(_description(path))
        partial = Partial(described["etag"], described["total"])
        if (described["url"], described["boot"]) != (shown(url), _boot() or None):
            return None
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                partial.add(block)
    except (OSError, KeyError):
        return None
    return partial if partial.size else None


def end(path: Path) -> None:
    """Delete the description of an incomplete file."""
    _description(path).unlink(missing_ok=True)


def _description(path: Path) -> Path:
    return path.with_name(f".{path.name}.begun")


def _boot() -> str:
    """The id of this start of the machine; empty where the system has none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Finished:
    """A complete file: its hash, its media type, the validators of its response."""

    sha256: str
    media_type: str
    validators: dict[str, str]


class Journal:
    """The files that a fetch has completed, and those of an earlier fetch that was killed."""

    def __init__(self, settings: Settings, source: str, folder: Path):
        self._folder = folder
        self._interrupted = _folder_of_interrupted(settings, source)
        self._completed: dict[str, dict] = {}  # by address and name
        self._earlier = durable.read_json(self._interrupted / JOURNAL)

    def record(self, url: str, name: str, finished: Finished) -> None:
        """Record a complete file; without validators the publisher could not confirm it."""
        if finished.validators:
            self._completed[f"{url} {name}"] = asdict(finished)
            aside = self._folder / f"{JOURNAL}.new"
            with durable.create(aside) as file:
                file.write(json.dumps(self._completed).encode())
            aside.replace(self._folder / JOURNAL)

    def finished(self, url: str, name: str) -> Finished | None:
        """The record of a file that a killed fetch completed, if the file still has its hash."""
        try:
            found = Finished(**self._earlier[f"{url} {name}"])
            with (self._interrupted / name).open("rb") as file:
                is_the_same = hashlib.file_digest(file, "sha256").hexdigest() == found.sha256
        except (KeyError, TypeError, OSError):
            return None
        return found if is_the_same else None

    def recover(self, name: str) -> None:
        """Move a file of the killed fetch, complete or not, into this one."""
        for path in (self._interrupted / name, _description(self._interrupted / name)):
            if path.is_file() and not path.is_symlink():
                path.replace(self._folder / path.name)

    def end(self) -> None:
        """Delete both journals: this fetch has ended, successfully or not."""
        (self._folder / JOURNAL).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            durable.remove(self._interrupted)


def keep(settings: Settings, source: str, folder: Path) -> None:
    """Move the files of a killed fetch to where the next one looks for them."""
    if (folder / JOURNAL).exists() or any(folder.glob(".*.begun")):
        interrupted = _folder_of_interrupted(settings, source)
        durable.remove(interrupted)
        interrupted.parent.mkdir(exist_ok=True)
        folder.rename(interrupted)


def _folder_of_interrupted(settings: Settings, source: str) -> Path:
    return durable.unlinked(settings.raw / ".begun") / source
