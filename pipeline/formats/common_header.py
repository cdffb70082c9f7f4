"""One header for files whose headers differ: all their columns, and the rows of each in that order.

A column that a file does not have is null in its rows; what is empty there stays as it is.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from pipeline.errors import SourceError
from pipeline.formats.legible import MAX_COLUMNS

_VALUE = re.compile(rb'("[^"]*(?:""[^"]*)*"|[^",\r\n]*)(?:,|\r?\n)')  # of RFC 4180, and its end


def of(headers: Iterable[Sequence[str]], where: str) -> list[str]:
    """All the columns of some headers: in the order of the first, each other one behind the
    column that it follows in its own.

    Raises SourceError, naming `where`, when a table cannot hold them.
    """
    columns: list[str] = []
    for names in headers:
        at = 0
        for name in names:
            if name not in columns:
                columns.insert(at, name)
            at = columns.index(name) + 1
    if len(columns) > MAX_COLUMNS:
        what = f"{where} and the other files have {len(columns)} columns"
        raise SourceError(f"{what}; a table holds {MAX_COLUMNS}")
    return columns


def arranger(
    own: Sequence[str], columns: Sequence[str], line_end: bytes
) -> Callable[[bytes], bytes]:
    """The function that puts whole records of RFC 4180 CSV under a common header.

    own:      the columns of the records, in their order.
    columns:  those of the common header.
    line_end: what ends each record; a last one without a line end stays without.
    """
    places = [own.index(name) if name in own else len(own) for name in columns]

    def arrange(records: bytes) -> bytes:
        if not records:
            return b""
        is_ended = records.endswith(b"\n")
        values = _VALUE.findall(records if is_ended else records + b"\n")
        rows = ([*values[at : at + len(own)], b""] for at in range(0, len(values), len(own)))
        arranged = line_end.join(b",".join([row[place] for place in places]) for row in rows)
        return arranged + line_end if is_ended else arranged

    return arrange
