"""Repairs of raw text that is horribly wrong: named, counted, and gone when no longer needed.

A fix works on lines of bytes, before the strict scan and without knowing types or columns. Each
has its line in CHANGELOG.md under "Fixed in the data": `- <source>: <name of the fix>: …`.
"""

import re
from pathlib import Path

from pipeline import durable
from pipeline.errors import SourceError
from pipeline.legible import place
from pipeline.scan import MAX_RECORD_BYTES


def lines(
    raw: Path,
    repaired: Path,
    *,
    name: str,
    expected: int,
    pattern: bytes,
    replacement: bytes | None,
) -> int:
    """Repair the lines of a raw file in which a pattern is found; return how many.

    All other bytes stay as they are, line ends included, so that a later error names the same
    line of the repaired file as of the raw one (unless lines were left out).

    Parameters
    ----------
    raw:         the raw file, which is only read.
    repaired:    the file to write, for `delimited.write_csv` to read in place of the raw one.
    name:        what the fix is called here and in CHANGELOG.md.
    expected:    how many lines it touches, counted when it was written.
    pattern:     a regular expression, searched in each line without its line end.
    replacement: what takes the place of every match; None leaves the whole line out.

    Raises SourceError when another number of lines was touched: the publisher has repaired it,
    or something else is wrong now.
    """
    find = re.compile(pattern)
    touched = 0
    with raw.open("rb") as source, durable.create(repaired) as target:
        while line := source.readline(MAX_RECORD_BYTES):
            text = line.rstrip(b"\r\n")
            if not find.search(text):
                target.write(line)
                continue
            touched += 1
            if replacement is not None:
                target.write(find.sub(replacement, text) + line[len(text) :])
    if touched != expected:
        raise SourceError(
            f"{place(raw)}: the fix {name!r} touches {touched} lines; {expected} were expected",
            "look at the raw file: if the publisher has repaired it, take the fix out of the "
            "preprocess script and of CHANGELOG.md; else change what it expects",
        )
    return touched
