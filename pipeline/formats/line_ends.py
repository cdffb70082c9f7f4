"""How the lines of a text end: in LF, in CR LF, or, as on an old Macintosh, in CR alone."""

import re

BEGIN = 64 * 1024  # bytes in which it shows


def is_cr_alone(text: bytes, quote: bytes | None = b'"') -> bool:
    """Whether the lines at the beginning of a text end in CR alone, what is in quotes set aside.

    A CR at the very end tells nothing: an LF may follow.
    """
    begin = text[:BEGIN]
    if b"\r" not in begin:
        return False
    plain = unquoted(begin, quote)
    alone = len(re.findall(rb"\r(?!\n|\Z)", plain))
    return alone > plain.count(b"\n")


def unquoted(text: bytes, quote: bytes | None) -> bytes:
    """A text without what is in quotes, as far as these are closed."""
    if not quote:
        return text
    sign = re.escape(quote)
    return re.sub(b"%b[^%b]*%b" % (sign, sign, sign), b"", text)
