"""Downloads: the same rows in every format, replaced together, written only when they changed."""

import csv
import datetime
import decimal
import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import geopandas
import pandas
import psycopg
import pytest
from pyarrow import parquet

from pipeline import database, exports, settings, state
from pipeline.database import ledger
from pipeline.errors import SetupError
from pipeline.exports import files, tables
from pipeline.marts import credits
from pipeline.raw import manifest

GAUGES = """
create table transformed.gauges (
    gauge_id text constraint gauges_pkey primary key,
    county_fips text,
    level numeric(7, 2),
    reading bigint,
    is_open boolean,
    opened_on date,
    read_at timestamptz,
    tags text[],
    note text,
    longitude double precision,
    latitude double precision
);
comment on table transformed.gauges is 'Water gauges; one row per gauge.';
comment on column transformed.gauges.level is 'Water level, meters.';
insert into transformed.gauges values
    ('b', '01001', 12.50, 9007199254740993, true, '2024-02-29', '2024-07-01 12:00:00.5+02',
        '{x,"y,z"}', 'a "quoted", note' || chr(10) || 'of two lines; ü', -97.25, 30.5),
    ('a', '00000', null, null, null, null, null, null, '', null, 30),
    ('c', null, -0.01, 0, false, '0044-03-15', '1969-12-31 23:59:59.999999Z', '{}', null, 0, 0);
create table transformed.areas (area_id integer constraint areas_pkey primary key, ring polygon);
insert into transformed.areas values
    (1, '((0,0),(1,0),(1,1),(0,1))'), (2, null), (3, '((0,0),(2,0),(2,2),(0,0))');
create table transformed.nothing (
    nothing_id text constraint nothing_pkey primary key, fips text, share numeric(5, 2)
);
"""
TABLES = ("areas", "gauges", "nothing")


@pytest.fixture(autouse=True)
def _credits(monkeypatch):
    """What the script of the source declares."""
    declared = {"publisher": "A publisher", "page": "https://publisher.example/"}
    monkeypatch.setattr(credits, "facts_of", lambda source: declared)


@pytest.fixture
def connection(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        database.prepare(connection)
        connection.execute("create schema if not exists transformed")
        connection.execute(GAUGES)
        publish(connection, dict.fromkeys(TABLES, 1))
        yield connection


def publish(connection, generations: dict[str, int]) -> None:
    """Note in the ledger that these tables are published."""
    newest = max(generations.values())
    run_id = f"2026-11-28T02-14-00Z-{newest}"
    ledger.begin(connection, run_id, "night", "2026-11-28T02:14:00Z")
    for name, generation in generations.items():
        step = {"outcome": "published", "rows": 3, "generation": generation}
        ledger.note(connection, run_id, "transform", name, step, "f")
    whole = {"outcome": "published", "generation": newest, "tables": sorted(generations)}
    whole["sources"] = {name: ["gauges"] for name in generations}
    ledger.note(connection, run_id, "transform", ledger.ALL_MODELS, whole, "f")


@pytest.fixture
def all_formats(here):
    return replace(here, exports=files.FORMATS)


@pytest.fixture
def folder(all_formats, connection):
    """The folder of downloads in all formats."""
    exports.write(all_formats, connection)
    return all_formats.data_dir / "exports"


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


# The same rows in every format


def test_every_table_has_its_files_and_only_places_have_geojson(folder):
    wanted = {f"{name}.{format_}" for name in TABLES for format_ in ("csv", "parquet")}
    wanted |= {"gauges.geojson", "areas.geojson"}
    assert names(folder) == wanted | {"SHA256SUMS", "datapackage.json", "index.html"}


def test_csv_keeps_codes_digits_and_the_difference_of_empty_and_null(folder):
    text = (folder / "gauges.csv").read_text()
    assert text.splitlines()[1] == 'a,00000,,,,,,,"",,30'
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert [row["gauge_id"] for row in rows] == ["a", "b", "c"]
    assert rows[1] == {
        "gauge_id": "b",
        "county_fips": "01001",
        "level": "12.50",
        "reading": "9007199254740993",
        "is_open": "true",
        "opened_on": "2024-02-29",
        "read_at": "2024-07-01T10:00:00.500000Z",
        "tags": '["x","y,z"]',
        "note": 'a "quoted", note\nof two lines; ü',
        "longitude": "-97.25",
        "latitude": "30.5",
    }


def test_parquet_has_the_values_and_types_of_the_database(folder):
    table = parquet.read_table(folder / "gauges.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "gauge_id": "string",
        "county_fips": "string",
        "level": "decimal128(7, 2)",
        "reading": "int64",
        "is_open": "bool",
        "opened_on": "date32[day]",
        "read_at": "timestamp[us, tz=UTC]",
        "tags": "string",
        "note": "string",
        "longitude": "double",
        "latitude": "double",
        "geometry": "binary",
    }
    empty, full, last = table.to_pylist()
    assert (empty["note"], last["note"]) == ("", None)
    assert full["level"] == decimal.Decimal("12.50")
    assert full["reading"] == 9007199254740993
    assert full["opened_on"] == datetime.date(2024, 2, 29)
    assert full["read_at"] == datetime.datetime(2024, 7, 1, 10, 0, 0, 500000, datetime.UTC)
    assert last["read_at"].microsecond == 999999
    assert full["note"] == 'a "quoted", note\nof two lines; ü'
    assert table.schema.field("level").metadata[b"description"] == b"Water level, meters."


def test_a_table_without_rows_keeps_its_types(folder):
    schema = parquet.read_schema(folder / "nothing.parquet")
    assert [str(field.type) for field in schema] == ["string", "string", "decimal128(5, 2)"]
    assert parquet.read_table(folder / "nothing.parquet").num_rows == 0
    assert (folder / "nothing.csv").read_text() == "nothing_id,fips,share\n"


def test_others_read_the_files(folder):
    path = folder / "gauges.parquet"
    # In a process of its own: duckdb reports objects that it leaks when the process ends.
    program = f"import duckdb; print(duckdb.sql(\"select county_fips, level from '{path}'\"))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "01001" in done.stdout
    assert "decimal(7,2)" in done.stdout
    assert list(pandas.read_parquet(path)["county_fips"][:2]) == ["00000", "01001"]
    places = geopandas.read_parquet(path)
    assert places.crs == "OGC:CRS84"
    assert [shape and shape.wkt for shape in places.geometry] == [
        None,
        "POINT (-97.25 30.5)",
        "POINT (0 0)",
    ]
    areas = geopandas.read_parquet(folder / "areas.parquet")
    assert [shape and shape.area for shape in areas.geometry] == [1, None, 2]
    for name in ("gauges", "areas"):
        read = geopandas.read_file(folder / f"{name}.geojson")
        assert read.crs == "EPSG:4326"
        assert len(read) == 3
        assert read.geometry.is_empty.sum() + read.geometry.isna().sum() == 1


def test_geojson_keeps_digits_and_codes(folder):
    text = (folder / "gauges.geojson").read_text()
    assert '"level":12.50,"reading":9007199254740993' in text
    _, full, _ = json.loads(text)["features"]
    assert full["geometry"] == {"type": "Point", "coordinates": [-97.25, 30.5]}
    assert full["properties"]["county_fips"] == "01001"
    assert "longitude" not in full["properties"]


@pytest.mark.parametrize("block", [1 << 10, 1 << 14])
def test_many_rows_are_the_same_in_blocks_of_any_size(all_formats, connection, monkeypatch, block):
    monkeypatch.setattr(files, "BLOCK", block)
    connection.execute(
        """insert into transformed.gauges (gauge_id, note, level)
        select 'x' || n, repeat(chr(10) || '"' || n, n % 40), n / 100.0
        from generate_series(1, 3000) as n"""
    )
    exports.write(all_formats, connection)
    path = all_formats.data_dir / "exports" / "gauges.parquet"
    rows = {row["gauge_id"]: row for row in parquet.read_table(path).to_pylist()}
    assert len(rows) == 3003
    for name, note, level in connection.execute(
        "select gauge_id, note, level from transformed.gauges"
    ):
        assert (rows[name]["note"], rows[name]["level"]) == (note, level)


# The folder


def test_the_checksums_and_the_descriptor_are_those_of_the_files(folder):
    sums = manifest.verify(folder, "exports")
    package = json.loads((folder / "datapackage.json").read_text())
    described = {resource["path"]: resource for resource in package["resources"]}
    assert described.keys() == sums.keys() - {"datapackage.json", "index.html"}
    for name, resource in described.items():
        content = (folder / name).read_bytes()
        assert resource["hash"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert resource["bytes"] == len(content)
    gauges = described["gauges.csv"]
    assert gauges["schema"]["primaryKey"] == ["gauge_id"]
    assert gauges["sources"] == [{"title": "A publisher", "path": "https://publisher.example/"}]
    assert len({resource["name"] for resource in package["resources"]}) == len(described)


def test_the_dictionary_describes_every_column_and_escapes(folder, all_formats, connection):
    connection.execute("comment on column transformed.gauges.note is '<script>x</script> & y'")
    publish(connection, {"areas": 1, "gauges": 2, "nothing": 1})
    exports.write(all_formats, connection)
    page = (folder / "index.html").read_text()
    assert "&lt;script&gt;x&lt;/script&gt; &amp; y" in page
    for column in (
        "gauge_id (key)",
        "Water level, meters.",
        "numeric(7,2)",
        "Water gauges; one row",
    ):
        assert column in page


def test_nothing_is_written_when_nothing_changed(folder, all_formats, connection):
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert exports.write(all_formats, connection) == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_only_the_files_of_a_changed_table_are_written(folder, all_formats, connection):
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    connection.execute("update transformed.gauges set level = 1 where gauge_id = 'a'")
    publish(connection, {"areas": 1, "gauges": 2, "nothing": 1})
    assert exports.write(all_formats, connection) == 3
    after = {path.name: path.stat().st_ino for path in folder.iterdir()}
    same = {name for name in after if after[name] == before.get(name)}
    assert same == {"areas.csv", "areas.parquet", "areas.geojson", "nothing.csv", "nothing.parquet"}
    assert "a,00000,1.00," in (folder / "gauges.csv").read_text()
    manifest.verify(folder, "exports")


def test_a_table_that_is_gone_takes_its_files_along(folder, all_formats, connection):
    connection.execute("drop table transformed.areas")
    publish(connection, {"gauges": 1, "nothing": 1})
    exports.write(all_formats, connection)
    assert not {name for name in names(folder) if name.startswith("areas")}
    manifest.verify(folder, "exports")


@pytest.mark.parametrize("formats", [("parquet",), ("csv",), ("geojson",)])
def test_other_formats_replace_the_files(folder, all_formats, connection, formats):
    exports.write(replace(all_formats, exports=formats), connection)
    kinds = {name.rpartition(".")[2] for name in names(folder)} - {"SHA256SUMS", "json", "html"}
    assert kinds == set(formats)
    exports.write(replace(all_formats, exports=()), connection)
    assert not folder.exists()


def test_a_file_that_somebody_removed_comes_back(folder, all_formats, connection):
    (folder / "gauges.csv").unlink()
    assert exports.write(all_formats, connection) == 1
    manifest.verify(folder, "exports")


def test_a_failure_leaves_the_old_files(folder, all_formats, connection, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    publish(connection, {"areas": 1, "gauges": 2, "nothing": 1})

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_parquet", fail)
        with pytest.raises(OSError, match="No space left"):
            exports.write(all_formats, connection)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert exports.write(all_formats, connection) == 3
    assert names(all_formats.data_dir) == {"exports", "state"}


def test_before_the_first_publication_there_is_nothing(all_formats, database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert tables.published(connection) == []
        assert exports.write(all_formats, connection) == 0
    assert not (all_formats.data_dir / "exports").exists()
    assert state.read(all_formats, "exports") == {"made": {}}


# The setting


@pytest.mark.parametrize(
    ("value", "formats"),
    [
        ("", ("csv", "parquet")),
        ("none", ()),
        ("CSV, geojson", ("csv", "geojson")),
        ("csv,csv", ("csv",)),
    ],
)
def test_the_setting_lists_formats(monkeypatch, value, formats):
    monkeypatch.setenv("EXPORTS", value)
    settings.load.cache_clear()
    assert settings.load().exports == formats
    settings.load.cache_clear()


@pytest.mark.parametrize("value", ["xlsx", "csv,none", "csv;parquet"])
def test_a_format_that_there_is_not_is_refused(monkeypatch, value):
    monkeypatch.setenv("EXPORTS", value)
    settings.load.cache_clear()
    with pytest.raises(SetupError, match="EXPORTS has"):
        settings.load()
    settings.load.cache_clear()
