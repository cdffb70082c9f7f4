"""The table `source.<source>`: created and changed as its declaration and its file require."""

import psycopg
from psycopg import sql

from pipeline import state
from pipeline.errors import SourceError
from pipeline.schema import declaration


def exists(connection: psycopg.Connection, source: str) -> bool:
    """Return whether a source has its table."""
    ((found,),) = connection.execute("select to_regclass(%s)", [f"source.{source}"])
    return found is not None


def make_empty(connection: psycopg.Connection, source: str) -> None:
    """Create the empty table of a source that was never fetched, so that models can be built."""
    with connection.transaction():
        connection.execute(declaration.text_of(source).encode())


def make_sure(connection: psycopg.Connection, source: str, is_loaded: bool) -> str:
    """Make sure that a source has a table that models can read; returns why not, or nothing.

    A source that was never loaded gets an empty table with all declared columns, also those
    declared since. If the table of a loaded source (`is_loaded`) is gone, an empty one would pass
    for its rows: the source has to be loaded again first.
    """
    if is_loaded:
        if exists(connection, source):
            return ""
        again = f"./run_pipeline.sh load {source}"
        return f"table source.{source} was loaded and is gone; {again} brings it back"
    if not declaration.path(source).is_file():
        if exists(connection, source):
            return ""
        return f"there is no table source.{source}, and no load/{source}.sql that would make it"
    try:
        with connection.transaction():
            _complete(connection, source)
    except (SourceError, psycopg.ProgrammingError, psycopg.errors.LockNotAvailable) as error:
        shown = " ".join(str(error).split())
        return f"its table cannot be made by load/{source}.sql: {shown}"
    return ""


def _complete(connection: psycopg.Connection, source: str) -> None:
    """Make a table, or add what its declaration has and it has not."""
    declared = declaration.read(source)
    if not exists(connection, source):
        connection.execute(declared.text.encode())
        return
    present = _columns(connection, source)
    if missing := [column for column in declared.columns if column not in present]:
        connection.execute("set local lock_timeout = '2s'")
        for column in missing:
            _add(connection, source, column)
        connection.execute(declared.text.encode())


def declare(connection: psycopg.Connection, source: str, published: list[str]) -> list[str]:
    """Give a table the columns and comments of its declaration, and undeclared columns of the file.

    published: the columns of the file about to be loaded.

    Returns the undeclared columns that were added now; if such a column is missing later, it is
    null. Raises SourceError when the file lacks a declared column: stage `preprocess` checks that
    before, but the declaration may have changed since.
    """
    declared = declaration.read(source)
    if missing := [column for column in declared.published if column not in published]:
        new = [column for column in published if column not in declared.columns]
        raise SourceError(
            f"{source}: the file lacks columns {', '.join(missing)}"
            + f"; new in it: {', '.join(new)}" * bool(new),
            f"the old rows stay; load/{source}.sql declares what the file does not have",
        )
    if not exists(connection, source):
        connection.execute(declared.text.encode())
    present = _columns(connection, source)
    for column in declared.columns:
        if column not in present:
            _add(connection, source, column)
    connection.execute(declared.text.encode())
    added = [column for column in published if column not in {*present, *declared.columns}]
    for column in added:
        _add(connection, source, column)
        connection.execute(
            sql.SQL("comment on column {}.{} is {}").format(
                sql.Identifier("source", source),
                sql.Identifier(column),
                f"{declaration.UNDESCRIBED} appeared on {state.now()[:10]}",
            )
        )
    return added


def _columns(connection: psycopg.Connection, source: str) -> list[str]:
    found = connection.execute(
        """select attname from pg_catalog.pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped""",
        [f"source.{source}"],
    )
    return [name for (name,) in found]


def _add(connection: psycopg.Connection, source: str, column: str) -> None:
    connection.execute(
        sql.SQL("alter table {} add column {} text").format(
            sql.Identifier("source", source), sql.Identifier(column)
        )
    )
