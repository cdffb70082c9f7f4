"""Files that are whole or absent, whatever moment the machine stops at."""

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

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


def write(path: Path, content: bytes) -> None:
    """Replace a small file: readers see the old bytes or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
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
        if leftover.exists():
            shutil.rmtree(leftover)


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
