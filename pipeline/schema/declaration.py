"""The contract of a source, `load/<source>.sql`: read, compared and, by `accept`, edited.

The file is SQL that people keep: `create table`, then a comment on the table and on each column.
That a column is no longer published stands in its comment, so that the database tells it too.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DeclarationError, SourceError
from pipeline.settings import ROOT

UNDESCRIBED = "Not described yet;"  # how the comment of a column begins that nobody declared
_WIDTH = 96  # of a line of a comment, its quotes not counted
_NAME = r'"(?:[^"]|"")+"|[A-Za-z_]\w*'
_LITERALS = r"'(?:[^']|'')*'(?:\s*'(?:[^']|'')*')*"
_TABLE = re.compile(r"create\s+table\s+if\s+not\s+exists\s+source\.\w+\s*\(", re.IGNORECASE)
_COLUMN = re.compile(
    rf"(?P<above>\s*(?:--[^\n]*\n\s*)*)(?P<name>{_NAME})\s+text\b(?:\s*,)?"
    r"(?P<beside>[ \t]*--[^\n]*)?",
    re.IGNORECASE,
)
_COLUMN_COMMENT = re.compile(
    rf"comment\s+on\s+column\s+source\.\w+\.(?P<name>{_NAME})\s+is\s+(?P<text>{_LITERALS});\n?",
    re.IGNORECASE,
)
_TABLE_COMMENT = re.compile(
    rf"comment\s+on\s+table\s+source\.\w+\s+is\s+(?P<text>{_LITERALS});", re.IGNORECASE
)
_COMMENTS = re.compile(
    rf"comment\s+on\s+(?:table|column)\s+(?:{_NAME}|\.)+\s+is\s+{_LITERALS};|--[^\n]*",
    re.IGNORECASE,
)
_UNPUBLISHED = re.compile(r"No longer published since [0-9-]{10}(?!.*Published again)")


@dataclass(frozen=True)
class Declaration:
    """What the file of a source says."""

    source: str
    text: str
    columns: dict[str, tuple[str, str]]  # name -> its line up to the comma, what stands after it
    comments: dict[str, str]  # name -> its statement `comment on column`

    @property
    def published(self) -> list[str]:
        """The columns that the publisher's file must have, in this order."""
        return [name for name in self.columns if not self.is_unpublished(name)]

    def is_unpublished(self, column: str) -> bool:
        """Whether the comment of a column says that it is no longer published."""
        return bool(_UNPUBLISHED.search(self.description(column)))

    def description(self, column: str) -> str:
        """The comment of a column, on one line; empty when it has none."""
        statement = _COLUMN_COMMENT.match(self.comments.get(column, ""))
        return unquoted(statement["text"]) if statement else ""

    @property
    def table_description(self) -> str:
        """The comment of the table, on one line; empty when it has none."""
        comment = _TABLE_COMMENT.search(self.text)
        return unquoted(comment["text"]) if comment else ""


def unquoted(literals: str) -> str:
    """The text of string literals that SQL takes as one, with single blanks between its words."""
    parts = re.findall(r"'((?:[^']|'')*)'", literals)
    return " ".join("".join(parts).replace("''", "'").split())


def path(source: str) -> Path:
    """The SQL file that declares a source's table."""
    return ROOT / "load" / f"{source}.sql"


def text_of(source: str) -> str:
    """The text of that file. Raises DeclarationError when it is not there or not UTF-8."""
    remedy = "docs/adding_a_source.md says what stands in it"
    try:
        return path(source).read_text("utf-8")
    except UnicodeDecodeError:
        raise DeclarationError(f"load/{source}.sql is not UTF-8", remedy) from None
    except OSError as error:
        what = f"load/{source}.sql cannot be read: {error.strerror}"
        raise DeclarationError(what, remedy) from None


def read(source: str) -> Declaration:
    """What the file of a source declares. Raises SourceError when it is no table of texts."""
    text = text_of(source)
    columns, _ = _columns(source, text)
    comments = {_unquoted(met["name"]): met[0] for met in _COLUMN_COMMENT.finditer(text)}
    return Declaration(source, text, columns, comments)


def without_comments(text: str) -> str:
    """The SQL but for comments and white space: what a table's rows depend on."""
    return " ".join(_COMMENTS.sub("", text).split())


def edited(known: Declaration, published: list[str], renamed: dict[str, str], day: str) -> str:
    """The text of the file once it declares what is published, in the publisher's order.

    Parameters
    ----------
    published: the columns of the publisher's file.
    renamed:   new name -> the name that went, for those whose values are the same.
    day:       since when it is so, ISO 8601.

    A column that went stays declared, and its comment says since when it is null.
    """
    order = list(published)
    for before, name in zip([None, *known.columns], known.columns, strict=False):
        if name not in published:
            order.insert(order.index(before) + 1 if before else 0, name)
    text = _with_columns(known, order)
    successors = {old: new for new, old in renamed.items()}
    blocks = []
    for name in order:
        block = known.comments.get(name, "")
        if name not in known.columns:
            block = _comment_of_new(known, name, renamed.get(name), day)
        elif name not in published and not known.is_unpublished(name):
            successor = f"; see {successors[name]}" if name in successors else ""
            what = f"No longer published since {day}: null from then on{successor}."
            block = _amended(known, name, what)
        elif name in published and known.is_unpublished(name):
            block = _amended(known, name, f"Published again since {day}.")
        blocks.append(block)
    first = _COLUMN_COMMENT.search(text)
    at = first.start() if first else len(text)
    return text[:at] + "".join(blocks) + _COLUMN_COMMENT.sub("", text[at:]).lstrip("\n")


def _columns(source: str, text: str) -> tuple[dict[str, tuple[str, str]], slice]:
    """The columns of the table, as in Declaration, and their place in the text."""
    table = _TABLE.search(text)
    columns, at = {}, table.end() if table else 0
    while table and (met := _COLUMN.match(text, at)):
        above = "".join(
            f"    {line.strip()}\n" for line in met["above"].splitlines() if line.strip()
        )
        columns[_unquoted(met["name"])] = f"{above}    {met['name']} text", met["beside"] or ""
        at = met.end()
    if table is None or not columns or not re.match(r"\s*\)", text[at:]):
        line = text.count("\n", 0, at) + 1
        raise SourceError(
            f'load/{source}.sql, line {line}: no list of columns, each `"name" text`',
            f"write it as `create table if not exists source.{source} (…)`; every column is text",
        )
    return columns, slice(table.end(), at)


def _with_columns(known: Declaration, order: list[str]) -> str:
    """The text with the columns of the table in an order, new ones among them."""
    place = _columns(known.source, known.text)[1]
    table = "\n"
    for name in order:
        line, beside = known.columns.get(name, (f"    {_quoted(name)} text", ""))
        table += f"{line}{',' * (name != order[-1])}{beside}\n"
    return known.text[: place.start] + table + known.text[place.stop :].lstrip()


def _comment_of_new(known: Declaration, name: str, old: str | None, day: str) -> str:
    target = f"source.{known.source}.{_quoted(name)}"
    met = _COLUMN_COMMENT.match(known.comments.get(old or "", ""))
    if met is None:
        was = f"; it was {old}" if old else ""
        return f"comment on column {target} is\n{_literals(f'{UNDESCRIBED} since {day}{was}.')};\n"
    renamed = f"comment on column {target} is\n{met['text']};\n"
    return _appended(renamed, f"Since {day}; before: {old}.")


def _amended(known: Declaration, name: str, sentence: str) -> str:
    """The comment of a column with one more sentence."""
    if statement := known.comments.get(name):
        return _appended(statement, sentence)
    target = f"source.{known.source}.{_quoted(name)}"
    return f"comment on column {target} is\n{_literals(sentence)};\n"


def _appended(statement: str, sentence: str) -> str:
    begin = statement.rstrip().removesuffix(";").rstrip().removesuffix("'")
    return f"{begin} '\n{_literals(sentence)};\n"


def _literals(text: str) -> str:
    """A text as string literals, a line each, which SQL takes as one."""
    lines = textwrap.wrap(text, _WIDTH, break_on_hyphens=False)
    return " '\n'".join(line.replace("'", "''") for line in lines).join("''")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
