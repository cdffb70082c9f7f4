"""What came from elsewhere, as it may be shown in a log, an error or a manifest."""

import shutil
import textwrap
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pipeline.settings import ROOT, redact

EXCERPT_CHARACTERS = 60


def escaped(text: str, longest: int = 200) -> str:
    """Fetched text on one line: control characters escaped, cut to a length in characters.

    Secrets are taken out of what is cut, since half of one would not be found any more.
    """
    text = redact(text) if len(text) > longest else text
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:longest])
    return printable if len(text) <= longest else f"{printable}…"


def wrapped(text: str, is_terminal: bool, indent: str = "    ") -> list[str]:
    """A line of text as a terminal shows it, broken between words only; elsewhere unchanged.

    Blanks in the path of the project do not end a word.
    """
    if not is_terminal:
        return [text]
    lines = textwrap.wrap(
        text.replace(str(ROOT), str(ROOT).replace(" ", "\N{NO-BREAK SPACE}")),
        shutil.get_terminal_size().columns,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def start_of(body: bytes, longest: int = 200) -> str:
    """The beginning of a response's body, or of what was read of it, without secrets."""
    text = body[: 2 * longest].decode("utf-8", "replace")
    return escaped(redact(text, is_cut=True), longest)


def shown(url: str) -> str:
    """A URL without user, password, secrets of the settings and control characters."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    except ValueError:  # not a URL at all; what stands before an @ may still be a password
        url = url.rpartition("@")[2]
    return escaped(redact(url), 300)


def excerpt(text: str | bytes) -> str:
    """The beginning of fetched text, escaped; of bytes, what is no UTF-8 stands as `\\xNN`."""
    if isinstance(text, bytes):
        text = text[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "backslashreplace")
    return escaped(text, EXCERPT_CHARACTERS)


def place(path: Path) -> str:
    """A raw file as errors name it: its folder, which is the source's name, and its name."""
    return f"{path.parent.name}/{path.name}"
