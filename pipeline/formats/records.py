"""Where the records and fields of delimited text end: line ends inside quotes do not count."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.formats import bitmask
from pipeline.formats.bitmask import Mask


class Borders(NamedTuple):
    """The structure of a block of delimited text."""

    newlines: Mask  # all line feeds
    line_ends: Mask  # the line feeds outside of quotes, which end records
    delimiters: Mask  # those outside of quotes
    inside: Mask  # the bytes inside quotes
    ends_inside: bool  # whether the block ends inside quotes
    stray_quote: int | None = None  # offset of a quote inside an unquoted field
    trailed_quote: int | None = None  # offset of a closing quote followed by text


def find(
    data: bytes, delimiter: bytes = b",", quote: bytes | None = b'"', *, begins_inside: bool = False
) -> Borders:
    """Find the structure of a block. Quotes have no meaning when `quote` is None."""
    newlines, delimiters = bitmask.equal(data, b"\n"), bitmask.equal(data, delimiter)
    if not quote or not (begins_inside or quote in data):
        return Borders(newlines, newlines, delimiters, np.zeros_like(newlines), False)
    quotes = bitmask.equal(data, quote)
    inside = bitmask.inside(quotes, begins_inside)
    # A quote opens a field, closes it, or is doubled: then a quote precedes or follows it.
    borders = newlines | delimiters | quotes
    may_follow = borders | bitmask.equal(data, b"\r") if b"\r" in data else borders
    return Borders(
        newlines,
        newlines & ~inside,
        delimiters & ~inside,
        inside,
        bitmask.at(inside, len(data) - 1),
        bitmask.first(quotes & inside & ~bitmask.after(borders)),
        bitmask.first(quotes & ~inside & ~bitmask.before(may_follow)),
    )


def ends(data: bytes, quote: bytes | None) -> list[int]:
    """The offsets at which the complete records of a text end, line end included."""
    return (bitmask.positions(find(data, quote=quote).line_ends) + 1).tolist()


def split(data: bytes, quote: bytes | None = b'"') -> Iterator[bytes]:
    """The records of a text, with their line ends; the last one may have none."""
    start = 0
    for end in [*ends(data, quote), len(data)]:
        if end > start:
            yield data[start:end]
        start = end
