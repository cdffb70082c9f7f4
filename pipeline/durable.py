"""Files that are complete or absent, whenever the machine stops, and that belong to the pipeline.

Another user may have put a symbolic link into the data folder: nothing is written through a link.
"""

import ctypes
import errno
import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import SetupError

_BLOCK = 1 << 20
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


def flush(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path, buffering: int = -1) -> BinaryIO:
    """Open a new file for writing; a link or an old file of this name is removed first.

    An exclusive creation (O_EXCL) follows no link. Raises OSError, also when another process is
    faster, or when a folder or a device has this name.
    """
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    return path.open("xb", buffering=buffering)


def reopen(path: Path) -> BinaryIO:
    """Open an existing file for reading and writing; SetupError when it is a link."""
    return os.fdopen(open_own(path, os.O_RDWR), "r+b")


def copy(source: Path, path: Path) -> None:
    """Copy a file's bytes into a new file; like `create`, it replaces a link of this name."""
    with source.open("rb") as original, create(path) as file:
        shutil.copyfileobj(original, file, _BLOCK)


def open_own(path: Path, flags: int, mode: int = 0o644) -> int:
    """A descriptor of a file that several runs use, such as a lock; it is created if missing.

    Raises SetupError when it is a link, OSError when it cannot be opened.
    """
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _is_a_link(path) from None


def unlinked(path: Path) -> Path:
    """The path of a file or folder that belongs to the pipeline; SetupError when it is a link."""
    if path.is_symlink():
        raise _is_a_link(path)
    return path


def _is_a_link(path: Path) -> SetupError:
    return SetupError(
        f"{path} is a symbolic link; the pipeline does not write through links",
        f"rm '{path}' removes the link and nothing that it leads to; to keep the data elsewhere, "
        "set DATA_DIR",
    )


def remove(path: Path) -> None:
    """Remove a file, a link (not its target) or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Replace a small file: readers see either the old or the new bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with create(aside) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    flush(path.parent)


def read_json(path: Path) -> dict:
    """The object in a JSON file; empty when the file is missing, damaged or not an object."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: object) -> None:
    """Replace a JSON file; one member per line makes differences readable."""
    write(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def replace_file(aside: Path, path: Path) -> None:
    """Move a finished file to its final name; its bytes are flushed first."""
    flush(aside)
    aside.replace(path)
    flush(path.parent)


def replace_folder(aside: Path, folder: Path) -> None:
    """Replace a folder by a finished one.

    On Linux the two names are exchanged in one system call, so `folder` is always either the old or
    the new one. Other systems, and file systems without this call, have a moment with neither;
    after a crash in that moment `repair_folder` restores the old one.
    """
    for path in [*aside.rglob("*"), aside]:
        flush(path)
    if not folder.exists():
        aside.rename(folder)
    elif _exchange(aside, folder):
        flush(folder.parent)
        shutil.rmtree(aside)
    else:
        old = aside.with_name(f"{aside.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        aside.rename(folder)
        flush(folder.parent)
        shutil.rmtree(old)
    flush(folder.parent)


def repair_folder(aside: Path, folder: Path) -> None:
    """Clean up after a `replace_folder` that was killed; restore the old folder if necessary."""
    old = aside.with_name(f"{aside.name}.old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    for leftover in (aside, old):
        remove(leftover)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False if the system or file system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    library = ctypes.CDLL(None, use_errno=True)
    try:
        return library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
    except AttributeError:
        return False
