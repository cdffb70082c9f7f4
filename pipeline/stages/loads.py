"""Which sources have to be loaded: their files compared with the newest load in the ledger."""

import hashlib

import msgspec
import psycopg

from pipeline import state
from pipeline.database import ledger
from pipeline.marts import alterations
from pipeline.raw.order import Version
from pipeline.schema import declaration
from pipeline.settings import Settings


class Loaded(msgspec.Struct, frozen=True):
    """The newest load of a source, as the ledger recorded it."""

    fingerprint: str = ""
    made_of: str = ""  # fingerprint of the file and its declaration, however often it was loaded
    declared: str | None = None  # hash of the declaration, comments included
    forced_at: str = ""  # when somebody had the file made again
    snapshot: Version = Version()


NEVER = Loaded()  # the source was never loaded


def pending(connection: psycopg.Connection, here: Settings, names: list[str]) -> list[str]:
    """Return the sources that have to be loaded.

    Their table is missing, its rows or comments are not those of the source's files, or somebody
    else changed its rows.
    """
    loaded = newest(connection)
    altered = alterations.altered_sources(connection, names)
    rows = connection.execute(
        "select tablename from pg_catalog.pg_tables where schemaname = 'source'"
    )
    tables = {name for (name,) in rows}
    return [
        name
        for name in names
        if name not in tables or _differs(here, name, loaded.get(name, NEVER), name in altered)
    ]


def fingerprint_of(here: Settings, source: str) -> str | None:
    """Return the hash of what the rows should be made of: the file and its declared columns.

    Comments in the declaration do not count. None without a legible file.
    """
    sha256 = state.preprocessed(here, source).sha256
    if not sha256:
        return None
    declared = declaration.without_comments(declaration.text_of(source))
    return hashlib.sha256(f"{sha256} {declared}".encode()).hexdigest()


def declaration_hash(source: str) -> str:
    """Return the hash of a declaration, comments included."""
    return hashlib.sha256(declaration.text_of(source).encode()).hexdigest()


def newest(connection: psycopg.Connection) -> dict[str, Loaded]:
    """Return the newest load of each source that was ever loaded."""
    loads = {}
    for name, step in ledger.newest(connection, "load", ledger.MADE["load"]).items():
        facts = {"made_of": step["fingerprint"]} | (step["facts"] or {})
        loads[name] = msgspec.convert(facts | {"fingerprint": step["fingerprint"]}, Loaded)
    return loads


def _differs(here: Settings, source: str, loaded: Loaded, is_altered: bool) -> bool:
    """Return whether a source has a legible file that its table was not made of."""
    wanted = fingerprint_of(here, source)
    if wanted is None:
        return False
    return (
        is_altered
        or loaded.made_of != wanted
        or loaded.declared != declaration_hash(source)
        or state.preprocessed(here, source).forced_at > loaded.forced_at
    )
