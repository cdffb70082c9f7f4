"""What encoding bytes may be in: told by their mark, or offered in an error; never guessed.

A nightly run reads what the source's script declares. What is here finds marks (Unicode 16,
23.8), tells text that a wrong codec made of bytes, and names the codec that reads them better.
"""

import codecs
import re
import unicodedata

# UTF-32 comes first: its little-endian mark begins with the one of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LONGEST_MARK = 4
# Carriage returns and line feeds exchanged: lines that end in CR alone are read like all others.
SWAPPED = bytes.maketrans(b"\r\n", b"\n\r")
# Controls that no text has: a single-byte codec made them of another codec's letters and quotes.
C1 = re.compile("[\x80-\x9f]")
C1_IN_UTF8 = re.compile(rb"\xc2[\x80-\x9f]")
_BAD = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that is not UTF-8
_AROUND = 20  # characters shown on either side
# Codecs of several bytes a character: the first bytes of their everyday characters.
_EAST_ASIAN = {
    "cp932": (*range(0x82, 0x84), *range(0x88, 0x98)),
    "euc-jp": (*range(0xA4, 0xA6), *range(0xB0, 0xD0)),
    "big5": (*range(0xA4, 0xC7),),
    "gb18030": (*range(0xB0, 0xD8),),
    "euc-kr": (*range(0xB0, 0xC9),),
}
_EVERYDAY = 0.8  # the share of such characters in a text that is in the codec
_AFTER_APOSTROPHE = set("dlmrstvDLMRSTV")  # don't, it's, we'll


class Utf8Share:
    """How many characters of a text are UTF-8 beyond ASCII, and how many bytes are not."""

    def __init__(self):
        self.good = 0
        self.bad = 0
        self.line = 0  # of the first bad byte
        self.byte = 0  # the first bad one
        self._lines = 1
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def add(self, chunk: bytes) -> None:
        """Count what comes next; an empty chunk ends the text."""
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
        """Whether the text is UTF-8, a few bytes apart. In a text of another codec a character
        of UTF-8 comes by chance; in one of several bytes a character, more of them do.
        """
        return self.good > 0 and self.good >= self.bad * (10 if several_bytes else 1)


def control(sign: str) -> str:
    """What an error says of a C1 control."""
    return f"the control character U+{ord(sign):04X}, which no text has"


def marked(start: bytes) -> str:
    """The codec that the mark at the beginning of a text names; empty without one."""
    return next((codec for mark, codec in MARKS if start.startswith(mark)), "")


def line_end(codec: str, start: bytes) -> bytes:
    """A line feed as a text in a codec has it; `start` is where its mark stands, if it has one."""
    codec = marked(start) or codec
    if codec in ("utf-16", "utf-32"):
        is_big = start.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
        codec += "-be" if is_big else "-le"
    return "\n".encode("utf-8" if codec == "utf-8-sig" else codec)


def is_unicode(codec: str) -> bool:
    """Whether a codec is one of Unicode's own, which read no other one's bytes by chance."""
    return codecs.lookup(codec).name.startswith("utf")


def is_of_several_bytes(codec: str) -> bool:
    """Whether a codec has characters of two bytes, as the East Asian ones have."""
    name = codecs.lookup(codec).name
    try:
        return "jis" in name or name == "cp932" or len(b"\xb0\xa1".decode(name)) == 1
    except UnicodeError:
        return False


def reads_as(data: bytes, at: int) -> str:
    """Which codecs read the bytes around a place that is not UTF-8, and as what; may be empty."""
    begin = data.rfind(b"\n", 0, at) + 1
    line = data[begin : begin + 40 * _AROUND].partition(b"\n")[0]
    if found := _east_asian(line):
        return _offered(line[: 2 * _AROUND], [found], "ignore")
    around = data[max(begin, at - _AROUND) : at + _AROUND].partition(b"\n")[0]
    return _offered(around, ["cp1252", "mac-roman"])


def control_reads_as(text: str, at: int) -> str:
    """Which codecs read the bytes behind a C1 control better, the likeliest first; may be empty.

    `text` came of ISO 8859-1 or a relative, where a control has the number of its byte; or it was
    encoded twice.
    """
    begin = text.rfind("\n", 0, at) + 1
    around = text[max(begin, at - _AROUND) : at + _AROUND].partition("\n")[0]
    raw = around.encode("latin-1", "replace")
    in_words = sum(_is_letter_of_word(around, at) for at in range(len(around)))
    is_mac = in_words * 2 > len(C1.findall(around))
    likely = ["mac-roman", "cp1252"] if is_mac else ["cp1252", "mac-roman"]
    return _offered(raw, ["utf-8", *likely])


def _is_letter_of_word(text: str, at: int) -> bool:
    """Whether a control stands where a letter must, between letters."""
    before, sign, after = text[at - 1 : at], text[at], text[at + 1 : at + 2]
    is_apostrophe = sign == "\x92" and after in _AFTER_APOSTROPHE
    is_between = all(other.isalpha() or C1.match(other) for other in (before, after))
    return bool(C1.match(sign)) and is_between and not is_apostrophe


def _offered(raw: bytes, names: list[str], errors: str = "strict") -> str:
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
    """The East Asian codec in which a line has everyday characters, the most of them; or none."""
    shares = {codec: _share_of_everyday(line, codec) for codec in _EAST_ASIAN}
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] >= _EVERYDAY else ""


def _share_of_everyday(line: bytes, codec: str) -> float:
    try:
        signs = [sign for sign in line.decode(codec) if not sign.isascii()]
    except UnicodeError:
        return 0.0
    # Letters of the West are single bytes among ASCII; in an East Asian text they come in rows.
    if len(signs) < 2 or any(unicodedata.category(sign) == "Co" for sign in signs):
        return 0.0
    firsts = [sign.encode(codec)[0] for sign in signs]
    return sum(first in _EAST_ASIAN[codec] for first in firsts) / len(signs)
