"""Raw text as UTF-8: decoded strictly from the declared encoding, in blocks of whole lines."""

import codecs
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from pipeline import compressed
from pipeline.errors import SourceError
from pipeline.formats import charset
from pipeline.formats.csv_scan import MAX_RECORD_BYTES
from pipeline.formats.remedies import DECLARE_ENCODING, REPAIR
from pipeline.text import label

BLOCK = 2 << 20  # bytes read at a time; larger blocks do not fit the processor cache


def utf8_lines(path: Path, encoding: str, *, is_cr: bool = False) -> Iterator[bytes]:
    """The file in UTF-8, in blocks that end with a line end; only the last block may have none.

    Parameters
    ----------
    path:     a raw file; gzip is decompressed.
    encoding: a Python codec. "utf-8-sig" removes a byte order mark; all others refuse it. UTF-8
              is not checked here: the scan does that.
    is_cr:    the lines end in CR alone; all CR and LF are exchanged (`charset.SWAPPED`).

    Raises SourceError with the line if the bytes are not in the declared encoding, and for a line
    larger than a record may be.
    """
    partial: list[bytes] = []  # the parts of an incomplete line
    size = 0
    for block in _utf8(path, encoding, b"\r" if is_cr else b"\n"):
        chunk = block.translate(charset.SWAPPED) if is_cr else block
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield b"".join([*partial, chunk[:cut]])
            partial, size = [], 0
        partial.append(chunk[cut:])
        size += len(chunk) - cut
        if size > MAX_RECORD_BYTES:
            raise SourceError(f"{label(path)}: a line of over {MAX_RECORD_BYTES >> 20} MiB", REPAIR)
    if size:
        yield b"".join(partial)


def fitting(path: Path, encodings: Sequence[str]) -> str:
    """The first of the encodings in which the whole file can be read as plausible text.

    Raises SourceError with the reason against each encoding when there is none.
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
    reasons = [error.what.removeprefix(label(path)).lstrip(",: ") for error in refused]
    tried = "; ".join(f"{name}: {why}" for name, why in zip(encodings, reasons, strict=True))
    what = f"{label(path)}: not in any of {', '.join(encodings)} ({tried})"
    raise SourceError(what, refused[-1].remedy)


def _utf8(path: Path, encoding: str, newline: bytes) -> Iterator[bytes]:
    """The file in UTF-8, without a declared byte order mark; UTF-8 itself is not checked."""
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        yield from _decoded(path, encoding, newline)
        return
    chunks = _raw(path, encoding)
    yield from chain([next(chunks, b"").removeprefix(codecs.BOM_UTF8)], chunks)


def _raw(path: Path, encoding: str) -> Iterator[bytes]:
    """The file as it is; the first block contains the complete byte order mark, if any.

    Raises SourceError for the mark of another encoding.
    """
    chunks = compressed.blocks(path, BLOCK)
    start = b""
    while len(start) < charset.LONGEST_MARK and (chunk := next(chunks, b"")):
        start += chunk
    marked = charset.marked(start)
    if marked and marked != codecs.lookup(encoding).name:
        what = f"a byte order mark of {marked.upper()}, although {encoding} is declared"
        if marked == "utf-8-sig":
            what = "a byte order mark that is not declared"
        what = f"{label(path)}, line 1: {what}"
        raise SourceError(what, f'declare encoding="{marked}" in the preprocess script')
    yield from chain([start], chunks)


def _decoded(path: Path, encoding: str, newline: bytes) -> Iterator[bytes]:
    """The file in UTF-8. Raises SourceError where it is not text in the declared encoding."""
    if not charset.is_unicode(encoding):
        _refuse_utf8(path, encoding)
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    lines, line_end = 0, newline.decode()
    try:
        for chunk in chain(_raw(path, encoding), [b""]):
            text = decoder.decode(chunk, final=not chunk)
            if found := charset.C1.search(text):
                line = lines + text.count(line_end, 0, found.start()) + 1
                readings = charset.suggestion_for_control(text, found.start())
                what = f"{label(path)}, line {line}: {charset.control(found[0])}"
                raise SourceError(what, f"{DECLARE_ENCODING}{': ' * bool(readings)}{readings}")
            lines += text.count(line_end)
            yield text.encode()
    except UnicodeDecodeError as error:
        line = lines + error.object.count(newline, 0, error.start) + 1
        byte = error.object[error.start]
        what = f"the byte 0x{byte:02x} does not exist in {encoding} ({error.reason})"
        raise SourceError(f"{label(path)}, line {line}: {what}", DECLARE_ENCODING) from None
    except UnicodeError as error:  # such as UTF-16 without its byte order mark
        what = f"{label(path)}, line {lines + 1}: not in {encoding} ({error})"
        raise SourceError(what, DECLARE_ENCODING) from None


def _refuse_utf8(path: Path, encoding: str) -> None:
    """Refuse a file in UTF-8 (a few bytes may be wrong) for which another encoding is declared.

    A codec with one byte per character accepts any bytes: it would garble the file's letters.
    """
    share = charset.Utf8Share()
    for chunk in chain(compressed.blocks(path, BLOCK), [b""]):
        share.add(chunk)
    if not share.is_most(several_bytes=charset.is_of_several_bytes(encoding)):
        return
    if not share.bad:
        raise SourceError(
            f"{label(path)}: UTF-8, although {encoding} is declared", DECLARE_ENCODING
        )
    raise SourceError(
        f"{label(path)}, line {share.line}: the byte 0x{share.byte:02x} is not UTF-8, but "
        f"{share.good:,} characters of this file are, and {encoding} would garble them",
        REPAIR,
    )
