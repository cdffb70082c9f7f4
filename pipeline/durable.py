"""Files that are whole or absent, whatever moment the machine stops at, and never somebody else's.

A name in the data folder may be taken by a symbolic link that another user put there: nothing is
written through one.
"""

import ctypes
import errno
import json
import os
import shutil
import sys
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import SetupError

_BLOCK = 1 << 20
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # sys/stdio.h on macOS


def flush(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path, buffering: int = -1) -> BinaryIO:
    """Open a new file for writing; a link or a leftover file of its name is removed first.

    An exclusive creation (O_EXCL) follows no link. Raises OSError, also when somebody is faster,
    or a folder or a device has the name: those are nobody's leftovers.
    """
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    return path.open("xb", buffering=buffering)


def reopen(path: Path) -> BinaryIO:
    """Open a file to go on writing it; SetupError when it is a link."""
    return os.fdopen(open_own(path, os.O_RDWR), "r+b")


def copy(source: Path, path: Path) -> None:
    """Copy a file's bytes into a new file; a link of its name is removed, as by `create`."""
    with source.open("rb") as given, create(path) as file:
        shutil.copyfileobj(given, file, _BLOCK)


def open_own(path: Path, flags: int, mode: int = 0o644) -> int:
    """A descriptor of a file that stays from run to run, such as a lock; made where it is not.

    Raises SetupError when it is a link, OSError when it cannot be opened.
    """
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _is_a_link(path) from None


def unlinked(path: Path) -> Path:
    """The path of a file or folder of the pipeline's own; SetupError when it is a link."""
    if path.is_symlink():
        raise _is_a_link(path)
    return path


def _is_a_link(path: Path) -> SetupError:
    return SetupError(
        f"{path} is a symbolic link, and nothing is written through one",
        f"rm '{path}' removes the link and nothing that it leads to; to keep the data elsewhere, "
        "set DATA_DIR",
    )


def remove(path: Path) -> None:
    """Remove a file, a link (not what it leads to) or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Replace a small file: readers see the old bytes or the new ones."""
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


def write_json(path: Path, value: object) -> None:
    """Replace a JSON file, one member a line so that differences read well."""
    write(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def replace_file(aside: Path, path: Path) -> None:
    """Put a finished file in its place, its bytes flushed before its name."""
    flush(aside)
    aside.replace(path)
    flush(path.parent)


def replace_folder(aside: Path, folder: Path) -> None:
    """Put a finished folder in the place of another one, which is deleted.

    The two names are exchanged in one system call where there is one (Linux, macOS), so that
    `folder` is at every moment the old or the new one. Elsewhere there is an instant without
    either; `repair_folder` puts that right after a crash.
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
    """Tidy up after a `replace_folder` that was killed: put the old folder back if need be."""
    old = aside.with_name(f"{aside.name}.old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    for leftover in (aside, old):
        remove(leftover)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or file system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            return library.renamex_np(*names, _RENAME_SWAP) == 0
        return library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
    except AttributeError:
        return False
