"""Objects and pointers of Git LFS, as its specification (docs/spec.md of git-lfs) defines them.

Objects are written into the folder that git-lfs uses, so that git-lfs can push, fetch and check
them out. `git lfs clean` is not used to add them, because it also writes into the repository's
configuration and hooks, and does not flush its files.
"""

import hashlib
import re
from pathlib import Path

from pipeline import durable
from pipeline.errors import PipelineError

POINTER_BYTES = 1024  # the specification's limit for a pointer
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]+)\n"
)
_BLOCK = 1024 * 1024


def add(store: Path, file: Path, oid: str) -> bytes:
    """Store a file as an object, flushed to the disk; returns the pointer to it.

    Parameters
    ----------
    store: the folder `lfs` inside `.git`, or setting lfs.storage. One writer at a time.
    oid:   the SHA-256 that the file must have, in hex.

    Raises PipelineError when the file has another one.
    """
    size = file.stat().st_size
    if size == 0:
        return b""  # the specification's pointer to nothing
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"
    if not find(store, pointer.encode()):
        kept, aside = _path(store, oid), _unfinished(store)
        kept.parent.mkdir(parents=True, exist_ok=True)
        aside.parent.mkdir(exist_ok=True)
        if _copied(file, aside) != oid:
            raise PipelineError(f"{file} does not have the SHA-256 that its manifest names")
        durable.replace_file(aside, kept)
        for folder in (kept.parent.parent, kept.parent.parent.parent):
            durable.flush(folder)
    return pointer.encode()


def find(store: Path, pointer: bytes) -> Path | None:
    """Return the verified object that a pointer names, or None; for `b""` an empty file.

    Raises PipelineError when it is not a pointer.
    """
    if pointer == b"":
        return Path("/dev/null")
    oid, size = parse(pointer)
    kept = _path(store, oid)
    if not kept.is_file() or kept.stat().st_size != size:
        return None
    with kept.open("rb") as file:
        return kept if hashlib.file_digest(file, "sha256").hexdigest() == oid else None


def parse(pointer: bytes) -> tuple[str, int]:
    """Return SHA-256 (hex) and size (bytes) of the object that a pointer names.

    Raises PipelineError when it is not a pointer.
    """
    match = _POINTER.fullmatch(pointer)
    if not match:
        raise PipelineError("data instead of a Git LFS pointer")
    return match[1].decode(), int(match[2])


def tidy(store: Path) -> None:
    """Delete the unfinished file of an `add` that was killed."""
    _unfinished(store).unlink(missing_ok=True)


def _path(store: Path, oid: str) -> Path:
    return store / "objects" / oid[:2] / oid[2:4] / oid


def _unfinished(store: Path) -> Path:
    return store / "tmp" / "raw-data-stash"


def _copied(file: Path, to: Path) -> str:
    """Copy a file; returns the SHA-256 of the copied bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as source, durable.create(to) as target:
        while block := source.read(_BLOCK):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()
