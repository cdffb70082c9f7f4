"""gzip and zip, read as a stream in bounded memory: nothing in them is trusted.

A file that expands without end is stopped, the trailer of a gzip stream is checked (RFC 1952), and
only the requested member of a zip is read.
"""

import contextlib
import errno
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from pipeline import durable
from pipeline.errors import SourceError, Transient
from pipeline.text import escaped, label

MAX_BYTES = 2 * 1024**3
MAX_EXPANSION = 200  # decoded bytes per byte received, beyond EXPANSION_FLOOR
EXPANSION_FLOOR = 10 * 1024**2
BLOCK = 256 * 1024  # bytes read and decoded at a time
GZIP = b"\x1f\x8b"  # how a stream begins
_ENCRYPTED = 1  # bit 0 of a member's flags (APPNOTE.TXT, 4.4.4)
# Raised by `zipfile` for damage, such as an unknown version or method (RuntimeError), a name in no
# encoding (ValueError), a stream that is cut (EOFError).
_DAMAGE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OverflowError)


def gunzip(blocks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Decompress gzip with any number of members, however the blocks are cut.

    `where` is the address or file, for errors. Raises Transient when the stream is damaged or cut
    (its trailer is checked), SourceError when other bytes follow its end, or when the result has
    more than MAX_BYTES or MAX_EXPANSION times the size of the stream.
    """
    decoder, received, decoded = None, 0, 0
    for block in blocks:
        is_first, received = not received, received + len(block)
        while block:
            if decoder is None:
                if not is_first and not block.startswith(GZIP[: len(block)]):
                    raise SourceError(f"{where}: bytes follow the end of the gzip stream")
                decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                out = decoder.decompress(block, BLOCK)
            except zlib.error as error:
                raise Transient(f"{where}: the gzip stream is damaged ({error})") from None
            decoded += len(out)
            _check_size(where, decoded, received)
            if out:
                yield out
            block = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            decoder, is_first = None if decoder.eof else decoder, False
    if decoder or not received:
        raise Transient(f"{where}: the gzip stream has no end")


def blocks(path: Path, size: int = BLOCK) -> Iterator[bytes]:
    """A file in blocks; gzip, recognised by the name `….gz` or the first bytes, is decompressed.

    Raises the errors of `gunzip`.
    """
    with path.open("rb", buffering=0) as file:
        is_packed = path.suffix == ".gz" or file.read(len(GZIP)) == GZIP
        file.seek(0)
        read = iter(lambda: file.read(size), b"")
        yield from gunzip(read, label(path)) if is_packed else read


def members(path: Path) -> list[str]:
    """The names of the files in a zip; its whole directory is checked.

    Raises Transient when it has no directory (it is cut). Raises SourceError when a member has an
    absolute path, `..` or a backslash in it, is a link or a device, is encrypted, too large, or
    neither stored nor deflated, and when two members have the same name.
    """
    with _opened(path) as opened:
        return [info.filename for info in _checked(path, opened) if not info.is_dir()]


def contents(path: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The files of a zip in turn: name, and bytes in blocks, which must be read before the next.

    Raises the errors of `members` and `unzip`.
    """
    with _opened(path) as opened:
        for info in _checked(path, opened):
            if not info.is_dir():
                yield info.filename, _unpacked(path, opened, info)


def unzip(path: Path, member: str, output: Path) -> Path:
    """Write one member of a zip to a file, bounded in size; returns the file.

    Raises the errors of `members`, and SourceError when there is no such member, or when its bytes
    do not match its length and checksum.
    """
    with _opened(path) as opened, durable.create(output) as file:
        infos = {info.filename: info for info in _checked(path, opened) if not info.is_dir()}
        if member not in infos:
            names = escaped(", ".join(infos)) or "no file"
            raise SourceError(f"{path.name}: it has no {member}; it has {names}")
        for block in _unpacked(path, opened, infos[member]):
            file.write(block)
    return output


def _unpacked(path: Path, opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    written = 0
    damaged = f"{path.name}: {escaped(info.filename)} is damaged"
    with _as(SourceError, damaged), opened.open(info) as packed:
        while block := packed.read(BLOCK):
            written += len(block)
            _check_size(f"{path.name}: {info.filename}", written, path.stat().st_size)
            yield block


def _opened(path: Path) -> zipfile.ZipFile:
    with _as(Transient, f"{path.name}: not a complete zip"):
        return zipfile.ZipFile(path)


@contextlib.contextmanager
def _as(kind: type[SourceError], what: str) -> Generator[None]:
    """Raise an error of a kind for any error of `zipfile` in a damaged file.

    The OSError of a disk that is full or cannot be read is not caught.
    """
    try:
        yield
    except _DAMAGE_ERRORS as error:
        raise kind(f"{what}: {escaped(str(error))}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a seek outside of the file
            raise
        raise kind(f"{what}: it names an offset outside of the file") from None


def _checked(path: Path, opened: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    infos = opened.infolist()
    for info in infos:
        if flaw := _flaw(info):
            raise SourceError(f"{path.name}: the member {escaped(info.orig_filename)!r} {flaw}")
    (name, times), *_ = Counter(info.filename for info in infos).most_common(1) or [("", 0)]
    if times > 1:
        raise SourceError(f"{path.name}: two members are called {escaped(name)!r}")
    return infos


def _flaw(info: zipfile.ZipInfo) -> str:
    """Why a member must not be read; empty if it may be read."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "has a path that leads out of the archive"
    if "\\" in name or not name.isprintable():
        return "has a backslash or a control character in its name"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is neither stored nor deflated"
    return f"is larger than {MAX_BYTES >> 20} MiB" if info.file_size > MAX_BYTES else ""


def _check_size(where: str, decoded: int, received: int) -> None:
    if decoded > MAX_BYTES:
        raise SourceError(f"{where}: more than {MAX_BYTES >> 20} MiB; stopped")
    if decoded > max(EXPANSION_FLOOR, MAX_EXPANSION * received):
        raise SourceError(f"{where}: expands without end; stopped")
