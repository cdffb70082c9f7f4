"""Stage transform: dbt builds, and only what passed its tests is published."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dbt_project
import psycopg
import pytest

from pipeline import database
from pipeline.database import ledger
from pipeline.errors import PipelineError
from pipeline.marts import dbt_runner
from pipeline.settings import Settings
from pipeline.stages import transform

MARTS = "models/marts/"
UNCASTABLE = "models/staging/uncastable_values.sql"
PROJECT = {
    UNCASTABLE: """select 'x' as source_name, 'c' as column_name, 'date' as target_type,
        2 as uncastable_count, 'never' as example""",
    MARTS + "numbers.sql": "select n as number_id from generate_series(1, 5) as n",
    MARTS + "squares.sql": "select number_id, number_id * number_id as square"
    " from {{ ref('numbers') }}",
    MARTS + "marts.yml": """
version: 2
models:
  - name: numbers
    config: {contract: {enforced: false}}
    columns: [{name: number_id, data_tests: [unique, not_null]}]
  - name: squares
    config: {contract: {enforced: false}}
""",
}


@pytest.fixture(scope="module")
def memory(tmp_path_factory) -> Path:
    """What dbt remembers of the project, from one test to the next."""
    return tmp_path_factory.mktemp("dbt") / "partial_parse.msgpack"


@pytest.fixture
def place(here: Settings, database_url, memory: Path) -> Iterator[Settings]:
    """Settings of an empty database whose name is not `dev`."""
    made = replace(here, database_url=database_url, publish_patience=5)
    made.state.mkdir(parents=True)
    with database.connect(made) as connection:
        database.prepare(connection)
    with dbt_project.parsed_once(made, memory):
        yield made


@pytest.fixture
def owner(place: Settings) -> Iterator[psycopg.Connection]:
    with database.connect(place) as connection:
        yield connection


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small dbt project under the settings and macros of the real one."""
    with dbt_project.use(tmp_path / "transform", PROJECT, monkeypatch) as folder:
        yield folder


def squares(connection: psycopg.Connection) -> int:
    return connection.execute("select sum(square)::int from transformed.squares").fetchone()[0]


def test_marts_are_built_tested_and_published(place, project, owner):
    facts = transform.run(place)
    assert (facts["outcome"], facts["generation"], facts["rows"]) == ("published", 1, 10)
    assert facts["tables"] == facts["published"] == ["numbers", "squares"]
    assert squares(owner) == 55
    assert facts["uncastable"] == [
        {"source": "x", "column": "c", "type": "date", "count": 2, "example": "never"}
    ]
    noted = ledger.newest(owner, "transform")
    assert noted["squares"]["rows"] == 5
    assert noted[ledger.ALL_MODELS]["fingerprint"] == transform.fingerprint_of(owner)


def test_without_a_change_dbt_is_not_started(place, project, owner, monkeypatch):
    transform.run(place)

    def start(*words):
        raise AssertionError("dbt was started")

    monkeypatch.setattr(transform, "Dbt", start)
    assert transform.run(place) == {"outcome": "unchanged"}
    with pytest.raises(AssertionError):
        transform.run(place, force=True)
    owner.execute("drop table transformed.squares")  # somebody did that by hand
    with pytest.raises(AssertionError):
        transform.run(place)


def test_sessions_of_dbt_are_free_of_an_administrators_limits(place, project, owner):
    for name, odd in {
        "statement_timeout": "'50ms'",
        "timezone": "'Asia/Tokyo'",
        "datestyle": "'SQL, DMY'",
        "default_transaction_read_only": "on",
    }.items():
        owner.execute(f"alter database {owner.info.dbname} set {name} = {odd}")
    (project / MARTS / "numbers.sql").write_text(
        """select 1 as number_id, current_setting('TimeZone') as zone,
        current_setting('DateStyle') as style, pg_sleep(0.2)::text as slept"""
    )
    transform.run(place)
    found = owner.execute("select zone, style from transformed.numbers").fetchall()
    assert found == [("UTC", "ISO, MDY")]


def test_a_test_that_only_warns_is_published_and_shown(place, project):
    (project / "tests").mkdir()
    (project / "tests" / "odd.sql").write_text(
        "{{ config(severity='warn') }} select * from {{ ref('squares') }}"
    )
    facts = transform.run(place)
    assert facts["outcome"] == "published"
    assert facts["warnings"] == {"odd": "Got 5 results, configured to warn if != 0"}
    (project / MARTS / "letters.sql").write_text(
        "{{ config(contract={'enforced': false}) }} select 'a' as letter"
    )
    facts = transform.run(place)
    assert facts["published"] == ["letters"]
    assert list(facts["warnings"]) == ["odd"], "it had no cause to run again, and still holds"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (MARTS + "squares.sql", "select {{ nonsense("),
        (MARTS + "squares.sql", "select * from {{ ref('nowhere') }}"),
        ("dbt_project.yml", "name: [unclosed"),
    ],
)
def test_a_project_that_does_not_parse_ends_the_run(place, project, owner, name, text):
    transform.run(place)
    (project / name).write_text(text)
    with pytest.raises(PipelineError, match=r"the dbt project does not parse: .+") as caught:
        transform.run(place)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert squares(owner) == 55


def test_a_project_without_a_table_publishes_nothing(place, project, owner):
    transform.run(place)
    for name in ("numbers.sql", "squares.sql", "marts.yml"):
        (project / MARTS / name).unlink()
    with pytest.raises(PipelineError, match="has no mart"):
        transform.run(place)
    assert squares(owner) == 55


def test_dbt_is_missing(place, project, monkeypatch):
    monkeypatch.setitem(sys.modules, "dbt.cli.main", None)
    with pytest.raises(PipelineError, match=r"dbt is not installed: .*delete \.venv") as caught:
        transform.run(place)
    assert caught.value.exit_code == 1


def test_dbts_folder_cannot_be_made(place, project):
    shutil.rmtree(place.state / "dbt", ignore_errors=True)  # what an earlier test remembered
    (place.state / "dbt").write_text("a file")
    with pytest.raises(PipelineError, match="state/dbt cannot be created"):
        transform.run(place)


def test_a_full_disk_is_no_fault_of_the_project(place, project, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device", "manifest.json")
    outcome = SimpleNamespace(exception=full, result=None)
    runner = SimpleNamespace(invoke=lambda words: outcome)
    monkeypatch.setattr("dbt.cli.main.dbtRunner", lambda manifest: runner)
    with pytest.raises(OSError, match="No space left"):
        transform.run(place)


def test_what_dbt_remembers_may_be_damaged(place, project, owner):
    transform.run(place)
    (place.state / "dbt" / "partial_parse.msgpack").write_bytes(b"rubbish")
    assert transform.run(place, force=True)["generation"] == 2


def test_the_database_goes_away_before_the_build(place, project, monkeypatch):
    def elsewhere(*words):
        given(*words)
        os.environ["DBT_PORT"] = "9"

    given = dbt_runner._give_connection
    monkeypatch.setattr(dbt_runner, "_give_connection", elsewhere)
    with pytest.raises(PipelineError) as caught:
        transform.run(place)
    assert "does not parse" not in str(caught.value)


# What the published tables are made of


def loaded(connection: psycopg.Connection, source: str, fingerprint: str) -> None:
    ledger.begin(connection, "run", "load", "2026-01-01T00:00:00Z")
    ledger.note(connection, "run", "load", source, {"outcome": "new"}, fingerprint)


def test_the_fingerprint_changes_with_rows_models_and_dbt_and_with_nothing_else(
    place, project, owner, monkeypatch
):
    seen = [transform.fingerprint_of(owner)]

    def is_new() -> bool:
        seen.append(transform.fingerprint_of(owner))
        return seen[-1] not in seen[:-1]

    loaded(owner, "x", "one")
    assert is_new()
    loaded(owner, "x", "two")
    assert is_new()
    (project / MARTS / "numbers.sql").write_text("select 1 as number_id")
    assert is_new()
    (project / "engine/macros" / "more.sql").write_text("{% macro more() %}{% endmacro %}")
    assert is_new()
    (project / "engine/macros" / "more.sql").rename(project / "engine/macros" / "other.sql")
    assert is_new()
    with monkeypatch.context() as patched:
        patched.setattr(dbt_runner, "version", lambda name: "99")
        assert is_new()

    before = transform.fingerprint_of(owner)
    loaded(owner, "x", "two")
    ledger.note(owner, "run", "load", "x", {"outcome": "failed"}, "three")
    os.utime(project / MARTS / "numbers.sql", (0, 0))
    for name in ("target/manifest.json", "logs/dbt.log", ".user.yml"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("changes on every run")
    assert transform.fingerprint_of(owner) == before
