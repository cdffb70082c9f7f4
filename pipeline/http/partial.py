"""What a killed fetch had finished; the next one goes on with it where that is safe.

Safe is what the publisher itself confirms. A finished file is asked for by the validators it came
with, and a 304 says that it is still the one; a file that was only begun is gone on with as
`resume` has it. Everything else, pages among it, is read anew.
"""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline import durable
from pipeline.settings import Settings

JOURNAL = ".finished.json"


@dataclass(frozen=True)
class Finished:
    """A file that came whole: its hash, its media type, the validators of its answer."""

    sha256: str
    media_type: str
    validators: dict[str, str]


class Journal:
    """The files a candidate has finished, noted beside them, and those of one that was killed."""

    def __init__(self, settings: Settings, source: str, folder: Path):
        self.folder = folder
        self.left = _place(settings, source)
        self._noted: dict[str, dict] = {}  # by address and name
        self._before = _read(self.left / JOURNAL)

    def note(self, url: str, name: str, finished: Finished) -> None:
        """Note a file that came whole; without validators nobody could confirm it."""
        if finished.validators:
            self._noted[f"{url} {name}"] = asdict(finished)
            aside = self.folder / f"{JOURNAL}.new"
            with durable.create(aside) as file:
                file.write(json.dumps(self._noted).encode())
            aside.replace(self.folder / JOURNAL)

    def finished(self, url: str, name: str) -> Finished | None:
        """What a killed fetch noted of a file, if the file is the one that was noted."""
        try:
            found = Finished(**self._before[f"{url} {name}"])
            with (self.left / name).open("rb") as file:
                is_the_same = hashlib.file_digest(file, "sha256").hexdigest() == found.sha256
        except (KeyError, TypeError, OSError):
            return None
        return found if is_the_same else None

    def take_back(self, name: str) -> None:
        """Take a file that a killed fetch left, whole or only begun, into the candidate."""
        for path in (self.left / name, note_of(self.left / name)):
            if path.is_file() and not path.is_symlink():
                path.replace(self.folder / path.name)

    def end(self) -> None:
        """Forget it all: the fetch has come to an end, a good one or not."""
        (self.folder / JOURNAL).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            durable.remove(self.left)


def keep(settings: Settings, source: str, folder: Path) -> None:
    """Put what a killed fetch left in a candidate where the next fetch finds it."""
    if (folder / JOURNAL).exists() or any(folder.glob(".*.begun")):
        place = _place(settings, source)
        durable.remove(place)
        place.parent.mkdir(exist_ok=True)
        folder.rename(place)


def note_of(path: Path) -> Path:
    """The note beside a file that was begun (`resume`)."""
    return path.with_name(f".{path.name}.begun")


def _place(settings: Settings, source: str) -> Path:
    return durable.unlinked(settings.raw / ".begun") / source


def _read(path: Path) -> dict:
    try:
        noted = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
