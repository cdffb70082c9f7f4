"""What came from elsewhere, as it may be shown in a log, an error or a manifest."""

from urllib.parse import urlsplit, urlunsplit

from pipeline.settings import redact


def escaped(text: str, longest: int = 200) -> str:
    """Fetched text on one line: control characters escaped, cut to a length in characters."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:longest])
    return printable if len(text) <= longest else f"{printable}…"


def shown(url: str) -> str:
    """A URL without user, password, secrets of the settings and control characters."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    except ValueError:  # not a URL at all; what stands before an @ may still be a password
        url = url.rpartition("@")[2]
    return escaped(redact(url), 300)
