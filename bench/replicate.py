"""What a replication to prod costs beside pg_dump | pg_restore of the same rows, and its readers.

    .venv/bin/python bench/replicate.py [ROWS]

Dev and prod are databases of an embedded server in a scratch folder. The bare way is
`pg_dump --format=custom | pg_restore` into an empty database. Ours makes the dump a file, checks it
by its SHA-256, holds every table's content against dev, and lets readers go on meanwhile.
"""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lifeline  # noqa: E402
from readers import reading  # noqa: E402

from pipeline import database, embedded, settings  # noqa: E402
from pipeline.database import ledger  # noqa: E402
from pipeline.embedded.programs import program  # noqa: E402
from pipeline.marts import build_schema, data_status, publication  # noqa: E402
from pipeline.settings import Settings  # noqa: E402
from pipeline.stages import publish  # noqa: E402

ROUNDS = 3
TABLES = 5


def read(connection: psycopg.Connection) -> None:
    """One table again and again."""
    query = "select count(*) from transformed.t0 where id < 100"
    assert connection.execute(query).fetchone()[0] == 99


def publish_dev(here: Settings, rows: int) -> None:
    """Publish new tables in dev, as stage transform does."""
    names = [f"t{number}" for number in range(TABLES)]

    def note(connection: psycopg.Connection, generation: int) -> list:
        run = f"run {generation}"
        ledger.begin(connection, run, "transform", "2026-01-01T00:00:00Z")
        told = {"outcome": "published", "generation": generation, "rows": rows // TABLES}
        told |= {"started_at": "2026-01-01T00:00:00Z"}
        for name in names:
            ledger.note(connection, run, "transform", name, told, "made")
        whole = told | {"tables": names, "held": {}, "sources": {name: [] for name in names}}
        ledger.note(connection, run, "transform", ledger.ALL_MODELS, whole, "made")
        return data_status.rows(connection)

    with database.connect(here) as connection:
        room = build_schema.create(connection, here.publish_patience)
        for name in names:
            connection.execute(
                f"""create table transformed_next.{name} as
                select id, 'event ' || id as name, lpad((id % 3000)::text, 5, '0') as region_code,
                    now() - id * interval '1 minute' as started_at, random() * 100 as severity,
                    repeat(md5(id::text), 3) as description
                from generate_series(1, {rows // TABLES}) as id;
                alter table transformed_next.{name} add primary key (id);
                create index on transformed_next.{name} (region_code)"""  # noqa: S608
            )
        publication.publish(connection, here, room, names, note)


def bare(here: Settings, target: str) -> float:
    """Seconds of pg_dump | pg_restore into an empty database."""
    with psycopg.connect(here.database_url, autocommit=True) as connection:
        connection.execute("drop database if exists bare with (force)")
        connection.execute("create database bare")
    began = time.monotonic()
    words = [program("pg_dump"), "--format=custom", "--schema=transformed", here.database_url]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as dumping:
        restore = [program("pg_restore"), "--no-owner", f"--dbname={target}"]
        subprocess.run(restore, stdin=dumping.stdout, check=True)
    return time.monotonic() - began


def main() -> None:
    """Print the seconds of both ways side by side, and the longest waits of readers."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with lifeline.folder("bench-replicate-") as folder:
        made = replace(settings.load(), data_dir=folder / "data", database_url="")
        made.state.mkdir(parents=True)
        address = embedded.ensure_running(made)
        here = replace(made, database_url=address, prod_database_url=embedded.url(made, "prod"))
        try:
            with database.connect(here) as dev:
                database.prepare(dev)
                dev.execute("create database prod")
            measure(here, embedded.url(made, "bare"), rows)
        finally:
            embedded.stop(made)


def measure(here: Settings, target: str, rows: int) -> None:
    """Print one line a round."""
    publish_dev(here, rows)
    publish.run(here)
    print(f"{rows:,} rows in {TABLES} tables\n")
    print(" bare, s  ours, s  ratio  longest wait, ms  readers kept out, ms  errors")
    for _ in range(ROUNDS):
        publish_dev(here, rows)
        with reading(here.prod_database_url, [read] * 2, pause=0.01) as readers:
            began = time.monotonic()
            facts = publish.run(here)
            ours = time.monotonic() - began
        assert facts["outcome"] == "published", facts
        took = bare(here, target)
        longest = max(reader.waited for reader in readers) * 1000
        errors = sum(len(reader.wrong) for reader in readers)
        kept_out = facts["readers_waited"] * 1000
        seconds = f"{took:8.2f} {ours:8.2f} {ours / took:6.2f}"
        print(f"{seconds} {longest:17.0f} {kept_out:21.0f} {errors:7}")


if __name__ == "__main__":
    main()
