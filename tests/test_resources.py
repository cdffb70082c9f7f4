"""Every kind of thing in a dbt project is built and published by the same rules, or held with what
to write instead; and a database in which some sources were never loaded publishes what it can.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_hold import MARTS, STAGING, Place, memory, place  # noqa: F401 - fixtures

from pipeline.database import catalog
from pipeline.marts import freshness, resources, row_guard
from pipeline.schema import table
from pipeline.settings import ROOT
from pipeline.stages import transform

FREE = "{{ config(contract={'enforced': false}"


def node(kind: str, made_as: str, schema: str, **more) -> SimpleNamespace:
    config = SimpleNamespace(materialized=made_as, column_types={}, delimiter=",")
    return SimpleNamespace(resource_type=kind, schema=schema, config=config, **more)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (node("model", "table", "transformed_next"), ""),
        (node("model", "table", "staging"), ""),
        (node("model", "view", "staging"), ""),
        (node("model", "ephemeral", "transformed_next"), ""),
        (node("model", "ephemeral", "transformed"), ""),
        (node("function", "function", "staging"), ""),
        (node("model", "view", "transformed_next"), "write materialized='table'"),
        (node("model", "incremental", "transformed_next"), "write materialized='table', and let"),
        (node("model", "incremental", "staging"), "write materialized='table', and let"),
        (node("snapshot", "snapshot", "staging"), "write materialized='table', and let"),
        (node("snapshot", "snapshot", "transformed_next"), "write materialized='table', and let"),
        (node("model", "materialized_view", "staging"), "write materialized='table', or 'view'"),
        (node("model", "materialized_view", "transformed_next"), "write materialized='table'"),
        (node("model", "my_own", "staging"), "my_own is not supported: write"),
        (node("model", "table", "staging", language="python"), "write SQL"),
        (node("model", "table", "transformed"), "move it to models/marts"),
        (node("seed", "seed", "transformed"), "move it to models/marts"),
        (node("model", "view", "source"), "move it to models/marts"),
        (node("function", "function", "transformed_next"), "such as staging"),
    ],
)
def test_each_kind_is_built_or_says_what_to_write(made, words):
    told = resources.refusal(made, "transformed_next")
    assert (words in told) if words else told == ""


@pytest.mark.parametrize("made_as", ["table", "view", "incremental"])
def test_a_mart_in_a_schema_that_is_not_published_is_held(made_as):
    folder = ["transform", "marts", "health"]
    made = node("model", made_as, "elsewhere", fqn=[*folder, "clinics"])
    assert "take schema out of its config" in resources.refusal(made, "transformed_next")
    made = node("model", "table", "transformed_next", fqn=[*folder, "clinics"])
    assert resources.refusal(made, "transformed_next") == ""


@pytest.mark.parametrize("kind", ["model", "seed"])
def test_an_unlogged_table_is_held(kind):
    made = node(kind, "table", "transformed_next")
    made.config._extra = {"unlogged": True}
    assert "take unlogged out" in resources.refusal(made, "transformed_next")


@pytest.mark.parametrize(
    ("text", "types", "delimiter", "words"),
    [
        ("fips,n\n01001,1\n02002,2\n", {}, ",", "column_types: {fips: text}"),
        ("fips;n\n01001;1\n", {}, ";", "column_types: {fips: text}"),
        ("a,b\n00,01\n10,007\n", {}, ",", "column_types: {a: text, b: text}"),
        ("\ufefffips\n01001\n", {}, ",", "column_types: {fips: text}"),
        ("fips,n\n01001,1\n", {"fips": "text"}, ",", ""),
        ("code\n01001\nA1\n", {}, ",", ""),
        ("n,x\n0,0.5\n10,-1\n", {}, ",", ""),
        ("n,x\n 7,1e5\n-0.5,.5\n+1,2.\n,null\n", {}, ",", ""),
        ("share\n5%\n10%\n", {}, ",", "(5%): declare column_types: {share: text}"),
        ("price\n1\n$5\n", {}, ",", "($5): declare column_types: {price: text}"),
        ('size\n"1,5"\n2\n', {}, ",", "(1,5): declare column_types: {size: text}"),
        ("n\n\u0663\n", {}, ",", "column_types: {n: text}"),
        ("n\nInf\n1\n", {}, ",", "(Inf): declare column_types: {n: text}"),
        ("share\n5%\nunknown\n", {}, ",", ""),
        ("day\n2026-01-02\n", {}, ",", ""),
        ("", {}, ",", ""),
    ],
)
def test_a_seed_keeps_its_leading_zeros_or_is_held(tmp_path: Path, text, types, delimiter, words):
    (tmp_path / "codes.csv").write_text(text, "utf-8")
    seed = node("seed", "seed", "staging", root_path=str(tmp_path), original_file_path="codes.csv")
    seed.config.column_types, seed.config.delimiter = types, delimiter
    told = resources.refusal(seed, "transformed_next")
    assert (words in told) if words else told == ""


def test_a_seed_that_is_not_utf8_is_held(tmp_path: Path):
    (tmp_path / "codes.csv").write_bytes(b"a\n\xff\n")
    seed = node("seed", "seed", "staging", root_path=str(tmp_path), original_file_path="codes.csv")
    assert "not a CSV in UTF-8" in resources.refusal(seed, "transformed_next")


BUILT = {
    "seeds/kinds.csv": "kind,label\na,first\nb,second\n",
    "seeds/published.csv": "code,label\n1,one\n2,two\n",
    "seeds/seeds.yml": """
version: 2
seeds:
  - {name: published, config: {schema: transformed_next}}
""",
    STAGING + "int_kinds.sql": "{{ config(materialized='table') }} select * from"
    " {{ ref('kinds') }}",
    STAGING + "int_on_a_table.sql": "select * from {{ ref('int_kinds') }}",
    MARTS + "inlined.sql": FREE + ", materialized='ephemeral') }} select * from"
    " {{ ref('int_on_a_table') }}",
    MARTS + "kinds_of_towns.sql": FREE + ", alias='town_kinds') }} select town, kinds.*,"
    " {{ function('twice') }}(2) as four, packed.one from {{ ref('stg_towns') }}"
    " cross join {{ ref('inlined') }} as kinds cross join {{ ref('packed') }} as packed",
    "functions/twice.sql": "select n * 2",
    "functions/functions.yml": """
functions:
  - name: twice
    arguments: [{name: n, data_type: integer}]
    returns: {data_type: integer}
""",
    "analyses/looked_at.sql": "select * from {{ ref('ages') }}",
    "dbt_packages/helper/dbt_project.yml": "{name: helper, version: '1.0', config-version: 2}",
    "dbt_packages/helper/models/packed.sql": "select 1 as one",
}


def test_resources_of_every_kind_are_published_by_the_same_rules(place):  # noqa: F811
    for name, text in BUILT.items():
        place.write(name, text)
    facts = place.run()
    assert (facts["held"], facts["failed"]) == ({}, {})
    assert facts["published"] == ["published", "town_kinds"]
    assert place.rows("town_kinds")[0] == ("bonn", "a", "first", 4, 1)
    assert place.rows("published") == [(1, "one"), (2, "two")]
    about = place.owner.execute("select obj_description('transformed.town_kinds'::regclass)")
    assert about.fetchone()[0].startswith("Sources: towns (")
    place.load("towns", "ulm, bonn, kiel")  # still correct though nothing below changed
    facts = place.run()
    assert (facts["held"], facts["failed"]) == ({}, {})
    assert facts["published"] == ["town_kinds", "towns"]
    place.write("seeds/kinds.csv", "kind,label,more\na,first,x\n")  # a seed gains a column
    place.write("seeds/published.csv", "code,label\n1,one\n3,three\n")
    facts = place.run(accepted=["town_kinds"])
    assert (facts["held"], facts["failed"]) == ({}, {})
    assert facts["published"] == ["published", "town_kinds"]
    assert place.rows("town_kinds")[0] == ("bonn", "a", "first", "x", 4, 1)
    assert place.rows("published") == [(1, "one"), (3, "three")]


def test_models_that_keep_rows_of_earlier_nights_are_held_and_the_others_published(place):  # noqa: F811
    place.write(MARTS + "grown.sql", FREE + ", materialized='incremental') }} select 1 as x")
    place.write(STAGING + "int_grown.sql", "{{ config(materialized='incremental') }} select 1 as x")
    place.write(MARTS + "of_grown.sql", FREE + ") }} select * from {{ ref('int_grown') }}")
    place.write(
        STAGING + "alone.sql", "{{ config(materialized='materialized_view') }} select 1 as x"
    )
    place.write(
        "snapshots/seen.yml",
        """
snapshots:
  - name: seen
    relation: ref('stg_towns')
    config: {unique_key: town, strategy: check, check_cols: all}
""",
    )
    place.write(MARTS + "of_seen.sql", FREE + ") }} select * from {{ ref('seen') }}")
    place.load("towns", "ulm, bonn, kiel")
    facts = place.run()
    assert facts["published"] == ["towns"]
    assert sorted(facts["held"]) == ["grown", "of_grown", "of_seen"]
    assert all("materialized='table'" in reason for reason in facts["held"].values())
    assert list(facts["failed"]) == ["alone"]
    assert "int_grown: it is incremental" in facts["held"]["of_grown"]


# Sources that were never loaded


def test_an_empty_table_replaces_a_source_that_was_never_loaded(place, monkeypatch, tmp_path):  # noqa: F811
    declared = tmp_path / "fires.sql"
    declared.write_text('create table if not exists source.fires (\n    "fire" text\n);\n')
    monkeypatch.setattr(table.declaration, "path", lambda source: tmp_path / f"{source}.sql")
    sources = (place.project / STAGING / "_sources.yml").read_text()
    names = "{name: fires}, {name: gone}, {name: broken}, "
    place.write(
        STAGING + "_sources.yml", sources.replace("[{name: people}", f"[{names}{{name: people}}")
    )
    for name in ("fires", "gone", "broken"):
        select = f"select * from {{{{ source('source', '{name}') }}}}"
        place.write(MARTS + f"all_{name}.sql", FREE + f") }}}} {select}")
    (tmp_path / "broken.sql").write_text('create table if not exists source.broken ("x" text) oh;')
    place.load("towns", "ulm, bonn, kiel")
    facts = place.run()
    assert facts["published"] == ["all_fires", "towns"]
    assert place.rows("all_fires") == []
    assert "no load/gone.sql that would make it" in facts["held"]["all_gone"]
    assert "cannot be made by load/broken.sql" in facts["held"]["all_broken"]
    # A table that was never loaded follows its declaration.
    declared.write_text(
        declared.read_text().replace('"fire" text', '"fire" text,\n    "size" text')
    )
    assert table.make_sure(place.owner, "fires", is_loaded=False) == ""
    assert "size" in place.owner.execute("select * from source.fires").description[1].name
    # A dropped table that was loaded before is not empty: what is made from it keeps its last rows.
    place.owner.execute("drop table source.towns cascade")
    place.write(MARTS + "towns.sql", "select town from {{ ref('stg_towns') }} where true")
    facts = place.run()
    assert "./run_pipeline.sh load towns brings it back" in facts["held"]["towns"]
    assert place.rows("towns") == [("bonn",), ("kiel",), ("ulm",)]


def test_an_empty_table_of_a_source_never_loaded_is_missing_not_fresh():
    tables = {"fires": freshness.Table("published", rows=0)}
    (_, row) = freshness.rows({"fires": {}}, {}, tables, {"fires": ["fires"]}, {})
    assert (row.state, row.reason) == ("missing", "missing: fires")


# Rows


def test_a_table_that_loses_most_of_its_rows_is_held_until_it_is_accepted(place):  # noqa: F811
    place.load("towns", "a, b, c, d, e, ulm, bonn")
    assert place.run()["published"] == ["towns"]
    place.write(
        MARTS + "towns.sql", "select town from {{ ref('stg_towns') }} where length(town) > 2"
    )
    reason = place.run()["held"]["towns"]
    assert "2 rows where 7 are expected" in reason
    assert "transform --accept-rows towns" in reason
    assert len(place.rows("towns")) == 7
    assert list(place.run(accepted=["towns"])["held"]) == ["towns"], "columns are another matter"
    facts = place.run(accepted_rows=["towns"])
    assert (facts["published"], len(place.rows("towns"))) == (["towns"], 2)
    assert place.run() == {"outcome": "unchanged"}
    place.write(
        MARTS + "towns.sql",
        "{{ config(meta={'may_shrink': true}) }} select 'ulm' as town"
        " from {{ ref('stg_towns') }} where false",
    )
    place.write(
        MARTS + "ages.sql",
        "select person, age::integer as age, null::text as town from {{ ref('stg_people') }}",
    )
    assert place.run()["held"] == {}


def test_a_table_may_lose_the_share_that_its_sources_lost(place):  # noqa: F811
    place.load("towns", "a, b, c, d, e, f, ulm, bonn")
    assert place.run()["published"] == ["towns"]
    place.load("towns", "ulm, bonn")  # which the guard of sources accepted
    facts = place.run()
    assert (facts["published"], facts["held"]) == (["towns"], {})
    place.load("towns", "a, b, c, d, e, f, g, h, ulm, bonn")
    place.run()
    place.load("towns", "ulm, bonn, a, b, c")
    place.write(
        MARTS + "towns.sql", "select town from {{ ref('stg_towns') }} where length(town) > 2"
    )
    assert "2 rows where 5 are expected" in place.run()["held"]["towns"]


@pytest.mark.parametrize(
    ("before", "now", "is_lost"),
    [(10, 5, False), (10, 4, True), (1, 0, True), (0, 0, False), (3, 1, True), (None, 1, True)],
)
def test_below_half_is_lost(monkeypatch, before, now, is_lost):
    known = {"t": {"rows": before, "step_id": 1}} if before is not None else {}
    monkeypatch.setattr(row_guard.ledger, "newest", lambda *words: known)
    monkeypatch.setattr(row_guard, "_share_left", lambda *words: 1.0)
    monkeypatch.setattr(catalog, "tables", lambda connection: {"t": 1})
    counts = {catalog.PUBLISHED: 9, catalog.NEXT: now}
    monkeypatch.setattr(row_guard, "_count", lambda connection, schema, name: counts[schema])
    assert (list(row_guard.losses(None, {"t": [], "new": []})) == ["t"]) is is_lost


def test_only_existing_names_can_be_accepted():
    assert transform.has_model("int_loaded_sources")
    assert not transform.has_model("int_loaded_source")


@pytest.mark.parametrize("option", ["--accept-rows", "--accept-contract"])
def test_an_unknown_model_cannot_be_accepted(option):
    command = [sys.executable, "-m", "pipeline", "transform", option, "no_model"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"STAGES": "transform"}, capture_output=True, text=True
    )
    assert done.returncode == 64
    assert "there is no model no_model" in done.stderr
