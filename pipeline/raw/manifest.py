"""The manifest of a raw snapshot: `SHA256SUMS`, which `sha256sum -c` checks as well.

It covers every other file of the folder and is written last: a folder without a complete
manifest is not a snapshot.
"""

import hashlib
import re
from pathlib import Path

from pipeline import durable
from pipeline.errors import SourceError

SUMS = "SHA256SUMS"
DESCRIPTOR = "datapackage.json"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\x00-\x1f\x7f]+)")


def write(folder: Path, hashes: dict[str, str]) -> None:
    """Write the manifest of a folder.

    hashes: SHA-256 (64 hexadecimal digits) of each file, by name.
    """
    lines = (f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    with durable.create(folder / SUMS) as file:
        file.write("".join(lines).encode())


def verify(folder: Path, source: str) -> dict[str, str]:
    """Compare every byte of a folder with its manifest; returns the manifest's hashes by name.

    Raises SourceError when the manifest is missing or damaged (with the line), or a file is
    missing, added, a link, changed, or a Git LFS pointer instead of the data.
    """
    sums = _read(folder, source)
    present = {path.name for path in folder.iterdir()} - {SUMS}
    if missing := sorted(set(sums) - present):
        raise damaged(source, f"{missing[0]} is named in {SUMS} and does not exist")
    if added := sorted(present - set(sums)):
        raise damaged(source, f"{added[0]!a} is not named in {SUMS}")
    for name, expected in sums.items():
        _verify_file(folder / name, expected, source)
    return sums


def damaged(source: str, what: str) -> SourceError:
    """Return the error for a snapshot that cannot be trusted."""
    return SourceError(
        f"{source}: the raw snapshot is damaged: {what}",
        f"./run_pipeline.sh api {source} fetches it again",
    )


def _read(folder: Path, source: str) -> dict[str, str]:
    if folder.is_symlink():
        raise damaged(source, "the folder is a link")
    if not folder.is_dir():
        raise damaged(source, "it is not a folder")
    try:
        text = (folder / SUMS).read_bytes().decode()
    except FileNotFoundError:
        raise damaged(source, f"{SUMS} is missing") from None
    except UnicodeDecodeError:
        raise damaged(source, f"{SUMS} is not text") from None
    if not text.endswith("\n"):
        raise damaged(source, f"the last line of {SUMS} is incomplete")
    sums: dict[str, str] = {}
    for number, line in enumerate(text.split("\n")[:-1], 1):
        match = _LINE.fullmatch(line)
        if not match or match[2] in sums:
            raise damaged(source, f"{SUMS} line {number} is not `sum  name` or names it twice")
        sums[match[2]] = match[1]
    if DESCRIPTOR not in sums:
        raise damaged(source, f"{SUMS} does not name {DESCRIPTOR}")
    return sums


def _verify_file(path: Path, expected: str, source: str) -> None:
    if path.is_symlink() or not path.is_file():
        raise damaged(source, f"{path.name} is not a regular file")
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise SourceError(
                f"{source}: {path} is a Git LFS pointer, not the data",
                f"git lfs pull --include 'data/raw/{source}/**', or delete the folder",
            )
        file.seek(0)
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise damaged(source, f"{path.name} does not have the SHA-256 that the manifest names")
