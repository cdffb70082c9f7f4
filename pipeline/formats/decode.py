"""Raw text as UTF-8: decoded strictly from what the source's script declares, cut at line ends."""

import codecs
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from pipeline import compressed
from pipeline.errors import SourceError
from pipeline.formats import charset
from pipeline.formats.csv_scan import DECLARE, MAX_RECORD_BYTES, REPAIR
from pipeline.text import place

BLOCK = 2 << 20  # bytes read at a time; larger ones leave the processor cache, and are slower


def utf8_lines(path: Path, encoding: str, *, is_cr: bool = False) -> Iterator[bytes]:
    """The file in UTF-8, in blocks that end with a line end; only the last may be without one.

    Parameters
    ----------
    path:     a raw file; one of gzip is unpacked on the way.
    encoding: a Python codec. A byte order mark is taken off by "utf-8-sig" and refused otherwise.
              What is declared as UTF-8 passes unchecked: the scan holds it to that.
    is_cr:    the lines end in CR alone; CR and LF come exchanged (`charset.SWAPPED`), everywhere.

    Raises SourceError with the line where the bytes are not in the encoding declared, and for a
    line over the limit of a record.
    """
    begun: list[bytes] = []  # the line at hand
    size = 0
    for block in _utf8(path, encoding, b"\r" if is_cr else b"\n"):
        chunk = block.translate(charset.SWAPPED) if is_cr else block
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield b"".join([*begun, chunk[:cut]])
            begun, size = [], 0
        begun.append(chunk[cut:])
        size += len(chunk) - cut
        if size > MAX_RECORD_BYTES:
            raise SourceError(f"{place(path)}: a line of over {MAX_RECORD_BYTES >> 20} MiB", REPAIR)
    if size:
        yield b"".join(begun)


def fitting(path: Path, encodings: Sequence[str]) -> str:
    """The first of the encodings in which the whole file can be read, as text that can be one.

    Raises SourceError with the reason against each when there is none.
    """
    refused = []
    for encoding in encodings:
        try:
            for _ in _decoded(path, encoding, b"\n"):
                pass
        except SourceError as error:
            refused.append(error)
            continue
        return encoding
    reasons = [error.what.removeprefix(place(path)).lstrip(",: ") for error in refused]
    tried = "; ".join(f"{name}: {why}" for name, why in zip(encodings, reasons, strict=True))
    what = f"{place(path)}: not in any of {', '.join(encodings)} ({tried})"
    raise SourceError(what, refused[-1].remedy)


def _utf8(path: Path, encoding: str, newline: bytes) -> Iterator[bytes]:
    """The file in UTF-8, without a declared byte order mark; UTF-8 itself is left to the scan."""
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        yield from _decoded(path, encoding, newline)
        return
    chunks = _raw(path, encoding)
    yield from chain([next(chunks, b"").removeprefix(codecs.BOM_UTF8)], chunks)


def _raw(path: Path, encoding: str) -> Iterator[bytes]:
    """The file as it is; the first block has the whole of a byte order mark.

    Raises SourceError for a mark that is not the one of the encoding.
    """
    chunks = compressed.blocks(path, BLOCK)
    start = b""
    while len(start) < charset.LONGEST_MARK and (chunk := next(chunks, b"")):
        start += chunk
    marked = charset.marked(start)
    if marked and marked != codecs.lookup(encoding).name:
        what = f"a byte order mark of {marked.upper()}, where {encoding} is declared"
        if marked == "utf-8-sig":
            what = "a byte order mark that is not declared"
        what = f"{place(path)}, line 1: {what}"
        raise SourceError(what, f'declare encoding="{marked}" in the preprocess script')
    yield from chain([start], chunks)


def _decoded(path: Path, encoding: str, newline: bytes) -> Iterator[bytes]:
    """The file in UTF-8. Raises SourceError where it is not text in the encoding declared."""
    if not charset.is_unicode(encoding):
        _refuse_utf8(path, encoding)
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    lines, ended = 0, newline.decode()
    try:
        for chunk in chain(_raw(path, encoding), [b""]):
            text = decoder.decode(chunk, final=not chunk)
            if met := charset.C1.search(text):
                line = lines + text.count(ended, 0, met.start()) + 1
                readings = charset.control_reads_as(text, met.start())
                what = f"{place(path)}, line {line}: {charset.control(met[0])}"
                raise SourceError(what, f"{DECLARE}{': ' * bool(readings)}{readings}")
            lines += text.count(ended)
            yield text.encode()
    except UnicodeDecodeError as error:
        line = lines + error.object.count(newline, 0, error.start) + 1
        byte = error.object[error.start]
        what = f"the byte 0x{byte:02x} does not exist in {encoding} ({error.reason})"
        raise SourceError(f"{place(path)}, line {line}: {what}", DECLARE) from None
    except UnicodeError as error:  # such as UTF-16 without its byte order mark
        what = f"{place(path)}, line {lines + 1}: not in {encoding} ({error})"
        raise SourceError(what, DECLARE) from None


def _refuse_utf8(path: Path, encoding: str) -> None:
    """Refuse a file that is UTF-8, or would be but for a few bytes, where another is declared.

    A codec of one byte a character reads any bytes: it would garble every letter of such a file.
    """
    share = charset.Utf8Share()
    for chunk in chain(compressed.blocks(path, BLOCK), [b""]):
        share.add(chunk)
    if not share.is_most(several_bytes=charset.is_of_several_bytes(encoding)):
        return
    if not share.bad:
        raise SourceError(f"{place(path)}: UTF-8, where {encoding} is declared", DECLARE)
    raise SourceError(
        f"{place(path)}, line {share.line}: the byte 0x{share.byte:02x} is not UTF-8, but "
        f"{share.good:,} characters of this file are, and {encoding} would garble them",
        REPAIR,
    )
