"""Sync: a column is described in load/<source>.sql, and models inherit its description."""

import pytest

from pipeline import errors, settings
from pipeline.cli import sync
from pipeline.errors import SetupError
from pipeline.schema import declaration, descriptions

TABLE = """create table if not exists source.gauges (
    "gauge id" text,
    "level" text,
    "Kind" text
);

comment on table source.gauges is
'Water gauges: one row per gauge.
Publisher: a test.';
comment on column source.gauges."gauge id" is 'The gauge''s number, {{ as }} it is.';
comment on column source.gauges."level" is
'Water level, '
'metres.';
comment on column source.gauges."Kind" is 'Kind of gauge.';
"""
STAGING = """with

renamed as (

    select
        "gauge id" as gauge_id,  -- a comment, with a comma
        {{ cast_or_null('"level"', 'double precision') }} as level_m,
        {{ cast_or_null('"level"', 'integer') }} > 3 as is_high,
        "Kind" as kind,
        coalesce("Kind", "level") as label
    from {{ source('source', 'gauges') }}

)

select * from renamed
"""
MART = """with

gauges as (

    select * from {{ ref('stg_gauges') }}

),

final as (

    select
        gauges.gauge_id,
        gauges.level_m,
        gauges.is_high,
        gauges.kind,
        gauges.label
    from gauges

)

select * from final
"""
DESCRIBED = """version: 2

models:
  - name: water_gauges
    columns:
      - name: gauge_id
        data_type: text
        description: >
          Number. Key.
        data_tests: [not_null]
      - name: is_high
        data_type: boolean
        description: Whether it is high.
      - name: label
        data_type: text
        description: A label.

unit_tests:
  - name: kind
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A project with one source, its staging model and a mart that lacks two descriptions."""
    models = tmp_path / "transform" / "models"
    (models / "staging").mkdir(parents=True)
    (models / "marts").mkdir()
    (tmp_path / "load").mkdir()
    (tmp_path / "load" / "gauges.sql").write_text(TABLE)
    (models / "staging" / "stg_gauges.sql").write_text(STAGING)
    (models / "marts" / "water_gauges.sql").write_text(MART)
    (models / "marts" / "water_gauges.yml").write_text(DESCRIBED)
    for module in (declaration, descriptions, sync):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(settings, "sources", lambda: ["gauges"])
    monkeypatch.setattr(descriptions, "MODELS", models)
    monkeypatch.setattr(descriptions, "STAGING", models / "staging")
    monkeypatch.setattr(descriptions, "SOURCES_FILE", models / "staging" / "_sources.yml")
    monkeypatch.setattr(descriptions, "COLUMNS_FILE", models / "staging" / "_columns.md")
    return tmp_path


def test_this_project_is_in_step():
    names = settings.sources()
    if not names:
        pytest.skip(settings.NO_SOURCES)
    assert descriptions.SOURCES_FILE.read_text() == descriptions.sources_file(names)
    assert descriptions.COLUMNS_FILE.read_text() == descriptions.columns_file(names)
    for mart in descriptions.marts():
        assert descriptions.broken_references(mart, names) == []
        assert descriptions.with_new_columns(mart) == (mart.yml, [], [])


def test_a_description_of_a_source_is_not_repeated_in_a_mart():
    for mart in descriptions.marts():
        origins = [origin for name in mart.described if (origin := mart.origin(name))]
        texts = [descriptions.of_columns(origin.source)[origin.column] for origin in origins]
        repeated = [text for text in texts if f"description: {text}\n" in mart.yml]
        assert not repeated, f"{mart.path.stem}: write doc('…') instead: {repeated}"


def test_tables_and_columns_are_passed_on_to_dbt(tree):
    assert sync.write().changed == [
        "transform/models/staging/_sources.yml: rewritten from load/*.sql",
        "transform/models/staging/_columns.md: rewritten from load/*.sql",
        "transform/models/marts/water_gauges.yml: added level_m, kind",
    ]
    assert descriptions.SOURCES_FILE.read_text().endswith(
        "      - name: gauges\n        description: >\n          Water gauges: one row per gauge.\n"
    )
    assert descriptions.COLUMNS_FILE.read_text().splitlines()[2:] == [
        "{% docs gauges__gauge_id %}{% raw %}The gauge's number, {{ as }} it is.{% endraw %}"
        "{% enddocs %}",
        "{% docs gauges__level %}Water level, metres.{% enddocs %}",
        "{% docs gauges__Kind %}Kind of gauge.{% enddocs %}",
    ]


def test_new_columns_of_a_mart_are_described_where_they_stand(tree):
    sync.write()
    described = (tree / "transform/models/marts/water_gauges.yml").read_text()
    level = (
        "      - name: level_m\n        data_type: double precision\n"
        "        description: \"{{ doc('gauges__level') }}\"\n"
    )
    kind = (
        "      - name: kind\n        data_type: text\n"
        "        description: \"{{ doc('gauges__Kind') }}\"\n"
    )
    before, after = "        data_tests: [not_null]\n", "        description: Whether it is high.\n"
    assert described == DESCRIBED.replace(before, before + level).replace(after, after + kind)


def test_a_second_time_there_is_nothing_to_do(tree, capsys):
    sync.write()
    assert sync.write() == ([], [])
    assert sync.run() == errors.OK
    assert capsys.readouterr().out == "all descriptions follow load/*.sql\n"


@pytest.mark.parametrize("column", ["is_high", "label"])
def test_what_is_no_single_column_of_a_source_is_left_to_a_person(tree, column, capsys):
    path = tree / "transform/models/marts/water_gauges.yml"
    entry = path.read_text().index(f"      - name: {column}\n")
    end = path.read_text().index("\n", path.read_text().index("description:", entry)) + 1
    path.write_text(path.read_text()[:entry] + path.read_text()[end:])
    assert sync.run() == errors.DEGRADED
    sentence = f"water_gauges.yml: {column} is missing; write its data_type and its description"
    assert sentence in capsys.readouterr().out


def test_the_first_and_the_last_column_of_a_file_find_their_place(tree):
    path = tree / "transform/models/marts/water_gauges.yml"
    without = DESCRIBED.replace(
        "      - name: gauge_id\n        data_type: text\n        description: >\n"
        "          Number. Key.\n        data_tests: [not_null]\n",
        "",
    )
    path.write_text(without.partition("\nunit_tests:")[0].rstrip("\n"))
    (tree / "transform/models/marts/water_gauges.sql").write_text(
        MART.replace("gauges.label\n", "gauges.label,\n        gauges.kind as kind\n").replace(
            "        gauges.kind,\n", ""
        )
    )
    sync.write()
    assert [mart.described for mart in descriptions.marts()] == [
        ["gauge_id", "level_m", "is_high", "label", "kind"]
    ]


def test_a_reference_to_a_column_that_is_gone_is_named(tree, capsys):
    path = tree / "transform/models/marts/water_gauges.yml"
    path.write_text(DESCRIBED.replace("A label.", "\"{{ doc('gauges__gone') }}\""))
    assert sync.run() == errors.DEGRADED
    assert "doc('gauges__gone') refers to a column that load/*.sql does not describe" in (
        capsys.readouterr().out
    )


def test_a_table_that_another_file_declares_is_not_declared_twice(tree):
    (tree / "transform/models/staging/mine.yml").write_text(
        "sources:\n  - {name: source, tables: [{name: gauges}]}\n"
    )
    sync.write()
    assert descriptions.SOURCES_FILE.read_text().endswith("tables: []\n")


def test_what_a_person_wrote_is_not_replaced(tree):
    descriptions.SOURCES_FILE.write_text("version: 2\nsources: []\n")
    with pytest.raises(SetupError, match=r"_sources\.yml was written by hand"):
        sync.run()
    assert descriptions.SOURCES_FILE.read_text() == "version: 2\nsources: []\n"


def test_every_column_of_this_project_is_a_column_that_dbt_can_refer_to():
    for name in settings.sources():
        blocks = [descriptions.block_name(name, column) for column in descriptions.of_columns(name)]
        assert len(set(blocks)) == len(blocks)
