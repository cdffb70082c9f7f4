"""Raw snapshots: files exactly as received, and the manifest that proves them.

    data/raw/<source>/…                the publisher's bytes
    data/raw/<source>/datapackage.json what they are and where they come from (datapackage.org)
    data/raw/<source>/SHA256SUMS       the commit record; `sha256sum -c` checks it

A snapshot without a whole SHA256SUMS does not exist.
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

from pipeline import durable
from pipeline.errors import SourceError
from pipeline.http import resume
from pipeline.raw import manifest
from pipeline.raw.manifest import DESCRIPTOR, SUMS
from pipeline.settings import BUNDLED, Settings

KEEP_REFUSED = 5
REFUSED_BYTES = 200 * 1024 * 1024
_NUMBERED = re.compile(r"[0-9]{6}-")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot whose every byte was checked against its manifest."""

    source: str
    folder: Path
    descriptor: dict = field(repr=False)

    @property
    def files(self) -> list[Path]:
        """The data files, in the order of the manifest."""
        return [self.folder / resource["path"] for resource in self.descriptor["resources"]]

    @property
    def file(self) -> Path:
        """The one data file; SourceError when there are several."""
        if len(self.files) != 1:
            raise SourceError(f"{self.source}: {len(self.files)} files where one was expected")
        return self.files[0]

    @property
    def content(self) -> str:
        """The content fingerprint: equal as long as what the publisher says is equal."""
        return self.descriptor["fingerprints"]["content"]

    @property
    def origin(self) -> str:
        """`live` or `bundled`."""
        return self.descriptor["origin"]

    @property
    def fetched_at(self) -> str:
        """When the bytes were received (ISO 8601, UTC)."""
        return self.descriptor["created"]

    @property
    def size(self) -> int:
        """Bytes of the data files."""
        return sum(resource["bytes"] for resource in self.descriptor["resources"])

    @cached_property
    def resources(self) -> dict[str, dict]:
        """The descriptor's entry of each file, by its name."""
        return {resource["path"]: resource for resource in self.descriptor["resources"]}


def current(settings: Settings, source: str) -> Snapshot | None:
    """The verified snapshot in `data/raw`, or None when there is none.

    Raises SourceError naming the file when what lies there does not match its manifest.
    """
    folder = settings.raw / source
    repair(settings, source)
    return read(folder, source) if os.path.lexists(folder) else None


def bundled(source: str) -> Snapshot | None:
    """The verified capture that came with the project, or None."""
    folder = BUNDLED / source
    return read(folder, source) if (folder / SUMS).exists() else None


def read(folder: Path, source: str) -> Snapshot:
    """Verify a snapshot folder and read its descriptor.

    Raises SourceError, as `manifest.verify` does, and when descriptor and manifest disagree.
    """
    sums = manifest.verify(folder, source)
    try:
        snapshot = Snapshot(source, folder, json.loads((folder / DESCRIPTOR).read_bytes()))
        named = {r["path"]: r["hash"] for r in snapshot.descriptor["resources"]}
        known = snapshot.content, snapshot.origin, snapshot.fetched_at, snapshot.size
    except (KeyError, TypeError, ValueError) as error:
        raise manifest.damaged(source, f"{DESCRIPTOR} cannot be read ({error!r})") from None
    if named != {name: f"sha256:{sums[name]}" for name in sums if name != DESCRIPTOR}:
        raise manifest.damaged(source, f"{DESCRIPTOR} and {SUMS} name different files")
    if [type(fact) for fact in known] != [str, str, str, int]:
        raise manifest.damaged(source, f"{DESCRIPTOR} lacks what a snapshot must tell")
    return snapshot


def addresses(settings: Settings, source: str = "*") -> list[str]:
    """The URLs that the files of a source's snapshots came from, or of all sources'.

    Those of the bundled snapshot come last.
    """
    urls = []
    for folder in (settings.raw, BUNDLED):
        for path in folder.glob(f"{source}/{DESCRIPTOR}"):
            # A damaged descriptor is named by the source's own script.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                urls += [str(r["url"]) for r in json.loads(path.read_bytes())["resources"]]
    return urls


def repair(settings: Settings, source: str) -> None:
    """Tidy up what a killed fetch left behind; what it had finished is kept for the next one."""
    resume.keep(settings, source, _aside(settings, source))
    durable.repair_folder(_aside(settings, source), settings.raw / source)


def _aside(settings: Settings, source: str) -> Path:
    return durable.unlinked(settings.raw / ".incoming") / source


def open_candidate(settings: Settings, source: str) -> Path:
    """An empty folder beside the snapshots in which a new one is gathered."""
    folder = _aside(settings, source)
    if settings.raw.is_symlink():
        raise SourceError(f"{settings.raw} is a link", "make it a folder, or set DATA_DIR")
    repair(settings, source)
    folder.mkdir(parents=True)
    return folder


def carry_over(file: Path, folder: Path) -> None:
    """Take an unchanged file of the current snapshot into a candidate, without a copy if able."""
    with contextlib.suppress(OSError):
        os.link(file, folder / file.name)
        return
    durable.copy(file, folder / file.name)


def discard(folder: Path) -> None:
    """Drop a candidate."""
    shutil.rmtree(folder, ignore_errors=True)


def commit(settings: Settings, source: str, folder: Path, descriptor: dict) -> Snapshot:
    """Write the manifest of a candidate and put it in the place of the current snapshot.

    Parameters
    ----------
    folder:     the candidate; it holds the data files only.
    descriptor: the Data Package descriptor, without hashes of the descriptor itself.
    """
    write_manifest(folder, descriptor)
    durable.replace_folder(folder, settings.raw / source)
    return Snapshot(source, settings.raw / source, descriptor)


def write_manifest(folder: Path, descriptor: dict) -> None:
    """Write `datapackage.json`, then `SHA256SUMS` over every file, itself left out."""
    text = (json.dumps(descriptor, indent=2, ensure_ascii=False) + "\n").encode()
    with durable.create(folder / DESCRIPTOR) as file:
        file.write(text)
    hashes = {r["path"]: r["hash"].removeprefix("sha256:") for r in descriptor["resources"]}
    manifest.write(folder, hashes | {DESCRIPTOR: hashlib.sha256(text).hexdigest()})


def install_bundled(settings: Settings, capture: Snapshot) -> Snapshot:
    """Make the bundled capture the current snapshot, manifest and all."""
    folder = open_candidate(settings, capture.source)
    for file in capture.folder.iterdir():
        durable.copy(file, folder / file.name)
    durable.replace_folder(folder, settings.raw / capture.source)
    return Snapshot(capture.source, settings.raw / capture.source, capture.descriptor)


def fingerprint_of(parts: dict[str, str]) -> str:
    """One SHA-256 over the hashes of several named parts, whatever their order."""
    lines = (f"{parts[name]}  {name}\n" for name in sorted(parts))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def refuse(settings: Settings, source: str, path: Path, most: int | None = None) -> Path | None:
    """Keep what was refused for inspection: the newest few, bounded in size.

    `most` is the bytes that are kept at most, REFUSED_BYTES when left out. Returns where it is
    kept, or None when there was nothing or it is too large to keep.
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
    # A file that was to take another's place is kept under the name it was to have.
    target = kept / f"{number:06}-{path.name.removeprefix('.').removesuffix('.new')}"
    shutil.move(path, target)
    for superfluous in [*old, target][:-KEEP_REFUSED]:
        durable.remove(superfluous)
    return target
