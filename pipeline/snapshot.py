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
from pathlib import Path

from pipeline import durable
from pipeline.errors import SourceError
from pipeline.settings import BUNDLED, Settings

SUMS = "SHA256SUMS"
DESCRIPTOR = "datapackage.json"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
KEEP_REFUSED = 5
REFUSED_BYTES = 200 * 1024 * 1024
_SUM_LINE = re.compile(r"([0-9a-f]{64})  ([^/\0]+)")
_BLOCK = 1024 * 1024


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

    def resource(self, name: str) -> dict | None:
        """The manifest's entry of one file."""
        return next((r for r in self.descriptor["resources"] if r["path"] == name), None)


def current(settings: Settings, source: str) -> Snapshot | None:
    """The verified snapshot in `data/raw`, or None when there is none.

    Raises SourceError naming the file when what lies there does not match its manifest.
    """
    folder = settings.raw / source
    repair(settings, source)
    return read(folder, source) if folder.exists() else None


def bundled(source: str) -> Snapshot | None:
    """The verified capture that came with the project, or None."""
    folder = BUNDLED / source
    return read(folder, source) if (folder / SUMS).exists() else None


def read(folder: Path, source: str) -> Snapshot:
    """Verify a snapshot folder and read its manifest.

    Raises SourceError when the manifest is missing or damaged, a file is missing, added, a link,
    changed by a byte, or a Git LFS pointer in place of the data.
    """
    sums = _read_sums(folder, source)
    present = {path.name for path in folder.iterdir()} - {SUMS}
    if missing := sorted(set(sums) - present):
        raise _damaged(source, f"{missing[0]} is named in {SUMS} and is not there")
    if added := sorted(present - set(sums)):
        raise _damaged(source, f"{added[0]} is not named in {SUMS}")
    for name, expected in sums.items():
        _verify_file(folder / name, expected, source)
    try:
        descriptor = json.loads((folder / DESCRIPTOR).read_bytes())
        snapshot = Snapshot(source, folder, descriptor)
        if sorted([*(path.name for path in snapshot.files), DESCRIPTOR]) != sorted(sums):
            raise _damaged(source, f"{DESCRIPTOR} and {SUMS} name different files")
        _ = snapshot.content, snapshot.origin, snapshot.fetched_at, snapshot.size
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(source, f"{DESCRIPTOR} cannot be read ({error!r})") from None
    return snapshot


def _read_sums(folder: Path, source: str) -> dict[str, str]:
    if folder.is_symlink():
        raise _damaged(source, "the folder is a link")
    try:
        text = (folder / SUMS).read_text("utf-8")
    except FileNotFoundError:
        raise _damaged(source, f"{SUMS} is missing") from None
    except UnicodeDecodeError:
        raise _damaged(source, f"{SUMS} is not text") from None
    if not text.endswith("\n"):
        raise _damaged(source, f"{SUMS} is cut in its last line")
    sums = {}
    for number, line in enumerate(text.split("\n")[:-1], 1):
        match = _SUM_LINE.fullmatch(line)
        if not match or match[2] in sums:
            raise _damaged(source, f"{SUMS} line {number} is not `sum  name` or names it twice")
        sums[match[2]] = match[1]
    if DESCRIPTOR not in sums:
        raise _damaged(source, f"{SUMS} does not name {DESCRIPTOR}")
    return sums


def _verify_file(path: Path, expected: str, source: str) -> None:
    if path.is_symlink() or not path.is_file():
        raise _damaged(source, f"{path.name} is not a regular file")
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise SourceError(
                f"{source}: {path} is a Git LFS pointer, not the data",
                f"git lfs pull --include 'data/raw/{source}/**', or delete the folder",
            )
        file.seek(0)
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise _damaged(source, f"{path.name} does not have the SHA-256 its manifest names")


def _damaged(source: str, what: str) -> SourceError:
    return SourceError(
        f"{source}: the raw snapshot is damaged: {what}",
        f"./run_pipeline.sh api {source} fetches it anew",
    )


def repair(settings: Settings, source: str) -> None:
    """Tidy up what a killed fetch left behind."""
    durable.repair_folder(_aside(settings, source), settings.raw / source)


def _aside(settings: Settings, source: str) -> Path:
    return settings.raw / ".incoming" / source


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
    shutil.copyfile(file, folder / file.name)


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
    text = json.dumps(descriptor, indent=2, ensure_ascii=False) + "\n"
    (folder / DESCRIPTOR).write_text(text, "utf-8")
    hashes = {r["path"]: r["hash"].removeprefix("sha256:") for r in descriptor["resources"]}
    hashes[DESCRIPTOR] = hashlib.sha256(text.encode()).hexdigest()
    lines = (f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    (folder / SUMS).write_text("".join(lines), "utf-8")


def install_bundled(settings: Settings, capture: Snapshot) -> Snapshot:
    """Make the bundled capture the current snapshot, manifest and all."""
    folder = open_candidate(settings, capture.source)
    shutil.copytree(capture.folder, folder, dirs_exist_ok=True)
    durable.replace_folder(folder, settings.raw / capture.source)
    return Snapshot(capture.source, settings.raw / capture.source, capture.descriptor)


def fingerprint_of(parts: dict[str, str]) -> str:
    """One SHA-256 over the hashes of several named parts, whatever their order."""
    lines = (f"{parts[name]}  {name}\n" for name in sorted(parts))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def refuse(settings: Settings, source: str, path: Path) -> Path | None:
    """Keep what was refused for inspection: the newest few, bounded in size.

    Returns where it is kept, or None when there was nothing or it is too large to keep.
    """
    if not path.exists():
        return None
    kept = settings.quarantine / source
    kept.mkdir(parents=True, exist_ok=True)
    size = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())
    if size > REFUSED_BYTES:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return None
    numbers = [int(old.name.split("-")[0]) for old in kept.iterdir()]
    target = kept / f"{max(numbers, default=0) + 1:06}-{path.name}"
    shutil.move(path, target)
    for old in sorted(kept.iterdir())[:-KEEP_REFUSED]:
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    return target
