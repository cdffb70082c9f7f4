"""One header for files whose headers differ: it has all columns, and all rows follow its order.

A column that a file lacks is null in its rows; empty values stay as they are.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from pipeline.errors import SourceError
from pipeline.formats.legible import MAX_COLUMNS

_VALUE = re.compile(rb'("[^"]*(?:""[^"]*)*"|[^",\r\n]*)(?:,|\r?\n)')  # RFC 4180, with its end


def of(headers: Iterable[Sequence[str]], where: str) -> list[str]:
    """All columns of some headers, in the order of the first header.

    A column that is missing there is inserted after the one that it follows in its own header.
    Raises SourceError, naming `where`, when they are too many for a table.
    """
    columns: list[str] = []
    for names in headers:
        index = 0
        for name in names:
            if name not in columns:
                columns.insert(index, name)
            index = columns.index(name) + 1
    if len(columns) > MAX_COLUMNS:
        what = f"{where} and the other files have {len(columns)} columns"
        raise SourceError(f"{what}; a table holds {MAX_COLUMNS}")
    return columns


def arranger(
    own: Sequence[str], columns: Sequence[str], line_end: bytes
) -> Callable[[bytes], bytes]:
    """The function that rearranges complete records of RFC 4180 CSV for a common header.

    own:      the columns of the records, in their order.
    columns:  the columns of the common header.
    line_end: ends each record; a last record without a line end stays without one.
    """
    order = [own.index(name) if name in own else len(own) for name in columns]

    def arrange(records: bytes) -> bytes:
        if not records:
            return b""
        is_ended = records.endswith(b"\n")
        values = _VALUE.findall(records if is_ended else records + b"\n")
        rows = ([*values[at : at + len(own)], b""] for at in range(0, len(values), len(own)))
        arranged = line_end.join(b",".join([row[index] for index in order]) for row in rows)
        return arranged + line_end if is_ended else arranged

    return arrange
