"""Repairs of raw text that is horribly wrong: named, counted, and gone when no longer needed.

A fix works on lines of bytes, before the strict scan and without knowing types or columns. Each
has its line in CHANGELOG.md under "Fixed in the data": `- <source>: <name of the fix>: …`.
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
from pipeline.formats import line_ends
from pipeline.text import place

MAX_LINE_BYTES = 1 << 30  # a JSON document may be one line
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
    """Repair the lines of a raw file in which a pattern is found; return how many.

    All other bytes stay as they are, line ends included, so that a later error names the same
    line of the repaired file as of the raw one (unless lines were left out). A file of
    gzip is unpacked on the way; the repaired one is packed if its name says so too.

    Parameters
    ----------
    raw:         the raw file, which is only read.
    repaired:    the file to write, for `delimited.write_csv` to read in place of the raw one.
    name:        what the fix is called here and in CHANGELOG.md.
    pattern:     a regular expression, searched in each line without its line end.
    replacement: what takes the place of every match; None leaves the whole line out.
    expected:    how many lines it touches: a number, or the least and the most where the
                 publisher's habit gives another number every time.
    share:       the least and the most of all lines that it touches, as (0.001, 0.02), in place
                 of `expected`.
    line_ends:   the pattern sees the line with its end, and may replace that too.
    matches:     what is counted is matches, not lines: a JSON document is often one line.

    Raises SourceError when another number was touched: the publisher has repaired it, or
    something else is wrong now; and for a line of over 1 GiB. ValueError unless one of `expected`
    and `share` is given, or for one that no file could meet.
    """
    if (expected is None) == (share is None):
        raise ValueError(f"the fix {name!r} needs either expected= or share=")
    if not _is_range(expected, 0, None) or not _is_range(share, 0, None if matches else 1):
        raise ValueError(
            f"the fix {name!r}: expected= is a number or (least, most), share= is (least, most) "
            "between 0 and 1"
        )
    find = re.compile(pattern)
    touched = total = 0
    with _opened(repaired) as target:
        for line in _lines(raw):
            total += 1
            text = line if line_ends else line.rstrip(b"\r\n")
            if not find.search(text):
                target.write(line)
                continue
            fixed, found = find.subn(replacement or b"", text)
            touched += found if matches else 1
            if replacement is not None:
                target.write(fixed + line[len(text) :])
    what = "matches" if matches else "lines"
    if not _is_expected(touched, total, expected, share):
        raise SourceError(
            f"{place(raw)}: the fix {name!r} touches {touched} {what}"
            f"{f' of {total:,}' if share else ''}; {_told(expected, share)} were expected",
            "look at the raw file: if the publisher has repaired it, take the fix out of the "
            "preprocess script and of CHANGELOG.md; else change what it expects, which may be a "
            "range (expected=(2, 40)) or a share of the lines (share=(0.001, 0.02))",
        )
    return touched


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO | gzip.GzipFile]:
    """A new file to write, packed if its name says so."""
    with durable.create(path) as file:
        if path.suffix != ".gz":
            yield file
            return
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
            yield packed


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends, unpacked; only the last may have none.

    They end in LF, CR LF, or, where the beginning of the file shows it, in CR alone.
    """
    begun: list[bytes] = []
    size = 0
    blocks = compressed.blocks(path, 1 << 20)
    first = b""
    while len(first) < line_ends.BEGIN and (block := next(blocks, b"")):
        first += block  # of gzip, it may be as short as the publisher likes
    end = b"\r" if line_ends.is_cr_alone(first) else b"\n"
    for block in chain([first], blocks):
        for line in _split(block, end):
            begun.append(line)
            size += len(line)
            if line.endswith(end):
                yield b"".join(begun)
                begun, size = [], 0
        if size > MAX_LINE_BYTES:
            raise SourceError(f"{place(path)}: a line of over {MAX_LINE_BYTES >> 30} GiB")
    if size:
        yield b"".join(begun)


def _split(block: bytes, end: bytes) -> list[bytes]:
    """A block cut after each line end, and nowhere else."""
    *whole, last = block.split(end)
    return [line + end for line in whole] + [last] * bool(last)


def _is_range(given: object, least: float, most: float | None) -> bool:
    """Whether what is given, if anything, is two numbers in order within bounds, or one count."""
    ends = given if isinstance(given, tuple | list) else [given]
    if given is None:
        return True
    if len(ends) != (1 if isinstance(given, int) and most is None else 2):
        return False
    if not all(isinstance(end, int | float) for end in ends):
        return False
    bounds = [least, *ends, *([] if most is None else [most])]
    return bounds == sorted(bounds)


def _is_expected(touched: int, total: int, expected: Count | None, share) -> bool:
    if expected is None:
        return share[0] * total <= touched <= share[1] * total
    least, most = (expected, expected) if isinstance(expected, int) else expected
    return least <= touched <= most


def _told(expected: Count | None, share) -> str:
    if expected is None:
        return f"{share[0] * 100:g} to {share[1] * 100:g} % of them"
    return str(expected) if isinstance(expected, int) else f"{expected[0]} to {expected[1]}"
