"""Descriptions of tables and columns: written once, in load/<source>.sql, and inherited from there.

dbt reads them from two generated files: `_sources.yml` (one entry per table) and `_columns.md` (one
documentation block per column). The description of a mart column that means the same as a source
column is a reference to its block: `"{{ doc('stations__city') }}"`.

Only SQL in the style of this project is understood: the last `select` of a model lists its columns,
and a staging model quotes the source columns it reads.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.schema import declaration
from pipeline.settings import ROOT

MODELS = ROOT / "transform" / "models"
STAGING = MODELS / "staging"
SOURCES_FILE = STAGING / "_sources.yml"
COLUMNS_FILE = STAGING / "_columns.md"
WIDTH = 100
SOURCES_HEADER = """\
# Generated from load/*.sql by `./run_pipeline.sh sync`.
version: 2

sources:
  - name: source
    schema: source
    description: >
      The publishers' data, unchanged: one table per source, every column text. load/<source>.sql
      declares and comments each table.
    tables:"""
GENERATED = "# Generated from load/*.sql"
COLUMNS_HEADER = "Generated from load/*.sql by `./run_pipeline.sh sync`.\n"
_LAST_SELECT = re.compile(r"\n    select\n(?P<items>.*?)\n    (?:from\b|\))", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_AS = re.compile(r'\bas\s+"?(?P<name>\w+)"?$', re.IGNORECASE)
_PLAIN = re.compile(r'(?:(?P<table>\w+)\.)?"?(?P<name>\w+)"?')
_CAST = re.compile(r"""\{\{ cast\w*_or_null\('"(?:[^"]|"")+"', '(?P<type>[^']+)'\) \}\}""")


@dataclass(frozen=True)
class Origin:
    """The source column that a staging column shows, and its type (empty: not a plain cast)."""

    source: str
    column: str
    data_type: str

    @property
    def reference(self) -> str:
        """How a model's yml refers to the description of the source column."""
        return f"{{{{ doc('{block_name(self.source, self.column)}') }}}}"


@dataclass(frozen=True)
class Mart:
    """The SQL and the yml file of one mart."""

    path: Path

    @cached_property
    def sql(self) -> str:
        """The text of the model."""
        return self.path.read_text("utf-8")

    @cached_property
    def yml(self) -> str:
        """The text of the file that describes it; empty when there is none."""
        described = self.path.with_suffix(".yml")
        text = described.read_text("utf-8") if described.is_file() else ""
        return text if text.endswith("\n") or not text else f"{text}\n"

    @property
    def selected(self) -> list[str]:
        """The columns of its last select, in order; empty when that is not a list of columns."""
        names = [column_name(item) for item in select_items(self.sql)]
        return [] if "" in names else names

    @property
    def described(self) -> list[str]:
        """The columns that its yml file describes, in order."""
        return re.findall(r"^      - name: (\w+)$", self.yml, re.MULTILINE)

    def origin(self, column: str) -> Origin | None:
        """The source column that a column shows unchanged, if exactly one staging model has it."""
        parents = re.findall(r"ref\('stg_(\w+)'\)", self.sql)
        origins = [found for name in set(parents) if (found := origins_of(name).get(column))]
        return origins[0] if len(origins) == 1 else None


def block_name(source: str, column: str) -> str:
    """The name of the documentation block of a source column: letters, digits and `_`."""
    return f"{source}__{re.sub(r'[^A-Za-z0-9_]', '_', column)}"


def of_table(source: str) -> str:
    """What the comment of a source's table says before it names the publisher."""
    return declaration.read(source).table_description.partition(" Publisher:")[0]


def of_columns(source: str) -> dict[str, str]:
    """The comments of a source's columns, by name; a column without a comment is left out."""
    declared = declaration.read(source)
    described = {name: declared.description(name) for name in declared.columns}
    return {name: text for name, text in described.items() if text}


def declared_elsewhere() -> set[str]:
    """The tables of schema source that other yml files of the project declare, by hand."""
    import yaml  # comes with dbt

    files = [path for path in MODELS.rglob("*.yml") if path != SOURCES_FILE]
    declared = [yaml.safe_load(path.read_text("utf-8")) or {} for path in files]
    return {
        table["name"]
        for file in declared
        for source in file.get("sources") or []
        if source.get("name") == "source"
        for table in source.get("tables") or []
    }


def sources_file(sources: list[str]) -> str:
    """The text of `_sources.yml` for these sources."""
    if not sources:
        return f"{SOURCES_HEADER} []\n"
    entries = [
        f"      - name: {name}\n        description: >\n{_folded(of_table(name), ' ' * 10)}"
        for name in sources
    ]
    return "\n".join([SOURCES_HEADER, *entries, ""])


def columns_file(sources: list[str]) -> str:
    """The text of `_columns.md` for these sources."""
    blocks = [
        f"{{% docs {block_name(source, column)} %}}{_for_jinja(text)}{{% enddocs %}}\n"
        for source in sources
        for column, text in of_columns(source).items()
    ]
    return "".join([COLUMNS_HEADER, "\n", *blocks])


def marts() -> Iterator[Mart]:
    """All marts, by name."""
    for path in sorted((MODELS / "marts").rglob("*.sql")):
        yield Mart(path)


def broken_references(mart: Mart, sources: list[str]) -> list[str]:
    """The blocks that a mart's yml refers to and no source column has."""
    there = {block_name(source, name) for source in sources for name in of_columns(source)}
    return sorted(set(re.findall(r"doc\('(\w+)'\)", mart.yml)) - there)


def with_new_columns(mart: Mart) -> tuple[str, list[str], list[str]]:
    """Describe the columns that a mart selects and its yml file does not have.

    Returns the new text of the yml file, the columns that were added to it, and those that a person
    must describe, because their type or their meaning is not that of one source column.
    """
    text, added, left = mart.yml, [], []
    described = mart.described
    for before, name in zip([None, *mart.selected], mart.selected, strict=False):
        if name in described or not described:
            continue
        origin = mart.origin(name)
        if origin is None or not origin.data_type:
            left.append(name)
            continue
        entry = (
            f"      - name: {name}\n        data_type: {origin.data_type}\n"
            f"        description: {json.dumps(origin.reference)}\n"
        )
        at = _end_of_entry(text, before) if before in described else _start_of_columns(text)
        text = text[:at] + entry + text[at:]
        described.append(name)
        added.append(name)
    return text, added, left


def origins_of(source: str) -> dict[str, Origin]:
    """The columns of a source's staging model that show one source column, by name."""
    path = STAGING / f"stg_{source}.sql"
    if not path.is_file():
        return {}
    declared = declaration.read(source).columns
    origins = {}
    for item in select_items(path.read_text("utf-8")):
        read = {name.replace('""', '"') for name in _QUOTED.findall(item)}
        name = column_name(item)
        if name and len(read) == 1 and read <= declared.keys():
            origins[name] = Origin(source, read.pop(), _data_type(item))
    return origins


def select_items(sql: str) -> list[str]:
    """The items of the last select before `select * from`, each on one line."""
    body = sql[: sql.rfind("select * from")]
    selects = list(_LAST_SELECT.finditer(body))
    if not selects:
        return []
    text = re.sub(r"--[^\n]*", "", selects[-1]["items"])
    items, depth, start = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign in "({") - (sign in ")}")
        if sign == "," and depth == 0:
            items.append(text[start:at])
            start = at + 1
    return [" ".join(item.split()) for item in [*items, text[start:]]]


def column_name(item: str) -> str:
    """The name of the column that an item of a select makes; empty when it has none of its own."""
    named = _AS.search(item) or _PLAIN.fullmatch(item)
    return named["name"] if named else ""


def _data_type(item: str) -> str:
    """`text`, or the type of a plain cast; empty when the item is anything else."""
    value = _AS.sub("", item).strip()
    if _PLAIN.fullmatch(value) or re.fullmatch(r'(\w+\.)?"(?:[^"]|"")+"', value):
        return "text"
    cast = _CAST.fullmatch(value)
    return cast["type"] if cast else ""


def _start_of_columns(yml: str) -> int:
    return yml.index("\n    columns:\n") + len("\n    columns:\n")


def _end_of_entry(yml: str, column: str) -> int:
    """Where the entry of a column ends: its lines are indented deeper, or blank between such."""
    deeper = r"(?: {8,}.*\n|\n(?=\n* {8,}))*"
    found = re.search(rf"^      - name: {column}\n{deeper}", yml, re.MULTILINE)
    assert found  # the caller took the name from this text
    return found.end()


def _folded(text: str, indent: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _for_jinja(text: str) -> str:
    """A text that Jinja prints as it is."""
    return f"{{% raw %}}{text}{{% endraw %}}" if re.search(r"\{[{%#]", text) else text
