"""Removes secrets from a text, however they are encoded in it.

Programs differ in which characters they encode, how, and how often. So the text is decoded as far
as possible, the position of each byte is kept, and the result is searched for the secret, which is
decoded in the same way. Decoded are percent-encoding and `+` for a space (RFC 3986, HTML forms),
JSON (RFC 8259, 7), HTML, quotes of Python and SQL, and line breaks that were replaced by spaces. In
base64 (RFC 4648, both alphabets) a secret is found alone or inside of longer data.
"""

import mmap
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import cache
from html.entities import codepoint2name, html5
from itertools import pairwise

HIDDEN = "***"
_LONG = 6  # length from which a secret is searched in base64: three bytes could be anything
_SHORT = 3  # bytes of a secret that are recognised at the end of a text that was cut
_HALF = 12  # most bytes of an incomplete escape at such an end
_LEVELS = 8  # of nested encodings
_ESCAPE = re.compile(
    rb"""(?P<percent>%[0-9a-fA-F]{2})
    | (?P<units>(?:\\+u[0-9a-fA-F]{4})+)
    | (?P<bytes>(?:\\+x[0-9a-fA-F]{2})+)
    | \\+U(?P<point>[0-9a-fA-F]{8})
    | &\#(?P<decimal>[0-9]{1,7});
    | &\#[xX](?P<hex>[0-9a-fA-F]{1,6});
    | &(?P<name>[A-Za-z]{2,8});
    | (?P<blank>[\s+]+)
    | (?P<backslash>\\+)
    | (?P<quote>'')""",
    re.VERBOSE,
)
_LETTERS = str.maketrans("\n\r\t", "nrt")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]")
_SIXTY_FOUR = bytes.maketrans(b"-_ ", b"+/+")  # to one alphabet; `+` was decoded to a space

Span = tuple[int, int]  # start and end, in the text, of what was decoded to one byte


def redact(text: str, secrets: frozenset[str], is_cut: bool = False) -> str:
    """The text with `***` instead of each secret, and of the beginning of one at a cut end."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    data = _bytes(text)
    found = _found(data, secrets, is_cut)
    if not found:
        return text
    for start, end in reversed(found):
        data = data[:start] + HIDDEN.encode() + data[end:]
    return data.decode("utf-8", "surrogateescape")


def finds(secret: str, text: str) -> bool:
    """Whether a text contains a secret, in any encoding."""
    return bool(secret) and redact(text, frozenset({secret})) != text


def holds(key: str, data: bytes | mmap.mmap) -> bool:
    """Whether data of any size contain a key, which is ASCII without spaces.

    Nothing is decoded: letters and digits are searched as they are, the rest in any encoding.
    """
    return any(pattern.search(data) for pattern in _patterns(key))


@cache
def _patterns(key: str) -> list[re.Pattern[bytes]]:
    wanted = [key, *(core.decode() for core in _in_base64(key))] if key else []
    return [re.compile("".join(map(_character, one)).encode()) for one in wanted]


def _character(character: str) -> str:
    """A regular expression for a character in its usual encodings."""
    if character.isalnum():
        return character
    number = ord(character)
    name = f"|&{codepoint2name[number]};" if number in codepoint2name else ""
    forms = (
        f"%(?:25)*(?i:{number:02x})|\\\\+(?i:u00{number:02x})|&#{number};|&#x(?i:{number:x});{name}"
    )
    also = {"+": "|-", "/": "|_", "'": "|''"}.get(character, "")
    return rf"(?:{forms}{also}|\\*{re.escape(character)})"


def _found(data: bytes, secrets: frozenset[str], is_cut: bool) -> list[Span]:
    """The spans of secrets in the data, in order; overlapping ones are merged."""
    forms = [_forms(secret) for secret in secrets if secret]
    if not forms:
        return []
    decoded, origins = _decoded(data)
    packed = decoded.translate(_SIXTY_FOUR)
    spans = []
    for plain, in_base64 in forms:
        for form in plain:
            spans += [(origins[at][0], origins[end - 1][1]) for at, end in _finds(form, decoded)]
        for core in in_base64:
            spans += [_wider(at, end, origins, data) for at, end in _finds(core, packed)]
        if is_cut:
            spans += _at_end(plain, decoded, origins) + _at_end(in_base64, packed, origins)
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _finds(wanted: bytes, data: bytes) -> Iterator[Span]:
    at = data.find(wanted) if wanted else -1
    while at >= 0:
        yield at, at + len(wanted)
        at = data.find(wanted, at + len(wanted))


def _at_end(forms: Iterable[bytes], data: bytes, origins: list[Span]) -> list[Span]:
    """The span of the beginning of a secret at the end of the data, before an incomplete escape."""
    spans = []
    for form in forms:
        for end in range(len(data), max(_SHORT, len(data) - _HALF) - 1, -1):
            lengths = range(min(len(form), end), _SHORT - 1, -1)
            length = next((n for n in lengths if data.endswith(form[:n], 0, end)), 0)
            spans += [(origins[end - length][0], origins[-1][1])] if length else []
    return spans


def _wider(at: int, end: int, origins: list[Span], data: bytes) -> Span:
    """The span of base64 and of the characters beside it, which share bits with the secret."""
    before = origins[at - 1] if at else (0, 0)
    after = origins[end] if end < len(origins) else (0, 0)
    start = before[0] if _BASE64.fullmatch(data[slice(*before)]) else origins[at][0]
    return start, after[1] if _BASE64.fullmatch(data[slice(*after)]) else origins[end - 1][1]


@cache
def _forms(secret: str) -> tuple[set[bytes], list[bytes]]:
    """A secret decoded, and its base64 characters that do not depend on what surrounds it."""
    cores = [_decoded(core)[0].translate(_SIXTY_FOUR) for core in _in_base64(secret)]
    # Decoding drops a backslash, so the letter of `\\n` remains.
    plain = {secret.strip(), secret.strip().translate(_LETTERS)}
    return {_decoded(_bytes(form))[0] for form in plain}, cores


def _in_base64(secret: str) -> Iterator[bytes]:
    """The base64 characters without bits of a neighbour; bytes before the secret shift its bits."""
    for before in range(3) if len(secret) >= _LONG else ():
        data = bytes(before) + _bytes(secret)
        start, end = -(-before * 8 // 6), len(data) * 8 // 6
        yield b64encode(data)[start:end]


def _decoded(data: bytes) -> tuple[bytes, list[Span]]:
    """The data decoded as far as possible, and the span that each byte comes from."""
    origins = list(pairwise(range(len(data) + 1)))
    for _ in range(_LEVELS):
        out, kept, last = bytearray(), [], 0
        for escape in _ESCAPE.finditer(data):
            start, end = escape.span()
            value = _value(escape)
            out += data[last:start] + value
            kept += origins[last:start]
            kept += [(origins[start][0], origins[end - 1][1])] * len(value)
            last = end
        out += data[last:]
        kept += origins[last:]
        if out == data:
            break
        data, origins = bytes(out), kept
    return data, origins


def _value(escape: re.Match[bytes]) -> bytes:
    kind = escape.lastgroup or ""
    text = escape[kind]
    if kind == "percent":
        return bytes.fromhex(text[1:].decode())
    if kind in ("blank", "backslash"):
        return b" " if kind == "blank" else b""
    if kind == "quote":
        return b"'"
    if kind == "units":
        digits = re.sub(rb"\\+u", b"", text).decode()
        return _bytes(bytes.fromhex(digits).decode("utf-16-be", "surrogatepass"))
    if kind == "bytes":
        raw = bytes.fromhex(re.sub(rb"\\+x", b"", text).decode())
        return raw if _is_utf8(raw) else raw.decode("latin-1").encode()
    if kind == "name":
        return html5.get(f"{text.decode()};", escape[0].decode()).encode()
    number = int(text, 10 if kind == "decimal" else 16)
    return _bytes(chr(number)) if number <= 0x10FFFF else escape[0]


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bytes(text: str) -> bytes:
    """A text in UTF-8; half of a surrogate pair, which cannot be encoded, as a byte or `?`."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
