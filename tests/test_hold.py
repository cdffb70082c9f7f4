"""A failure holds its model and everything made from it; everything else is published."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dbt_project
import psycopg
import pytest

from pipeline import database, embedded
from pipeline.database import catalog, ledger
from pipeline.errors import SourceError
from pipeline.marts import alterations, build, data_status, dbt_runner, marks, publication
from pipeline.settings import Settings
from pipeline.stages import transform

PUBLISHED = "published_once"  # a database
MARTS = "models/marts/"
STAGING = "models/staging/"
# people -> ages -> averages, towns beside them; towns and ages are held together by tests.
PROJECT = {
    STAGING + "_sources.yml": """
version: 2
sources:
  - {name: source, schema: source, tables: [{name: people}, {name: towns}]}
""",
    STAGING + "stg_people.sql": "select * from {{ source('source', 'people') }}",
    STAGING + "stg_towns.sql": "select * from {{ source('source', 'towns') }}",
    STAGING + "staging.yml": """
version: 2
models:
  - {name: stg_people, columns: [{name: person, data_tests: [not_null]}]}
""",
    MARTS + "ages.sql": "select person, age::integer as age, town from {{ ref('stg_people') }}",
    MARTS + "averages.sql": "select avg(age)::integer as age from {{ ref('ages') }}",
    MARTS + "towns.sql": "select town from {{ ref('stg_towns') }}",
    MARTS + "marts.yml": """
version: 2
models:
  - name: ages
    config: {contract: {enforced: false}}
    columns:
      - name: person
        data_tests: [unique]
      - name: town
        data_tests: [{relationships: {arguments: {to: ref('towns'), field: town}}}]
  - name: averages
    config: {contract: {enforced: false}}
  - name: towns
    config: {contract: {enforced: false}}
    columns: [{name: town, data_tests: [unique]}]
""",
}


class Place:
    """A database with two sources, and a dbt project over them."""

    def __init__(self, here: Settings, project: Path, owner: psycopg.Connection):
        self.here, self.project, self.owner = here, project, owner
        self.loads = 0

    def load(self, source: str, rows: str) -> None:
        """Replace the rows of a source, as stage load does: `a 1 x, b 2 y`."""
        self.owner.execute(f"truncate source.{source}")
        for row in rows.split(", "):
            values = ", ".join(f"'{value}'" for value in row.split())
            self.owner.execute(f"insert into source.{source} values ({values})")
        self.loads += 1
        ledger.begin(self.owner, "run", "load", "2026-01-01T00:00:00Z")
        facts = {"outcome": "new", "rows": len(rows.split(", "))}
        ledger.note(self.owner, "run", "load", source, facts, f"load {self.loads}")
        marks.flush(self.owner)

    def write(self, name: str, text: str) -> None:
        dbt_project.write(self.project, {name: text})

    def run(self, **words) -> dict:
        return transform.run(self.here, **words)

    def rows(self, table: str) -> list[tuple]:
        return self.owner.execute(f"select * from transformed.{table} order by 1").fetchall()


@pytest.fixture(scope="module")
def memory(tmp_path_factory, server_settings: Settings) -> Iterator[Path]:
    """What dbt saves of the project, from one test to the next; with it the database."""
    yield tmp_path_factory.mktemp("dbt") / "partial_parse.msgpack"
    with psycopg.connect(embedded.url(server_settings), autocommit=True) as owner:
        owner.execute(f"drop database if exists {PUBLISHED}")


@pytest.fixture
def place(
    here: Settings, server_settings, database_url, tmp_path: Path, memory, monkeypatch
) -> Iterator[Place]:
    """Two people in two towns, published as generation 1: built once per module, then copied."""
    settings = replace(here, database_url=database_url, publish_patience=20)
    settings.state.mkdir(parents=True)
    with (
        dbt_project.use(tmp_path / "transform", PROJECT, monkeypatch) as project,
        dbt_project.parsed_once(settings, memory),
    ):
        with psycopg.connect(embedded.url(server_settings), autocommit=True) as admin:
            if not memory.exists():
                _publish(settings, project)
                admin.execute(f"create database {PUBLISHED} template test")
                shutil.copy(settings.state / "dbt" / memory.name, memory)
            else:
                admin.execute("drop database test")
                admin.execute(f"create database test template {PUBLISHED}")
        with database.connect(settings) as owner:
            # A copy has the same rows and new counters, which are recorded.
            assert alterations.altered_sources(owner) == alterations.altered_tables(owner) == {}
            made = Place(settings, project, owner)
            made.loads = 2
            yield made


def _publish(settings: Settings, project: Path) -> None:
    with database.connect(settings) as owner:
        database.prepare(owner)
        owner.execute(
            "create table source.people (person text, age text, town text);"
            "create table source.towns (town text)"
        )
        made = Place(settings, project, owner)
        made.load("people", "ann 30 ulm, bob 40 bonn")
        made.load("towns", "ulm, bonn")
        facts = made.run()
        assert (facts["outcome"], facts["generation"], facts["held"]) == ("published", 1, {})


def test_only_models_made_from_a_changed_source_are_built(place):
    place.load("towns", "ulm, bonn, kiel")
    facts = place.run()
    assert (facts["published"], facts["generation"]) == (["towns"], 2)
    assert facts["tables"] == ["ages", "averages", "towns"]
    assert facts["sources"] == {"ages": ["people"], "averages": ["people"], "towns": ["towns"]}
    steps = ledger.newest(place.owner, "transform", ("published",))
    assert [steps[n]["facts"]["generation"] for n in ("ages", "averages", "towns")] == [1, 1, 2]
    assert len(place.rows("towns")) == 3


def by_hand(place: Place, statement: str) -> None:
    with psycopg.connect(place.here.database_url, autocommit=True) as somebody:
        somebody.execute(statement)
        marks.flush(somebody)


def test_a_table_that_somebody_changed_is_built_again(place):
    assert place.run()["outcome"] == "unchanged"
    changes = ("delete from {}", "update {} set town = 'x'", "truncate {}")
    for number, change in enumerate(changes, 2):
        by_hand(place, change.format("transformed.towns"))
        facts = place.run()
        assert (facts["published"], facts["generation"]) == (["towns"], number), change
        assert place.rows("towns") == [("bonn",), ("ulm",)]
    assert place.run()["outcome"] == "unchanged"


@pytest.mark.parametrize(
    "by_hand",
    [
        "create or replace view staging.stg_towns as select * from ({}) as q where town < 'k'",
        "create or replace view staging.stg_towns as select * from ({}) as q limit 2",
        "drop view staging.stg_towns; create view staging.stg_towns as select * from ({}) as q"
        " where town <> 'ulm'",
    ],
)
def test_a_view_that_somebody_replaced_is_recreated(place, by_hand):
    place.load("towns", "ulm, bonn, kiel")
    place.run()
    place.owner.execute("set search_path = pg_catalog")
    words = place.owner.execute("select pg_get_viewdef('staging.stg_towns'::regclass)").fetchone()
    for statement in by_hand.split(";"):
        place.owner.execute(statement.format(words[0].rstrip(";")))
    place.write(MARTS + "towns.sql", "select town from {{ ref('stg_towns') }} where true")
    assert place.run()["published"] == ["towns"]
    assert place.rows("towns") == [("bonn",), ("kiel",), ("ulm",)]


def test_nothing_is_built_from_rows_that_somebody_changed(place):
    assert place.run()["outcome"] == "unchanged"
    by_hand(place, "update source.people set age = '99'")
    place.write(MARTS + "averages.sql", "select max(age) as age from {{ ref('ages') }}")
    place.load("towns", "ulm, bonn, kiel")
    facts = place.run()
    assert facts["published"] == ["towns"]
    assert facts["held"]["averages"].startswith("somebody changed source.people, rows of it")
    assert "./run_pipeline.sh load people" in facts["held"]["averages"]
    assert place.rows("averages") == [(35,)]
    place.load("people", "ann 30 ulm, bob 40 bonn")
    assert place.run()["published"] == ["ages", "averages"]
    assert place.rows("averages") == [(40,)]


def test_only_what_a_changed_model_macro_or_test_affects_is_built(place):
    place.write(MARTS + "averages.sql", "select max(age) as age from {{ ref('ages') }}")
    assert place.run()["published"] == ["averages"]
    macro = "{% macro whole(what) %}{{ what }}::integer{% endmacro %}"
    place.write("macros/whole.sql", macro)
    assert place.run()["outcome"] == "unchanged"
    place.write(
        MARTS + "averages.sql", "select {{ whole('max(age)') }} as age from {{ ref('ages') }}"
    )
    assert place.run()["published"] == ["averages"]
    place.write("macros/whole.sql", macro.replace("{{ what }}", "({{ what }})"))
    assert place.run()["published"] == ["averages"]
    place.write("tests/grown.sql", "select * from {{ ref('averages') }} where age < 18")
    assert place.run()["published"] == ["averages"]
    declared = (place.project / "dbt_project.yml").read_text()
    place.write("dbt_project.yml", declared + "\nvars: {least_age: 18}\n")
    assert place.run()["published"] == ["ages", "averages", "towns"], "any may ask for it"
    assert place.run(force=True)["published"] == ["ages", "averages", "towns"]


def test_a_view_is_recreated_only_if_an_earlier_build_did_not_create_it(place):
    def oid() -> int:
        return place.owner.execute("select 'staging.stg_people'::regclass::oid").fetchone()[0]

    before = oid()
    place.load("people", "ann 31 ulm")
    place.run()
    assert (oid(), place.rows("ages")) == (before, [("ann", 31, "ulm")])
    # As a killed build may leave it, of a project that was corrected since.
    place.owner.execute(
        """drop view staging.stg_people;
        create view staging.stg_people as select person, '1' as age, town from source.people"""
    )
    place.load("people", "ann 32 ulm")
    place.run()
    assert (oid() != before, place.rows("ages")) == (True, [("ann", 32, "ulm")])


def test_a_failing_test_holds_its_model_and_its_descendants(place):
    place.load("people", "ann 30 ulm, ann 31 ulm")
    place.load("towns", "ulm, bonn, kiel")
    facts = place.run()
    assert (facts["outcome"], facts["published"]) == ("held", ["towns"])
    assert facts["held"]["averages"] == "it is made from ages"
    assert "test unique_ages_person failed: Got 1 result" in facts["held"]["ages"]
    assert place.rows("ages") == [("ann", 30, "ulm"), ("bob", 40, "bonn")]
    assert place.rows("averages") == [(35,)]
    assert len(place.rows("towns")) == 3
    assert ledger.newest(place.owner, "transform")["ages"]["outcome"] == "held"
    place.load("people", "ann 30 ulm, cid 50 kiel")  # the publisher corrected it
    assert place.run()["published"] == ["ages", "averages"]
    assert place.rows("averages") == [(40,)]


def test_the_rows_that_failed_a_test_are_kept(place):
    place.load("people", "ann 30 ulm, ann 31 ulm")
    (reason,) = [r for n, r in place.run()["held"].items() if n == "ages"]
    relation = reason.partition("(rows: ")[2].partition(")")[0]
    assert place.owner.execute(f"select * from {relation}").fetchall() == [("ann", 2)]
    assert "n_records 2, unique_field ann" in reason


def test_a_repeated_or_missing_key_holds_its_table_and_is_named(place):
    keys = "select nullif(person, 'nobody') as person from {{ ref('stg_people') }}"
    place.write(MARTS + "keys.sql", keys)
    place.write(
        MARTS + "keys.yml",
        """
version: 2
models:
  - name: keys
    constraints: [{type: primary_key, name: keys_pkey, columns: [person]}]
    columns: [{name: person, data_type: text}]
""",
    )
    assert "keys" in place.run()["published"]
    place.load("people", "ann 30 ulm, ann 31 ulm")
    reason = place.run()["held"]["keys"]
    assert 'could not create unique index "keys_pkey" DETAIL:  Key (person)=(ann)' in reason
    place.load("people", "nobody 30 ulm")
    assert 'column "person" of relation "keys" contains null values' in place.run()["held"]["keys"]
    assert place.rows("keys") == [("ann",), ("bob",)]


def test_a_model_that_cannot_be_built_is_held_and_tried_again_every_night(place):
    place.load("people", "ann old ulm")
    facts = place.run()
    assert sorted(facts["held"]) == ["ages", "averages"]
    assert 'invalid input syntax for type integer: "old"' in facts["held"]["ages"]
    assert facts["generation"] == 1, "nothing went out"
    assert not transform.is_current(place.owner)
    again = place.run()
    assert (again["outcome"], again["held"]) == ("held", facts["held"])
    assert place.rows("ages") == [("ann", 30, "ulm"), ("bob", 40, "bonn")]


def test_a_failing_test_of_a_view_holds_the_marts_made_from_it(place):
    place.owner.execute("alter table source.people alter person drop not null")
    place.load("people", "ann 30 ulm")
    place.owner.execute("update source.people set person = null")
    facts = place.run()
    assert sorted(facts["held"]) == ["ages", "averages"]
    assert "not_null_stg_people_person" in facts["held"]["ages"]
    assert place.run()["outcome"] == "held", "the test is not forgotten because the view is old"


def test_a_view_that_cannot_be_built_holds_the_marts_made_from_it(place):
    place.write(STAGING + "stg_towns.sql", "select nonsense from {{ source('source', 'towns') }}")
    place.load("people", "ann 31 ulm, bob 40 bonn")
    facts = place.run()
    assert (list(facts["held"]), facts["published"]) == (["towns"], ["ages", "averages"])
    assert "stg_towns cannot be built" in facts["held"]["towns"]


def test_a_model_that_fails_on_its_first_night_is_missing(place):
    place.write(MARTS + "new.sql", "{{ config(contract={'enforced': false}) }} select 1 / 0 as x")
    facts = place.run()
    assert (list(facts["held"]), facts["tables"]) == (["new"], ["ages", "averages", "towns"])
    assert "new" not in catalog.tables(place.owner)


def test_a_test_across_a_held_and_a_published_table_runs_on_what_would_be_published(place):
    """Towns must not be published without bonn while the held old ages name it."""
    place.load("people", "ann 30 ulm, ann 31 ulm")  # fails its own test: the old ages stay
    place.load("towns", "ulm")  # enough for tonight's ages, not for the old ones
    facts = place.run()
    assert sorted(facts["held"]) == ["ages", "averages", "towns"]
    assert "relationships_ages_town" in facts["held"]["towns"]
    assert place.rows("towns") == [("bonn",), ("ulm",)]
    assert facts["generation"] == 1


def test_a_test_across_an_unchanged_and_a_new_table_holds_the_new_one(place):
    place.load("towns", "ulm")
    facts = place.run()
    assert list(facts["held"]) == ["towns"]
    assert place.rows("towns") == [("bonn",), ("ulm",)]


def test_a_test_that_names_its_model_holds_no_other(place):
    about = "{{ config(meta={'about': 'averages'}) }}"
    select = (
        "select 1 from {{ ref('averages') }} as a cross join {{ ref('ages') }} where a.age > 90"
    )
    place.write("tests/young.sql", f"{about} {select}")
    place.load("people", "ann 99 ulm")
    facts = place.run()
    assert (list(facts["held"]), facts["published"]) == (["averages"], ["ages"])


def test_a_failure_that_is_about_no_mart_is_reported_and_degrades(place):
    place.write(STAGING + "uncastable_values.sql", "select nonsense")
    place.load("towns", "ulm, bonn, kiel")
    facts = place.run()
    assert (facts["outcome"], facts["held"], facts["published"]) == ("held", {}, ["towns"])
    assert "nonsense" in facts["failed"]["uncastable_values"]
    assert facts["reason"] == "trouble with uncastable_values"


def test_a_mart_that_is_a_view_is_held(place):
    place.write(
        MARTS + "seen.sql",
        "{{ config(materialized='view', contract={'enforced': false}) }} select 1 as x",
    )
    assert "marts are tables" in place.run()["held"]["seen"]


def test_a_failing_unit_test_holds_its_model(place):
    place.write(
        MARTS + "unit.yml",
        """
unit_tests:
  - name: averages_are_odd
    model: averages
    given: [{input: ref('ages'), rows: [{person: x, age: 1, town: y}]}]
    expect: {rows: [{age: 2}]}
""",
    )
    facts = place.run()
    assert list(facts["held"]) == ["averages"]
    assert "averages_are_odd" in facts["held"]["averages"]


def test_a_unit_test_runs_again_only_when_code_changed(place, monkeypatch):
    place.write(
        MARTS + "unit.yml",
        """
unit_tests:
  - name: averages_are_of_ages
    model: averages
    given: [{input: ref('ages'), rows: [{person: x, age: 1, town: y}]}]
    expect: {rows: [{age: 1}]}
""",
    )
    built = []

    def build(self, fqns, without, build=dbt_runner.Dbt.build) -> list[dbt_runner.Result]:
        built[:] = build(self, fqns, without)
        return built

    monkeypatch.setattr(dbt_runner.Dbt, "build", build)

    def ran() -> bool:
        assert "averages" in place.run()["published"]
        return "averages_are_of_ages" in {result.name for result in built}

    assert ran()
    place.load("people", "ann 31 ulm")
    assert not ran()
    place.load("people", "ann 32 ulm")
    assert not ran(), "what was not run is remembered too"
    place.write(MARTS + "ages.sql", PROJECT[MARTS + "ages.sql"] + " where true")
    assert ran(), "what its model reads changed"
    place.write(
        MARTS + "averages.sql", "select max(age)::integer + 1 as age from {{ ref('ages') }}"
    )
    assert list(place.run()["held"]) == ["averages"]
    assert list(place.run()["held"]) == ["averages"], "one that failed is never taken as passed"


# The contract


def test_columns_change_only_when_accepted(place):
    place.write(
        MARTS + "averages.sql", "select 'x' as kind, avg(age) as age from {{ ref('ages') }}"
    )
    place.load("people", "ann 30 ulm")
    facts = place.run()
    assert facts["published"] == ["ages"]
    assert "kind text is new; age was integer and is numeric" in facts["held"]["averages"]
    assert "--accept-contract averages" in facts["held"]["averages"]
    assert place.rows("averages") == [(35,)]
    assert place.run(accepted=["averages"])["published"] == ["averages"]
    assert place.rows("averages") == [("x", 30)]
    assert place.run()["outcome"] == "unchanged"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("person, town", "age integer is gone"),
        ("age::integer as age, person, town", "the order was person, age, town and is age, person"),
        ("1 as x, person, age::integer as age, town", "x integer is new; new columns stand before"),
    ],
)
def test_every_difference_is_shown(place, columns, words):
    place.write(MARTS + "ages.sql", f"select {columns} from {{{{ ref('stg_people') }}}}")
    assert words in place.run()["held"]["ages"]


# Objects of others


def test_objects_of_others_hold_one_model_and_are_named(place):
    place.owner.execute("create materialized view public.m as select * from transformed.ages")
    place.owner.execute("create view public.v as select * from transformed.towns")
    place.load("people", "ann 31 ulm, bob 41 bonn")
    place.load("towns", "ulm, bonn, kiel")
    facts = place.run()
    assert (sorted(facts["held"]), facts["published"]) == (["ages", "averages"], ["towns"])
    assert "materialized view public.m" in facts["held"]["ages"]
    assert len(place.owner.execute("select * from public.v").fetchall()) == 3
    place.owner.execute("drop materialized view public.m")
    assert place.run()["published"] == ["ages", "averages"]


# Deleted models


def delete_averages(place) -> dict:
    """Delete a model and run; returns the facts of the run."""
    (place.project / MARTS / "averages.sql").unlink()
    marts = (place.project / MARTS / "marts.yml").read_text()
    place.write(MARTS + "marts.yml", marts.replace("  - name: averages\n", "  - name: nobody\n"))
    return place.run()


def test_the_table_of_a_deleted_model_is_dropped_after_a_time_of_grace(place, monkeypatch):
    facts = delete_averages(place)
    assert (facts["outcome"], list(facts["gone"])) == ("unchanged", ["averages"])
    assert "averages" in facts["tables"]
    assert place.run() == {"outcome": "unchanged"}
    assert place.rows("averages") == [(35,)]
    monkeypatch.setattr(build, "GRACE", build.GRACE * 0)
    facts = place.run()
    assert (facts["generation"], facts["tables"]) == (2, ["ages", "towns"])
    assert "averages" not in catalog.tables(place.owner)
    assert place.run() == {"outcome": "unchanged"}


def test_the_table_of_a_deleted_model_is_not_called_fresh(place):
    def told() -> tuple:
        data_status.refresh(place.owner, verified_at=datetime.now(UTC))
        return place.owner.execute(
            """select state, reason, as_of, expected_next_at from transformed.data_status
            where name = 'averages'"""
        ).fetchone()

    *_, due_before = told()
    delete_averages(place)
    state, reason, as_of, due = told()
    assert (state, reason) == ("held", "its model was deleted")
    assert due == due_before, "no later check finds it right"
    assert as_of
    assert told() == (state, reason, as_of, due)


def test_objects_of_others_on_the_table_of_a_deleted_model_hold_no_other_table(place, monkeypatch):
    delete_averages(place)
    place.owner.execute(
        "create view public.v as select * from transformed.averages, transformed.towns"
    )
    monkeypatch.setattr(build, "GRACE", build.GRACE * 0)
    place.load("towns", "ulm, bonn, kiel")
    facts = place.run()
    assert (facts["outcome"], facts["published"], facts["held"]) == ("held", ["towns"], {})
    assert "public" in facts["failed"]["averages"]
    assert facts["reason"] == "trouble with averages"
    assert list(facts["gone"]) == ["averages"]
    assert len(place.owner.execute("select * from public.v").fetchall()) == 3
    place.owner.execute("drop view public.v")
    assert (place.run()["outcome"], place.run()) == ("published", {"outcome": "unchanged"})
    assert "averages" not in catalog.tables(place.owner)


# The moment of publication


def test_a_commit_whose_response_was_lost_is_recognised(place, monkeypatch):
    publish = publication.publish

    def lose_the_answer(*words):
        publish(*words)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(publication, "publish", lose_the_answer)
    monkeypatch.setenv("PIPELINE_RUN", "tonight")
    place.load("towns", "ulm, bonn, kiel")
    assert (place.run()["generation"], len(place.rows("towns"))) == (2, 3)


def test_the_night_after_a_postponed_publication_publishes(place):
    place.load("towns", "ulm, bonn, kiel")
    with psycopg.connect(place.here.database_url) as reader:
        reader.execute("select * from transformed.towns")
        with pytest.raises(SourceError, match="postponed: readers hold"):
            transform.run(replace(place.here, publish_patience=1))
    assert place.run()["published"] == ["towns"]
