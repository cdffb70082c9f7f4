"""Text from elsewhere, made safe for a log, an error or a manifest."""

import shutil
import textwrap
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pipeline.settings import ROOT, redact

EXCERPT_CHARACTERS = 60


def printable(text: str) -> str:
    """Text with all control characters escaped, so that a terminal obeys none."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def escaped(text: str, longest: int = 200) -> str:
    """Fetched text on one line: control characters escaped, cut to a number of characters.

    Secrets are removed before the text is cut, since half a secret would not be found any more.
    """
    text = redact(text) if len(text) > longest else text
    return printable(text) if len(text) <= longest else f"{printable(text[:longest])}…"


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
    """The beginning of the body of a response, without secrets."""
    text = body[: 2 * longest].decode("utf-8", "replace")
    return escaped(redact(text, is_cut=True), longest)


def shown(url: str) -> str:
    """A URL without user, password, secrets in the settings, and control characters."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    except ValueError:  # not a URL; the part before an @ may still be a password
        url = url.rpartition("@")[2]
    return escaped(redact(url), 300)


def excerpt(text: str | bytes) -> str:
    """The beginning of fetched text, escaped; bytes that are not UTF-8 become `\\xNN`."""
    if isinstance(text, bytes):
        text = text[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "backslashreplace")
    return escaped(text, EXCERPT_CHARACTERS)


def label(path: Path) -> str:
    """How errors name a raw file: by its folder, which has the name of the source, and its name."""
    return f"{path.parent.name}/{path.name}"
