"""Poolers: transaction mode is refused before anything is set; sessions are left as they were."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from servers import PGBOUNCER, new_database, pgbouncer
from small_pooler import CHOICES, pooling
from test_publish import Place, place  # noqa: F401 - the fixture

from pipeline import database
from pipeline.database import pooler
from pipeline.errors import SettingError
from pipeline.settings import ROOT
from pipeline.stages import publish

STATE = """select (select array_agg(name || '=' || setting order by name) from pg_settings
        where source not in ('default', 'override', 'command line', 'configuration file')
            and name <> 'application_name'),
    (select count(*) from pg_prepared_statements), (select count(*) from pg_listening_channels()),
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
    current_setting('search_path'), current_setting('statement_timeout')"""


@pytest.fixture
def path(database_url: str) -> Path:
    return Path(parse_qs(urlsplit(database_url).query)["host"][0]) / ".s.PGSQL.5432"


@pytest.fixture
def name(database_url: str) -> str:
    return urlsplit(database_url).path[1:]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("choice", CHOICES)
def test_a_pooler_in_transaction_mode_is_refused_before_anything_is_set(
    path, name, choice, size, is_long
):
    with pooling(path, name, "transaction", choice, size) as pool:
        for _ in range(50 if is_long else 3):
            with pytest.raises(SettingError, match="MY_URL leads to a pooler") as caught:
                database.connect_to(pool.url, "MY_URL")
            assert caught.value.exit_code == 78 and "direct port" in caught.value.remedy
        assert set(pool.asked) <= {pooler._PROCESS.decode(), "begin", "rollback"}
        pool.wait_for_all(size)


@pytest.fixture
def through_pgbouncer(request, debian_url: str, open_folder: Path) -> Iterator[str]:
    """A URL through PgBouncer itself, in the mode that the test names."""
    if not PGBOUNCER.exists():
        pytest.skip("pgbouncer is not installed")
    folder = open_folder / f"pgbouncer {request.param}"
    with (
        new_database(debian_url, "pooled") as url,
        pgbouncer(folder, url, request.param) as through,
    ):
        yield through


@pytest.mark.parametrize("through_pgbouncer", ["transaction"], indirect=True)
def test_pgbouncer_in_transaction_mode_is_refused(through_pgbouncer, is_long):
    for _ in range(50 if is_long else 3):
        with pytest.raises(SettingError, match="MY_URL leads to a pooler"):
            database.connect_to(through_pgbouncer, "MY_URL")
    with psycopg.connect(through_pgbouncer, autocommit=True, prepare_threshold=None) as other:
        assert other.execute("show search_path").fetchone() == ('"$user", public',)


@pytest.mark.parametrize("through_pgbouncer", ["session"], indirect=True)
def test_pgbouncer_in_session_mode_is_used_and_its_sessions_are_restored(
    through_pgbouncer,
):
    for _ in range(6):  # of a pool of five
        with database.connect_to(through_pgbouncer, "MY_URL") as connection:
            assert connection.execute("show search_path").fetchone() == ("pg_catalog",)
        with psycopg.connect(through_pgbouncer, autocommit=True) as other:
            assert other.execute("show search_path").fetchone() == ('"$user", public',)


def test_a_direct_connection_is_not_taken_for_a_pooler(database_url, is_long):
    for _ in range(300 if is_long else 10):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connect = lambda: psycopg.connect(database_url, autocommit=True)  # noqa: E731
            assert not pooler.pools_transactions(connection, connect)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_pooler_in_session_mode_is_used_and_its_sessions_are_restored(path, name, choice):
    with pooling(path, name, "session", choice) as pool:

        def states() -> list[tuple]:
            """Of every session in the pool."""
            clients = [psycopg.connect(pool.url, autocommit=True) for _ in range(3)]
            found = [client.execute(STATE).fetchone() for client in clients]
            for client in clients:
                client.close()
            pool.wait_for_all(3)
            return found

        before = states()
        for _ in range(3):
            connection = database.connect_to(pool.url, "MY_URL")
            assert connection.execute("show search_path").fetchone() == ("pg_catalog",)
            assert connection.execute("show statement_timeout").fetchone() == ("0",)
            connection.execute("select pg_advisory_lock(1)")
            connection.execute("create temporary table mine ()")
            for number in range(10):
                assert connection.execute("select %s::int", [number]).fetchone() == (number,)
            with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
                connection.execute("select 1 / 0")
            connection.close()
            pool.wait_for_all(3)
            assert states() == before


def test_a_session_that_was_not_closed_is_restored(path, name):
    """Even in the middle of a transaction, when the process ends."""
    with pooling(path, name, "session", size=2) as pool:
        program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pipeline import database
kept = database.connect_to({pool.url!r}, "MY_URL")
kept.execute("begin")
kept.execute("select 1")
"""
        for _ in range(2):
            subprocess.run([sys.executable, "-c", program], check=True)
        pool.wait_for_all(2)
        with closing(psycopg.connect(pool.url, autocommit=True)) as client:
            assert client.execute("show search_path").fetchone() != ("pg_catalog",)


def test_a_pool_without_a_free_session_is_not_taken_for_transaction_mode(path, name, monkeypatch):
    monkeypatch.setattr(pooler, "PATIENCE", 0.1)
    with pooling(path, name, "session", size=1) as pool:
        database.connect_to(pool.url, "MY_URL").close()


def test_prod_behind_a_pooler_in_transaction_mode_ends_with_78(place: Place):  # noqa: F811
    parts = urlsplit(place.here.prod_database_url)
    path = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"
    with (
        pooling(path, parts.path[1:], "transaction") as pool,
        pytest.raises(SettingError, match="PROD_DATABASE_URL leads to a pooler"),
    ):
        publish.run(replace(place.here, prod_database_url=pool.url))
    facts = place.run()
    assert facts["outcome"] == "published", facts["reason"]
