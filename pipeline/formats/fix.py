"""Repairs of a publisher's errors in raw text: named, counted, and removed when no longer needed.

A fix works on lines of bytes, before the strict scan, without types or columns. Each has a line in
CHANGELOG.md under "Fixed in the data": `- <source>: <name of the fix>: …`.
"""

import gzip
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from pipeline import compressed, durable
from pipeline.errors import SourceError
from pipeline.formats import charset
from pipeline.text import label

MAX_LINE_BYTES = 1 << 30  # a JSON document may be one line
_START = 64 * 1024  # bytes that show how lines end
Count = int | tuple[int, int]


def lines(
    raw: Path,
    repaired: Path,
    *,
    name: str,
    pattern: bytes,
    replacement: bytes | None,
    expected: Count | None = None,
    share: tuple[float, float] | None = None,
    line_ends: bool = False,
    matches: bool = False,
) -> int:
    """Repair the lines of a raw file that contain a pattern; return their number.

    All other bytes stay as they are, line ends included, so a later error names the same line as in
    the raw file (unless lines were left out). gzip is decompressed; the repaired file is compressed
    if its name ends in `.gz`.

    Parameters
    ----------
    raw:         the raw file, which is only read.
    repaired:    the file to write, which `delimited.write_csv` reads instead of the raw one.
    name:        the name of the fix, also in CHANGELOG.md.
    pattern:     a regular expression, searched in each line without its line end.
    replacement: replaces every match; None leaves the whole line out.
    expected:    the number of lines it changes: one number, or (least, most) if the number
                 varies.
    share:       (least, most) as shares of all lines, such as (0.001, 0.02), instead of
                 `expected`.
    line_ends:   the pattern sees the line with its line end, and may replace that too.
    matches:     count matches instead of lines: a JSON document is often one line.

    Raises SourceError when the number differs: the publisher has repaired the error, or made
    another one; and for a line of over 1 GiB. Raises ValueError unless exactly one of `expected`
    and `share` is given, and if no file could satisfy it.
    """
    if (expected is None) == (share is None):
        raise ValueError(f"the fix {name!r} needs either expected= or share=")
    if not _is_range(expected, 0, None) or not _is_range(share, 0, None if matches else 1):
        raise ValueError(
            f"the fix {name!r}: expected= is a number or (least, most), share= is (least, most) "
            "between 0 and 1"
        )
    find = re.compile(pattern)
    changed = total = 0
    with _opened(repaired) as target:
        for line in _lines(raw):
            total += 1
            text = line if line_ends else line.rstrip(b"\r\n")
            if not find.search(text):
                target.write(line)
                continue
            fixed, found = find.subn(replacement or b"", text)
            changed += found if matches else 1
            if replacement is not None:
                target.write(fixed + line[len(text) :])
    what = "matches" if matches else "lines"
    if not _is_expected(changed, total, expected, share):
        raise SourceError(
            f"{label(raw)}: the fix {name!r} changes {changed} {what}"
            f"{f' of {total:,}' if share else ''}; {_described(expected, share)} were expected",
            "look at the raw file: if the publisher has repaired it, remove the fix from the "
            "preprocess script and from CHANGELOG.md; otherwise change what it expects, which may "
            "be a range (expected=(2, 40)) or a share of the lines (share=(0.001, 0.02))",
        )
    return changed


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO | gzip.GzipFile]:
    """A new file to write, compressed if its name ends in `.gz`."""
    with durable.create(path) as file:
        if path.suffix != ".gz":
            yield file
            return
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
            yield packed


def _lines(path: Path) -> Iterator[bytes]:
    """The decompressed lines of a file with their ends; only the last may have none.

    They end in LF, CR LF, or, if the beginning of the file shows it, in CR alone.
    """
    partial: list[bytes] = []
    size = 0
    blocks = compressed.blocks(path, 1 << 20)
    first = b""
    while len(first) < _START and (block := next(blocks, b"")):
        first += block  # a block of gzip may be short
    end = b"\r" if charset.has_cr_line_ends(first) else b"\n"
    for block in chain([first], blocks):
        for line in _split(block, end):
            partial.append(line)
            size += len(line)
            if line.endswith(end):
                yield b"".join(partial)
                partial, size = [], 0
        if size > MAX_LINE_BYTES:
            raise SourceError(f"{label(path)}: a line of over {MAX_LINE_BYTES >> 30} GiB")
    if size:
        yield b"".join(partial)


def _split(block: bytes, end: bytes) -> list[bytes]:
    """A block cut after each line end, and nowhere else."""
    *whole, last = block.split(end)
    return [line + end for line in whole] + [last] * bool(last)


def _is_range(given: object, least: float, most: float | None) -> bool:
    """Whether an argument, if given, is one count, or two numbers in order within bounds."""
    ends = given if isinstance(given, tuple | list) else [given]
    if given is None:
        return True
    if len(ends) != (1 if isinstance(given, int) and most is None else 2):
        return False
    if not all(isinstance(end, int | float) for end in ends):
        return False
    bounds = [least, *ends, *([] if most is None else [most])]
    return bounds == sorted(bounds)


def _is_expected(changed: int, total: int, expected: Count | None, share) -> bool:
    if expected is None:
        return share[0] * total <= changed <= share[1] * total
    least, most = (expected, expected) if isinstance(expected, int) else expected
    return least <= changed <= most


def _described(expected: Count | None, share) -> str:
    if expected is None:
        return f"{share[0] * 100:g} to {share[1] * 100:g} % of them"
    return str(expected) if isinstance(expected, int) else f"{expected[0]} to {expected[1]}"
