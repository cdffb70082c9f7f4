"""The encoding and the line ends of a text: recognised by a mark, suggested in errors, not guessed.

A run uses the encoding that the source's script declares. This module finds byte order marks
(Unicode 16, 23.8), recognises text that was decoded with a wrong codec, and suggests another one.
"""

import codecs
import re
import unicodedata

# UTF-32 comes first: its little-endian mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LONGEST_MARK = 4
# Carriage returns and line feeds exchanged: so lines that end in CR alone are read like all others.
SWAPPED = bytes.maketrans(b"\r\n", b"\n\r")
# Control characters that do not occur in text: a single-byte codec makes them of the letters and
# quotes of another codec.
C1 = re.compile("[\x80-\x9f]")
C1_IN_UTF8 = re.compile(rb"\xc2[\x80-\x9f]")
_BAD = re.compile("[\udc80-\udcff]")  # "surrogateescape" makes these of bytes that are not UTF-8
_AROUND = 20  # characters shown on either side
_START = 64 * 1024  # bytes that show how lines end
# Codecs with several bytes per character: the first bytes of their common characters.
_EAST_ASIAN = {
    "cp932": (*range(0x82, 0x84), *range(0x88, 0x98)),
    "euc-jp": (*range(0xA4, 0xA6), *range(0xB0, 0xD0)),
    "big5": (*range(0xA4, 0xC7),),
    "gb18030": (*range(0xB0, 0xD8),),
    "euc-kr": (*range(0xB0, 0xC9),),
}
_COMMON = 0.8  # the share of such characters in a text that is in the codec
_AFTER_APOSTROPHE = set("dlmrstvDLMRSTV")  # don't, it's, we'll


class Utf8Share:
    """How many characters of a text are UTF-8 beyond ASCII, and how many bytes are not."""

    def __init__(self):
        self.good = 0
        self.bad = 0
        self.line = 0  # of the first bad byte
        self.byte = 0  # the first bad byte
        self._lines = 1
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def add(self, chunk: bytes) -> None:
        """Count the next part of the text; an empty one ends it."""
        text = self._decoder.decode(chunk, final=not chunk)
        if not text.isascii():
            wrong = _BAD.findall(text)
            if wrong and not self.bad:
                self.line = self._lines + text.count("\n", 0, text.index(wrong[0]))
                self.byte = ord(wrong[0]) & 0xFF
            self.bad += len(wrong)
            self.good += len(text) - len(text.encode("ascii", "ignore")) - len(wrong)
        self._lines += text.count("\n")

    def is_most(self, *, several_bytes: bool = False) -> bool:
        """Whether the text is UTF-8 except for a few bytes.

        A text in another codec contains valid UTF-8 characters only by chance, but more of them if
        that codec has several bytes per character.
        """
        return self.good > 0 and self.good >= self.bad * (10 if several_bytes else 1)


def control(sign: str) -> str:
    """How an error names a C1 control character."""
    return f"the control character U+{ord(sign):04X}, which does not occur in text"


def marked(start: bytes) -> str:
    """The codec of the byte order mark at the beginning of a text; empty without one."""
    return next((codec for mark, codec in MARKS if start.startswith(mark)), "")


def line_end(codec: str, start: bytes) -> bytes:
    """A line feed in a codec; `start` is the beginning of the text, which may have a mark."""
    codec = marked(start) or codec
    if codec in ("utf-16", "utf-32"):
        is_big = start.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
        codec += "-be" if is_big else "-le"
    return "\n".encode("utf-8" if codec == "utf-8-sig" else codec)


def is_unicode(codec: str) -> bool:
    """Whether a codec is one of Unicode, which do not accept other codecs' bytes by chance."""
    return codecs.lookup(codec).name.startswith("utf")


def is_of_several_bytes(codec: str) -> bool:
    """Whether a codec has characters of two bytes, as East Asian codecs do."""
    name = codecs.lookup(codec).name
    try:
        return "jis" in name or name == "cp932" or len(b"\xb0\xa1".decode(name)) == 1
    except UnicodeError:
        return False


def has_cr_line_ends(text: bytes, quote: bytes | None = b'"') -> bool:
    """Whether the first lines of a text end in CR alone; what is in quotes does not count.

    A CR at the very end is ignored, because an LF may follow.
    """
    start = text[:_START]
    if b"\r" not in start:
        return False
    plain = unquoted(start, quote)
    alone = len(re.findall(rb"\r(?!\n|\Z)", plain))
    return alone > plain.count(b"\n")


def unquoted(text: bytes, quote: bytes | None) -> bytes:
    """A text without its quoted parts, as far as the quotes are closed."""
    if not quote:
        return text
    sign = re.escape(quote)
    return re.sub(b"%b[^%b]*%b" % (sign, sign, sign), b"", text)


def suggestion(data: bytes, at: int) -> str:
    """Codecs that can read the bytes around an offset that is not UTF-8, and the result, if any."""
    start = data.rfind(b"\n", 0, at) + 1
    line = data[start : start + 40 * _AROUND].partition(b"\n")[0]
    if found := _east_asian(line):
        return _readings(line[: 2 * _AROUND], [found], "ignore")
    around = data[max(start, at - _AROUND) : at + _AROUND].partition(b"\n")[0]
    return _readings(around, ["cp1252", "mac-roman"])


def suggestion_for_control(text: str, at: int) -> str:
    """Codecs that read the byte of a C1 control as text, and the result; the likeliest first.

    `text` was decoded from ISO 8859-1 or a similar codec, in which a control has the number of its
    byte; or it was encoded twice.
    """
    start = text.rfind("\n", 0, at) + 1
    around = text[max(start, at - _AROUND) : at + _AROUND].partition("\n")[0]
    raw = around.encode("latin-1", "replace")
    letters = sum(_replaces_letter(around, at) for at in range(len(around)))
    is_mac = letters * 2 > len(C1.findall(around))
    likely = ["mac-roman", "cp1252"] if is_mac else ["cp1252", "mac-roman"]
    return _readings(raw, ["utf-8", *likely])


def _replaces_letter(text: str, at: int) -> bool:
    """Whether a control is between letters, where a letter is expected."""
    before, sign, after = text[at - 1 : at], text[at], text[at + 1 : at + 2]
    is_apostrophe = sign == "\x92" and after in _AFTER_APOSTROPHE
    is_between = all(other.isalpha() or C1.match(other) for other in (before, after))
    return bool(C1.match(sign)) and is_between and not is_apostrophe


def _readings(raw: bytes, names: list[str], errors: str = "strict") -> str:
    readings = []
    for codec in names:
        try:
            text = raw.decode(codec, errors)
        except UnicodeError:
            continue
        if not C1.search(text):
            shown = "".join(sign if sign.isprintable() else " " for sign in text).strip()
            readings.append(f"{codec} reads {shown!r}")
    return ", ".join(readings)


def _east_asian(line: bytes) -> str:
    """The East Asian codec in which most characters of a line are common ones; empty if none."""
    shares = {codec: _share_of_common(line, codec) for codec in _EAST_ASIAN}
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] >= _COMMON else ""


def _share_of_common(line: bytes, codec: str) -> float:
    try:
        signs = [sign for sign in line.decode(codec) if not sign.isascii()]
    except UnicodeError:
        return 0.0
    # Western accented letters are single bytes among ASCII; East Asian characters come in rows.
    if len(signs) < 2 or any(unicodedata.category(sign) == "Co" for sign in signs):
        return 0.0
    firsts = [sign.encode(codec)[0] for sign in signs]
    return sum(first in _EAST_ASIAN[codec] for first in firsts) / len(signs)
