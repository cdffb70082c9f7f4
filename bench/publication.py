"""How long readers wait for a publication: `.venv/bin/python bench/publication.py`.

An embedded PostgreSQL in a temporary folder (2 GB must be free there), a million rows in as many
tables as the project has marts, a role that may read them and views of an analyst upon them. They
are published some rounds, with ledger and `data_status` as every night, while readers poll, each a
process of its own with a pause between two looks. "longest wait" is the longest look that a
publication, from its freeze to its commit, fell into; beside it the longest one of as many seconds
without any. A look that fails, finds a table empty or sees two generations is a fault, and there
may be none.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lifeline  # noqa: E402

from pipeline import database, embedded, settings  # noqa: E402
from pipeline.database import ledger  # noqa: E402
from pipeline.marts import build_schema, data_status, publication  # noqa: E402

LONGEST_MS = 100
PAUSE = 0.002  # seconds between two looks of a reader
TABLES = [f"mart_{number:02}" for number in range(1, 15)]
GENERATIONS = "select generation from transformed.{} where id = 1"
TWO_TABLES = " union all ".join(GENERATIONS.format(name) for name in (TABLES[0], TABLES[-1]))
STATUS = f"select generation from transformed.data_status where name = '{TABLES[0]}'"  # noqa: S608
# The statements of one look: one transaction each, whose rows must all be of one generation.
READERS = {
    "autocommit": [TWO_TABLES],
    "prepared statement": [TWO_TABLES],
    "repeatable read, four statements": [
        *(GENERATIONS.format(name) for name in (TABLES[0], TABLES[6], TABLES[-1])),
        STATUS,
    ],
    "view of an analyst": ["select generation from analyst.both where id = 1"],
    "view upon that view": ["select generation from analyst.upon where id = 1"],
}


class Look(NamedTuple):
    """One look of a reader at the published tables."""

    begun: float  # time.monotonic(), the same clock in every process
    ended: float
    fault: str

    def is_within(self, spans: list[tuple[float, float]]) -> bool:
        """Whether it was under way in one of the spans."""
        return any(self.begun < until and since < self.ended for since, until in spans)


def main() -> int:
    """Measure and print; 1 when a reader waited too long or saw what it should not."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows in all (1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="publications (5)")
    asked = parser.parse_args()
    with lifeline.folder("bench-publication-") as folder:
        here = _here(folder)
        url = embedded.ensure_running(here)
        try:
            with database.connect(here) as connection:
                database.prepare(connection)
                _publish(here, connection, 1, asked.rows)
                _add_others(connection)
                looks, published, quiet = _rounds(here, connection, url, asked)
        finally:
            embedded.stop(here)
    return _print(asked, looks, published, quiet)


def read(kind: str, url: str, pipe) -> None:
    """What a reader's process does: look until told to stop, then hand over its looks."""
    looks: list[Look] = []
    # psycopg prepares a statement of its own accord at its sixth use: here from the first, or not.
    threshold = 0 if kind == "prepared statement" else None
    with psycopg.connect(url, autocommit=True, prepare_threshold=threshold) as connection:
        if len(READERS[kind]) > 1:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        pipe.send("ready")
        while not pipe.poll(PAUSE):
            begun = time.monotonic()
            fault = _look(connection, READERS[kind])
            looks.append(Look(begun, time.monotonic(), fault))
    pipe.send(looks)


def _look(connection: psycopg.Connection, statements: list[str]) -> str:
    """Look once; returns what is wrong with what it saw, or nothing."""
    try:
        if len(statements) == 1:
            found = [connection.execute(statements[0]).fetchall()]
        else:
            with connection.transaction():
                found = [connection.execute(statement).fetchall() for statement in statements]
    except psycopg.Error as error:
        return f"error: {' '.join(str(error).split())}"
    if not all(found):
        return "an empty table"
    return "" if len({row[0] for rows in found for row in rows}) == 1 else "two generations"


def _rounds(here: settings.Settings, connection, url: str, asked) -> tuple[dict, list, list]:
    """Publish under the readers' eyes; returns their looks by kind and the spans measured."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for kind in READERS:
        pipes[kind], its = context.Pipe()
        processes.append(context.Process(target=read, args=(kind, url, its), daemon=True))
        processes[-1].start()
    for pipe in pipes.values():
        pipe.recv()
    published, quiet = [], []
    for number in range(2, asked.rounds + 2):
        span = _publish(here, connection, number, asked.rows)
        published.append(span)
        connection.execute("checkpoint")  # the disk is still busy with what was published
        begun = time.monotonic()
        time.sleep(span[1] - span[0])
        quiet.append((begun, time.monotonic()))
    looks = {}
    for kind, pipe in pipes.items():
        pipe.send("end")
        looks[kind] = pipe.recv()
    for process in processes:
        process.join()
    return looks, published, quiet


def _publish(here, connection: psycopg.Connection, number: int, rows: int) -> tuple[float, float]:
    """Build the tables and publish them; returns when the publication began and ended."""
    room = build_schema.create(connection, here.publish_patience)
    for name in TABLES:
        connection.execute(
            f"""create table transformed_next.{name} as
            select id, {number} as generation, md5(id::text) as name, now() as started_at,
                repeat('of some length ', 5) as event_name, random() * 180 as longitude
            from generate_series(1, {rows // len(TABLES)}) as id"""  # noqa: S608 - our own names
        )
        connection.execute(f"alter table transformed_next.{name} add primary key (id)")
        connection.execute(f"create index on transformed_next.{name} (started_at)")
    begun = time.monotonic()
    publication.publish(connection, here, room, TABLES, _noting(number))
    return begun, time.monotonic()


def _noting(number: int) -> Callable[[psycopg.Connection, int], list]:
    """What stage transform notes of a publication in which every table is new."""
    facts = {
        "outcome": "published",
        "tables": TABLES,
        "held": {},
        "sources": {name: settings.sources() for name in TABLES},
        "ancestors": {name: TABLES[:number] for number, name in enumerate(TABLES)},
    }

    def note(connection: psycopg.Connection, generation: int) -> list:
        run, now = f"run {number}", datetime.now(UTC)
        stamp = {"generation": generation, "started_at": now.isoformat()}
        ledger.begin(connection, run, "transform", now.isoformat())
        for name in TABLES:
            told = stamp | {"outcome": "published", "rows": 1}
            ledger.note(connection, run, "transform", name, told, f"made of {number}")
        ledger.note(connection, run, "transform", ledger.ALL_MODELS, facts | stamp, str(number))
        return data_status.rows(connection, verified_at=now)

    return note


def _add_others(connection: psycopg.Connection) -> None:
    """What others have upon the published tables: a role that may read, two views."""
    first, last = (f"transformed.{name}" for name in (TABLES[0], TABLES[-1]))
    connection.execute(
        f"""create role app nologin;
        grant usage on schema transformed to app;
        grant select on all tables in schema transformed to app;
        create schema analyst;
        create view analyst.both as select id, generation from {first}
            union all select id, generation from {last};
        create view analyst.upon as select id, generation from analyst.both;
        grant select on analyst.both, analyst.upon to app"""  # noqa: S608 - our own names
    )


def _here(folder: Path) -> settings.Settings:
    os.environ |= {"DATA_DIR": str(folder / "data"), "DATABASE_URL": "", "STASH": "off"}
    settings.load.cache_clear()
    return settings.load()


def _print(asked, looks: dict[str, list[Look]], published: list, quiet: list) -> int:
    title = f"{asked.rounds} publications of {asked.rows:,} rows in {len(TABLES)} tables"
    table = Table(title=title)
    words = ("reader", "looks", "median, ms", "longest wait, ms", "longest without, ms", "faults")
    for word in words:
        table.add_column(word, justify="left" if word == "reader" else "right")
    longest, faults = 0.0, []
    for kind, seen in looks.items():
        during = [look for look in seen if look.is_within(published)]
        without = [look for look in seen if look.is_within(quiet)]
        wrong = [f"{kind}: {look.fault}" for look in seen if look.fault]
        figures = (
            statistics.median(map(_ms, during)),
            *(max(map(_ms, s)) for s in (during, without)),
        )
        table.add_row(kind, f"{len(during)}", *(f"{ms:.1f}" for ms in figures), str(len(wrong)))
        longest, faults = max(longest, figures[1]), faults + wrong
    Console(width=110).print(table)
    for fault in sorted(set(faults)):
        print(fault)
    seconds = statistics.median(until - since for since, until in published)
    verdict = "yes" if longest < LONGEST_MS and not faults else "no"
    print(f"a publication  {seconds:6.2f} s, from its freeze to its commit (median)")
    print(f"longest wait   {longest:6.1f} ms of {LONGEST_MS} ms allowed; reached: {verdict}")
    return 0 if verdict == "yes" else 1


def _ms(look: Look) -> float:
    return 1000 * (look.ended - look.begun)


if __name__ == "__main__":
    sys.exit(main())
