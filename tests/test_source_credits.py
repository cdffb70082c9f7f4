"""The credits of a table's sources: read from the scripts, added to the comments of the tables."""

import json
import random
from dataclasses import replace
from pathlib import Path

import msgspec
import psycopg
import pytest

from pipeline import database, settings
from pipeline.marts import credits
from pipeline.raw import descriptor
from pipeline.raw.source import Source
from pipeline.settings import ROOT, Settings
from pipeline.stages import transform

SCRIPT = """
from pipeline.stages.api import Candidate, Source, run
{before}
SOURCE = Source({arguments})
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch):
    """Writes the script of a source called x."""
    monkeypatch.setattr(credits, "ROOT", tmp_path)
    (tmp_path / "api").mkdir()

    def write(arguments: str, before: str = "") -> None:
        text = SCRIPT.format(arguments=arguments, before=before)
        (tmp_path / "api" / "x.py").write_text(text)

    return write


@pytest.mark.parametrize(
    ("arguments", "before"),
    [
        ('"T", "P", "https://p/", "L", "https://l/", "csv"', ""),
        ('"T", "P", page="https://p/", licence="L", licence_page="https://l/", kind="csv"', ""),
        (
            'title="T", publisher=("P"), page=HOST + "p/", licence="L", licence_page=f"{HOST}l/"',
            'HOST = "https://"',
        ),
        (
            'title="" "T", publisher="P", page=PAGE, licence="L", licence_page="https://l/"',
            'HOST = "https:"\nPAGE = f"{HOST}//p/"',
        ),
    ],
)
def test_what_a_script_declares_is_read_without_running_it(script, arguments, before):
    script(arguments, before + "\nraise SystemExit")
    assert credits.of("x") == "T by P <https://p/>, licence: L <https://l/>"
    assert credits.line(["x"]).startswith("Sources: T by P")


REST = 'publisher="P", licence="L", licence_page="https://l/"'
DATED = '"2017-01-01"'
WAYS = {
    "annotated": (
        "title=T, page=PAGE, as_of=D",
        'T: str = "T"\nPAGE: str = "https://p/"\nD: str = DATE',
    ),
    "one line for two": ('title="T", page=PAGE, as_of=D', 'PAGE, D = "https://p/", DATE'),
    "two names": ('title="T", page=PAGE, as_of=D', 'HOME = PAGE = "https://p/"\nD = DATE'),
    "a number": ('title="T", page="https://p/", as_of=f"{Y}-{1:02d}-01"', "Y = 2017"),
    "format": ('title="T", page="https://{}/".format("p"), as_of="{}-01-01".format(2017)', ""),
    "percent": ('title="T", page="https://%s/" % "p", as_of="%d-01-01" % 2017', ""),
    "join": ('title="T", page="/".join(["https:/", "p", ""]), as_of=str(2017) + "-01-01"', ""),
    "a dictionary": ('title="T", **MORE', 'MORE = {"page": "https://p/", "as_of": DATE}'),
    "dict()": ('title="T", **MORE', 'MORE = dict(page="https://p/", as_of=DATE)'),
    "on lines": ('title="""\n  T\n""", page="https://p/", as_of=DATE', ""),
    "a computed date": ('title="T", page="https://p/", as_of=date(2017, 1, 1).isoformat()', ""),
    "an imported date": ('title="T", page="https://p/", as_of=CENSUS_DAY', ""),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("called", ["Source", "api.Source", "Origin", "replace"])
def test_constants_are_evaluated_however_they_are_written(script, tmp_path, way, called):
    arguments, before = (text.replace("DATE", DATED) for text in WAYS[way])
    script(f"{arguments}, {REST}", before)
    path = tmp_path / "api" / "x.py"
    text = path.read_text()
    if called == "api.Source":
        text = text.replace("= Source(", "= api.Source(")
    elif called == "Origin":
        text = text.replace("import Candidate, Source", "import Candidate, Source as Origin")
        text = text.replace("= Source(", "= Origin(")
    elif called == "replace":
        text = text.replace(
            "SOURCE = Source(", 'OLD = Source(title="O", page="https://o/")\nSOURCE = replace(OLD, '
        )
    path.write_text(text, "utf-8-sig" if called == "Source" else "utf-8")
    assert credits.of("x") == "T by P <https://p/>, licence: L <https://l/>"
    assert credits.is_static("x")


def test_what_a_script_computes_is_taken_from_its_snapshot(script, here: Settings):
    script(f'title="T", page=address(), as_of="", {REST}')
    assert credits.of("x") == "x (its script in api/ declares no page)"
    declared = Source("Old", "P", "https://made/", "L", "https://l/", "csv")
    (here.raw / "x").mkdir(parents=True)
    told = msgspec.to_builtins(descriptor.describe(declared, "x", []))
    (here.raw / "x" / "datapackage.json").write_text(json.dumps(told))
    assert credits.of("x") == "T by P <https://made/>, licence: L <https://l/>"
    assert not credits.is_static("x")
    for broken in ("", "[]", "{}", '{"sources": []}'):
        (here.raw / "x" / "datapackage.json").write_text(broken)
        assert credits.of("x") == "x (its script in api/ declares no page)"


@pytest.mark.parametrize("text", ["SOURCE = Source(", "SOURCE = made()", "", "\0"])
def test_a_script_that_cannot_be_read_is_named(script, tmp_path: Path, text):
    script("")
    (tmp_path / "api" / "x.py").write_text(text)
    assert credits.of("x") == "x (its script in api/ declares no page)"
    assert credits.of("nowhere").startswith("nowhere (")


def test_only_a_declared_date_makes_a_source_static(script):
    script('page="https://p/", as_of="2017-01-01"')
    assert credits.is_static("x")
    script('page="https://p/"')
    assert not credits.is_static("x")


@pytest.mark.parametrize("source", settings.sources())
def test_every_script_of_the_project_can_be_read(source):
    known = credits.declared(source)
    for name in ("title", "publisher", "page", "licence", "licence_page"):
        assert known[name], f"api/{source}.py: {name}"
    is_static = "static" in (ROOT / "api" / f"{source}.py").read_text().split("Corrections")[0]
    assert credits.is_static(source) is is_static


def test_no_comment_ends_with_white_space(database_url):
    chance = random.Random(1)
    texts = {name: "".join(chance.choices("a'\n \t%{", k=6)) for name in "abcdefgh"}
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("create schema next")
        for name, text in texts.items():
            owner.execute(f"create table next.{name} (x text, y text)")
            quoted = text.replace("'", "''")
            owner.execute(f"comment on table next.{name} is '{quoted}'")
            owner.execute(f"comment on column next.{name}.x is '{quoted}'")
        credits.complete_comments(owner, "next", {"a": "Sources: one."})
        rows = owner.execute(
            """select relname::text, objsubid, description from pg_description
            join pg_class on pg_class.oid = objoid where relnamespace = 'next'::regnamespace"""
        ).fetchall()
    found = {(name, number): text for name, number, text in rows}
    for name, text in texts.items():
        about = " ".join(filter(None, [text.strip(), "Sources: one." * (name == "a")]))
        assert found.get((name, 0), "") == about
        assert found.get((name, 1), "") == text.strip()
        assert (name, 2) not in found


@pytest.mark.long  # a build of the whole project
def test_every_table_made_only_from_sources_never_loaded_names_them(here: Settings, database_url):
    """The whole project on an empty database: all tables are published, and none is fresh."""
    place = replace(here, database_url=database_url)
    place.state.mkdir(parents=True)
    facts = transform.run(place)
    assert (facts["held"], facts["failed"]) == ({}, {})
    with database.connect(place) as owner:
        comments = dict(
            owner.execute(
                """select relname::text, obj_description(oid) from pg_class
                where relnamespace = 'transformed'::regnamespace and relkind = 'r'"""
            ).fetchall()
        )
        states = owner.execute(
            "select name, state from transformed.data_status where kind = 'table'"
        ).fetchall()
        odd = owner.execute(
            r"""select objoid::regclass, description from pg_description
            join pg_class on pg_class.oid = objoid
            where relnamespace = 'transformed'::regnamespace and description ~ '^\s|\s$'"""
        ).fetchall()
    assert not odd
    assert {state for _, state in states} <= {"missing", "kept"}, states
    for table, sources in facts["sources"].items():
        for source in sources:
            known = credits.declared(source)
            for name in ("title", "page", "licence", "licence_page"):
                assert known[name] in comments[table], (table, source, name)
