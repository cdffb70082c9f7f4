"""The declaration of a source, `load/<source>.sql`: read, and edited by `accept`.

The file is SQL that people maintain: `create table`, then a comment on the table and on each
column. The comment of a column says when it is no longer published, so that the database says it
too.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DeclarationError, SourceError
from pipeline.settings import ROOT

UNDESCRIBED = "Not described yet;"  # begins the comment of a column that nobody declared
_WIDTH = 96  # of a line of a comment, without its quotes
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
    """The content of the file of a source."""

    source: str
    text: str
    columns: dict[str, tuple[str, str]]  # name -> its line up to the comma, and the rest
    comments: dict[str, str]  # name -> its statement `comment on column`

    @property
    def published(self) -> list[str]:
        """The columns that the publisher's file must have, in their order."""
        return [name for name in self.columns if not self.is_unpublished(name)]

    def is_unpublished(self, column: str) -> bool:
        """Return whether the comment of a column says that it is no longer published."""
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
    """Return the text of string literals that SQL joins, with single blanks between words."""
    parts = re.findall(r"'((?:[^']|'')*)'", literals)
    return " ".join("".join(parts).replace("''", "'").split())


def path(source: str) -> Path:
    """Return the path of the SQL file that declares a source's table."""
    return ROOT / "load" / f"{source}.sql"


def text_of(source: str) -> str:
    """Return the text of that file. Raises DeclarationError when it is missing or not UTF-8."""
    remedy = "docs/adding_a_source.md says what it contains"
    try:
        return path(source).read_text("utf-8")
    except UnicodeDecodeError:
        raise DeclarationError(f"load/{source}.sql is not UTF-8", remedy) from None
    except OSError as error:
        what = f"load/{source}.sql cannot be read: {error.strerror}"
        raise DeclarationError(what, remedy) from None


def read(source: str) -> Declaration:
    """Read the declaration of a source. Raises SourceError when it is not a table of texts."""
    text = text_of(source)
    columns, _ = _columns(source, text)
    comments = {_unquoted(match["name"]): match[0] for match in _COLUMN_COMMENT.finditer(text)}
    return Declaration(source, text, columns, comments)


def without_comments(text: str) -> str:
    """Return the SQL without comments and line breaks: what the rows of a table depend on."""
    return " ".join(_COMMENTS.sub("", text).split())


def edited(declared: Declaration, published: list[str], renamed: dict[str, str], day: str) -> str:
    """Return the text of the file with the published columns, in the publisher's order.

    Parameters
    ----------
    published: the columns of the publisher's file.
    renamed:   new name -> old name, of columns with the same values.
    day:       the day of the change, ISO 8601.

    A missing column stays declared, and its comment says since when it is null.
    """
    order = list(published)
    for before, name in zip([None, *declared.columns], declared.columns, strict=False):
        if name not in published:
            order.insert(order.index(before) + 1 if before else 0, name)
    text = _with_columns(declared, order)
    successors = {old: new for new, old in renamed.items()}
    blocks = []
    for name in order:
        block = declared.comments.get(name, "")
        if name not in declared.columns:
            block = _comment_of_new(declared, name, renamed.get(name), day)
        elif name not in published and not declared.is_unpublished(name):
            successor = f"; see {successors[name]}" if name in successors else ""
            what = f"No longer published since {day}: null from then on{successor}."
            block = _amended(declared, name, what)
        elif name in published and declared.is_unpublished(name):
            block = _amended(declared, name, f"Published again since {day}.")
        blocks.append(block)
    first = _COLUMN_COMMENT.search(text)
    at = first.start() if first else len(text)
    return text[:at] + "".join(blocks) + _COLUMN_COMMENT.sub("", text[at:]).lstrip("\n")


def _columns(source: str, text: str) -> tuple[dict[str, tuple[str, str]], slice]:
    """Return the columns of the table, as in Declaration, and the range of the text they take."""
    table = _TABLE.search(text)
    columns, at = {}, table.end() if table else 0
    while table and (match := _COLUMN.match(text, at)):
        above = "".join(
            f"    {line.strip()}\n" for line in match["above"].splitlines() if line.strip()
        )
        columns[_unquoted(match["name"])] = (
            f"{above}    {match['name']} text",
            match["beside"] or "",
        )
        at = match.end()
    if table is None or not columns or not re.match(r"\s*\)", text[at:]):
        line = text.count("\n", 0, at) + 1
        raise SourceError(
            f'load/{source}.sql, line {line}: no list of columns, each `"name" text`',
            f"write it as `create table if not exists source.{source} (…)`; every column is text",
        )
    return columns, slice(table.end(), at)


def _with_columns(declared: Declaration, order: list[str]) -> str:
    """Return the text with these columns in the table, in this order."""
    part = _columns(declared.source, declared.text)[1]
    table = "\n"
    for name in order:
        line, beside = declared.columns.get(name, (f"    {_quoted(name)} text", ""))
        table += f"{line}{',' * (name != order[-1])}{beside}\n"
    return declared.text[: part.start] + table + declared.text[part.stop :].lstrip()


def _comment_of_new(declared: Declaration, name: str, old: str | None, day: str) -> str:
    target = f"source.{declared.source}.{_quoted(name)}"
    match = _COLUMN_COMMENT.match(declared.comments.get(old or "", ""))
    if match is None:
        was = f"; it was {old}" if old else ""
        return f"comment on column {target} is\n{_literals(f'{UNDESCRIBED} since {day}{was}.')};\n"
    renamed = f"comment on column {target} is\n{match['text']};\n"
    return _appended(renamed, f"Since {day}; before: {old}.")


def _amended(declared: Declaration, name: str, sentence: str) -> str:
    """Return the comment of a column with one more sentence."""
    if statement := declared.comments.get(name):
        return _appended(statement, sentence)
    target = f"source.{declared.source}.{_quoted(name)}"
    return f"comment on column {target} is\n{_literals(sentence)};\n"


def _appended(statement: str, sentence: str) -> str:
    begin = statement.rstrip().removesuffix(";").rstrip().removesuffix("'")
    return f"{begin} '\n{_literals(sentence)};\n"


def _literals(text: str) -> str:
    """Return a text as string literals, one per line, which SQL joins."""
    lines = textwrap.wrap(text, _WIDTH, break_on_hyphens=False)
    return " '\n'".join(line.replace("'", "''") for line in lines).join("''")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
