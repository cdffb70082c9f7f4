"""Raw snapshots: files exactly as received, and the manifest that proves them.

    data/raw/<source>/…                the publisher's bytes
    data/raw/<source>/datapackage.json what they are and where they come from (datapackage.org)
    data/raw/<source>/SHA256SUMS       the commit record; `sha256sum -c` checks it

A folder without a complete SHA256SUMS is not a snapshot.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from pipeline import durable
from pipeline.errors import SourceError
from pipeline.http import resume
from pipeline.raw import manifest
from pipeline.raw.descriptor import Descriptor, Resource
from pipeline.raw.manifest import DESCRIPTOR, SUMS
from pipeline.settings import BUNDLED, Settings

KEEP_REFUSED = 5  # rejected files or snapshots of a source, the newest ones
REFUSED_BYTES = 200 * 1024 * 1024  # larger ones are deleted
_NUMBERED = re.compile(r"[0-9]{6}-")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot whose every byte was checked against its manifest."""

    source: str
    folder: Path
    descriptor: Descriptor = field(repr=False)

    @property
    def files(self) -> list[Path]:
        """The data files, in the order of the manifest."""
        return [self.folder / resource.path for resource in self.descriptor.resources]

    @property
    def file(self) -> Path:
        """The one data file; SourceError when there are several."""
        if len(self.files) != 1:
            raise SourceError(f"{self.source}: {len(self.files)} files where one was expected")
        return self.files[0]

    @property
    def content(self) -> str:
        """The content fingerprint."""
        return self.descriptor.fingerprints.content

    @property
    def origin(self) -> str:
        """`live` or `bundled`."""
        return self.descriptor.origin

    @property
    def fetched_at(self) -> str:
        """When the bytes were received (ISO 8601, UTC)."""
        return self.descriptor.created

    @property
    def size(self) -> int:
        """Bytes of the data files."""
        return sum(resource.bytes for resource in self.descriptor.resources)

    @cached_property
    def resources(self) -> dict[str, Resource]:
        """The descriptor's entry of each file, by its name."""
        return {resource.path: resource for resource in self.descriptor.resources}


def current(settings: Settings, source: str) -> Snapshot | None:
    """Return the verified snapshot in `data/raw`, or None.

    Raises SourceError with the file that does not match the manifest.
    """
    folder = settings.raw / source
    repair(settings, source)
    return read(folder, source) if os.path.lexists(folder) else None


def bundled(source: str) -> Snapshot | None:
    """Return the verified snapshot that comes with the project, or None."""
    folder = BUNDLED / source
    return read(folder, source) if (folder / SUMS).exists() else None


def read(folder: Path, source: str) -> Snapshot:
    """Verify a snapshot folder and read its descriptor.

    Raises SourceError, as `manifest.verify` does, and when descriptor and manifest disagree.
    """
    sums = manifest.verify(folder, source)
    try:
        described = msgspec.json.decode((folder / DESCRIPTOR).read_bytes(), type=Descriptor)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise manifest.damaged(source, f"{DESCRIPTOR} cannot be read: {error}") from None
    named = {resource.path: resource.hash for resource in described.resources}
    if named != {name: f"sha256:{sums[name]}" for name in sums if name != DESCRIPTOR}:
        raise manifest.damaged(source, f"{DESCRIPTOR} and {SUMS} name different files")
    return Snapshot(source, folder, described)


def addresses(settings: Settings, source: str = "*") -> list[str]:
    """Return the URLs of the files of a source's snapshots, or of all sources' snapshots.

    Those of the bundled snapshots come last.
    """
    urls = []
    for folder in (settings.raw, BUNDLED):
        for path in folder.glob(f"{source}/{DESCRIPTOR}"):
            # The source's own script reports a damaged descriptor.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                urls += [str(r["url"]) for r in json.loads(path.read_bytes())["resources"]]
    return urls


def repair(settings: Settings, source: str) -> None:
    """Tidy up after a killed fetch; the files that it had finished are kept for the next fetch."""
    resume.keep(settings, source, _aside(settings, source))
    durable.repair_folder(_aside(settings, source), settings.raw / source)


def _aside(settings: Settings, source: str) -> Path:
    return durable.unlinked(settings.raw / ".incoming") / source


def open_candidate(settings: Settings, source: str) -> Path:
    """Create an empty folder beside the snapshots, for the files of a new snapshot."""
    folder = _aside(settings, source)
    if settings.raw.is_symlink():
        raise SourceError(f"{settings.raw} is a link", "make it a folder, or set DATA_DIR")
    repair(settings, source)
    folder.mkdir(parents=True)
    return folder


def carry_over(file: Path, folder: Path) -> None:
    """Add an unchanged file of the current snapshot to a candidate, as a hard link if possible."""
    with contextlib.suppress(OSError):
        os.link(file, folder / file.name)
        return
    durable.copy(file, folder / file.name)


def discard(folder: Path) -> None:
    """Delete a candidate."""
    shutil.rmtree(folder, ignore_errors=True)


def commit(settings: Settings, source: str, folder: Path, descriptor: Descriptor) -> Snapshot:
    """Write the manifest of a candidate, and replace the current snapshot by the candidate.

    Parameters
    ----------
    folder:     the candidate, with the data files only.
    descriptor: the content of `datapackage.json`.
    """
    write_manifest(folder, descriptor)
    durable.replace_folder(folder, settings.raw / source)
    return Snapshot(source, settings.raw / source, descriptor)


def write_manifest(folder: Path, descriptor: Descriptor) -> None:
    """Write `datapackage.json`, then `SHA256SUMS` over all other files."""
    text = json.dumps(msgspec.to_builtins(descriptor), indent=2, ensure_ascii=False) + "\n"
    with durable.create(folder / DESCRIPTOR) as file:
        file.write(text.encode())
    hashes = {entry.path: entry.sha256 for entry in descriptor.resources}
    manifest.write(folder, hashes | {DESCRIPTOR: hashlib.sha256(text.encode()).hexdigest()})


def install_bundled(settings: Settings, capture: Snapshot) -> Snapshot:
    """Make the bundled snapshot the current one, with its manifest."""
    folder = open_candidate(settings, capture.source)
    for file in capture.folder.iterdir():
        durable.copy(file, folder / file.name)
    durable.replace_folder(folder, settings.raw / capture.source)
    return Snapshot(capture.source, settings.raw / capture.source, capture.descriptor)


def refuse(settings: Settings, source: str, path: Path, most: int | None = None) -> Path | None:
    """Move a rejected file or folder into quarantine, where the newest few are kept.

    most: the size in bytes above which it is deleted instead; REFUSED_BYTES by default.

    Returns its new path; None if it did not exist, was empty or too large.
    """
    if not os.path.lexists(path):
        return None
    files = [] if path.is_symlink() else [path, *path.rglob("*")]
    size = sum(f.lstat().st_size for f in files if f.is_file())
    is_empty = path.is_dir() and len(files) == 1
    if size > (REFUSED_BYTES if most is None else most) or is_empty:
        durable.remove(path)
        return None
    kept = durable.unlinked(settings.quarantine / source)
    kept.mkdir(parents=True, exist_ok=True)
    old = sorted((p for p in kept.iterdir() if _NUMBERED.match(p.name)), key=lambda p: p.name)
    number = int(old[-1].name[:6]) + 1 if old else 1
    # A file that was to replace another one gets the name that it was to have.
    target = kept / f"{number:06}-{path.name.removeprefix('.').removesuffix('.new')}"
    shutil.move(path, target)
    for oldest in [*old, target][:-KEEP_REFUSED]:
        durable.remove(oldest)
    return target
