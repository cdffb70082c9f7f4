"""The file `.env`: lines `NAME=value` in UTF-8. A file that cannot be read stops the run."""

import os
import stat
from io import StringIO
from pathlib import Path

from pipeline.errors import SetupError

_OTHERS = stat.S_IRGRP | stat.S_IROTH


def read(path: Path) -> dict[str, str]:
    """The values in a file by name; empty if there is no file.

    Raises SetupError, which shows no value, when it cannot be read or a line has no value.
    """
    if not os.path.lexists(path):
        return {}
    text = _text(path)
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            text = binding.original.string
            line = binding.original.line + text[: -len(text.lstrip())].count("\n")
            raise SetupError(f"{path.name} line {line} is not NAME=value", "see .env.example")
    return {k: v for k, v in dotenv_values(stream=StringIO(text)).items() if v is not None}


def is_open(path: Path) -> bool:
    """Whether the mode of a file lets other users read it; a link is followed."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def exposed(path: Path, names: list[str]) -> str:
    """What is wrong with the mode of a file that has secrets, and the remedy; empty if nothing.

    `names`: the settings in the file whose values are secret.
    """
    if not names or not is_open(path):
        return ""
    return (
        f"other users of this machine can read {path.name}, which contains "
        f"{', '.join(sorted(names))}: chmod 600 {path}"
    )


def changeable(path: Path) -> str:
    """A sentence with the remedy if other users may change a file, and so what a run does.

    Empty if they may not, or if there is no file.
    """
    try:
        status = path.stat()
    except OSError:
        return ""
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"other users of this machine can change {path.name}: chmod go-w {path}"
    if status.st_uid not in (os.geteuid(), 0):
        return f"{path.name} belongs to another user, who can change it: chown it to this one"
    return ""


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SetupError(
            f"{path.name} cannot be read: {error.strerror}", f"see ls -l {path}"
        ) from None
    try:
        text = data.decode("utf-8-sig")  # Windows puts a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        remedy = "save it as UTF-8; characters outside of ASCII can also be percent-encoded"
        raise SetupError(f"{path.name} line {line} is not UTF-8", remedy) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SetupError(f"{path.name} line {line} contains a NUL byte", "save it as UTF-8")
    return text
