"""A file without a header, told by its first line: what stands there are values, and no names."""

import csv
import re
from itertools import islice
from pathlib import Path

DECLARE = "declare header=[…], the names of its columns, in the source's preprocess script"
MOST_ROWS = 50_000  # of the last good file that are looked at
LIKELY = 0.5  # the share of columns in whose values a name must be found
_VALUE = re.compile(
    r"\s*|[-+]?[0-9][0-9,]*\.?[0-9]*(?:[eE][-+]?[0-9]+)?%?|[-+]?\.[0-9]+"  # nothing, or a number
    r"|[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}(?:[T ][0-9:.]+(?:Z|[-+][0-9:]+)?)?"  # a date
)


def is_like_a_row(names: list[str]) -> bool:
    """Whether some of the names of columns are nothing, numbers or dates, as no name is.

    One alone does not tell: a column may be called 2024.
    """
    return sum(bool(_VALUE.fullmatch(name)) for name in names) > len(names) / 4


def is_a_row_of(names: list[str], last: Path, likely: float = LIKELY) -> bool:
    """Whether the names of columns are values of the same columns in a legible file.

    More than the share `likely` of them has to be.
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
        except (csv.Error, UnicodeDecodeError):  # a damaged file tells nothing
            return False
    return sum(seen) > likely * len(names)
