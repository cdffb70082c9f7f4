"""Recognising a file without a header: its first line has values instead of names."""

import csv
import re
from itertools import islice
from pathlib import Path

MOST_ROWS = 50_000  # of the last good file that are compared
LIKELY = 0.5  # the share of names that must be values of their columns
_VALUE = re.compile(
    r"\s*|[-+]?[0-9][0-9,]*\.?[0-9]*(?:[eE][-+]?[0-9]+)?%?|[-+]?\.[0-9]+"  # nothing, or a number
    r"|[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}(?:[T ][0-9:.]+(?:Z|[-+][0-9:]+)?)?"  # a date
)


def is_like_a_row(names: list[str]) -> bool:
    """Whether more than a quarter of the column names are empty, numbers or dates.

    A single one proves nothing: a column may be called 2024.
    """
    return sum(bool(_VALUE.fullmatch(name)) for name in names) > len(names) / 4


def is_a_row_of(names: list[str], last: Path, likely: float = LIKELY) -> bool:
    """Whether column names are values of the same columns in the last good legible file.

    That must hold for more than the share `likely` of them.
    """
    if not last.exists():
        return False
    seen = [False] * len(names)
    with last.open(encoding="utf-8", newline="") as file:
        try:
            for row in islice(csv.reader(file), 1, MOST_ROWS):
                if len(row) != len(names):
                    return False
                for number, value in enumerate(row):
                    seen[number] = seen[number] or "_".join(value.split()) == names[number]
        except (csv.Error, UnicodeDecodeError):  # a damaged file proves nothing
            return False
    return sum(seen) > likely * len(names)
