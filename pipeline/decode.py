"""Raw text as UTF-8: decoded strictly from what the source's script declares, cut at line ends."""

import codecs
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from pipeline import archive
from pipeline.errors import SourceError
from pipeline.legible import place
from pipeline.scan import DECLARE, MAX_RECORD_BYTES, REPAIR

BLOCK = 2 << 20  # bytes read at a time; larger ones leave the processor cache, and are slower


def utf8_lines(path: Path, encoding: str) -> Iterator[bytes]:
    """The file in UTF-8, in blocks that end with a line end; only the last may be without one.

    Parameters
    ----------
    path:     a raw file; one called `….gz` is unpacked on the way.
    encoding: a Python codec. A byte order mark is taken off by "utf-8-sig" and refused otherwise.
              What is declared as UTF-8 passes unchecked: the scan holds it to that.

    Raises SourceError with the line where the bytes are not in the encoding declared, and for a
    line over the limit of a record.
    """
    begun = b""
    for chunk in _utf8(path, encoding):
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield begun + chunk[:cut]
            begun = chunk[cut:]
        else:
            begun += chunk
        if len(begun) > MAX_RECORD_BYTES:
            raise SourceError(f"{place(path)}: a line of over {MAX_RECORD_BYTES >> 20} MiB", REPAIR)
    if begun:
        yield begun


def fitting(path: Path, encodings: Sequence[str]) -> str:
    """The first of the encodings in which the whole file can be read. Raises SourceError."""
    for encoding in encodings:
        try:
            for _ in _decoded(path, encoding):
                pass
        except SourceError:
            continue
        return encoding
    raise SourceError(f"{place(path)}: not in any of {', '.join(encodings)}", DECLARE)


def _utf8(path: Path, encoding: str) -> Iterator[bytes]:
    """The file in UTF-8, without a declared byte order mark; UTF-8 itself is left to the scan."""
    codec = codecs.lookup(encoding).name
    if codec not in ("utf-8", "utf-8-sig"):
        if _is_utf8(path):  # which the declared encoding may well read, as other characters
            raise SourceError(f"{place(path)}: UTF-8, where {encoding} is declared", DECLARE)
        yield from _decoded(path, encoding)
        return
    chunks = archive.blocks(path, BLOCK)
    start = next(chunks, b"")
    if start.startswith(codecs.BOM_UTF8):
        if codec == "utf-8":
            what = f"{place(path)}, line 1: a byte order mark that is not declared"
            raise SourceError(what, 'declare encoding="utf-8-sig" in the preprocess script')
        start = start[len(codecs.BOM_UTF8) :]
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        what = f"{place(path)}, line 1: a byte order mark of UTF-16, where {encoding} is declared"
        raise SourceError(what, DECLARE)
    yield from chain([start], chunks)


def _is_utf8(path: Path) -> bool:
    """Whether a whole file is UTF-8 beyond ASCII: text in another encoding hardly ever is."""
    decoder, is_ascii = codecs.getincrementaldecoder("utf-8")(), True
    try:
        for chunk in chain(archive.blocks(path, BLOCK), [b""]):
            decoder.decode(chunk, final=not chunk)
            is_ascii = is_ascii and chunk.isascii()
    except UnicodeDecodeError:
        return False
    return not is_ascii


def _decoded(path: Path, encoding: str) -> Iterator[bytes]:
    """The file in UTF-8. Raises SourceError where it is not in the encoding declared."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    lines = 0
    try:
        for chunk in chain(archive.blocks(path, BLOCK), [b""]):
            text = decoder.decode(chunk, final=not chunk)
            lines += text.count("\n")
            yield text.encode()
    except UnicodeDecodeError as error:
        line = lines + error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        what = f"the byte 0x{byte:02x} does not exist in {encoding} ({error.reason})"
        raise SourceError(f"{place(path)}, line {line}: {what}", DECLARE) from None
