"""Tables and notes for a person: whole words, nothing cut, no wider than a terminal."""

from collections.abc import Sequence
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.text import wrapped

UNLIMITED = 1000  # columns, where there is no terminal
Row = dict[str, str | Text]  # cells by the name of their column


def console(file: IO[str] | None = None) -> Console:
    """A console as wide as its terminal; elsewhere lines of text are not wrapped."""
    made = Console(file=file)
    if not made.is_terminal:
        made.soft_wrap, made.width = True, UNLIMITED
    return made


def show(
    console: Console,
    rows: Sequence[Row],
    numbers: Sequence[str] = (),
    optional: Sequence[str] = (),
    wrapping: Sequence[str] = (),
) -> None:
    """Print a table.

    numbers:  columns that are aligned to the right.
    optional: columns that are left out, the first one first, until the table fits a terminal.
    wrapping: columns whose text may take several lines; all others stay whole, even on a terminal
              that is too narrow for them.
    """
    names, gap = list(rows[0]), 2
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    left_out = list(optional)
    while _total(names, widths, wrapping, gap) > console.width and (gap > 1 or left_out):
        if gap > 1:
            gap = 1
        else:
            names.remove(left_out.pop(0))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for name in names:
        if name in wrapping:
            table.add_column(name, overflow="fold")
        else:
            justify = "right" if name in numbers else "left"
            table.add_column(name, justify=justify, no_wrap=True, min_width=widths[name])
    for row in rows:
        cells = (row[name] for name in names)
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    console.print(table, crop=False, soft_wrap=False)


def show_notes(console: Console, title: str, notes: Sequence[str]) -> None:
    """Print a list of notes under a title."""
    console.print(Text(title, style="bold"))
    for note in notes:
        show_text(console, f"- {note}", "  ")


def show_text(console: Console, text: str, indent: str = "", style: str = "") -> None:
    """Print one line of text; a terminal gets several, with whole words and an indent."""
    for line in wrapped(text, console.is_terminal, indent):
        console.print(Text(line, style=style), soft_wrap=True)


def _total(names: list[str], widths: dict[str, int], wrapping: Sequence[str], gap: int) -> int:
    """How wide a table is at least: a column that wraps may be as narrow as 20."""
    own = (min(widths[name], 20) if name in wrapping else widths[name] for name in names)
    return sum(own) + gap * (len(names) - 1)
