"""A new user's first night: all sources, from the captures that come with the project."""

import json
import subprocess

import geopandas
import numpy as np
import pandas
import psycopg
import pytest
import shapely
from clone import Clone

BUNDLED = ("bls_unemployment", "census_counties", "faa_airports", "faa_wildlife_strikes")
BUNDLED += ("usgs_earthquakes",)


@pytest.fixture(scope="module")
def first_night(clone: Clone) -> subprocess.CompletedProcess:
    """The night itself, without a network."""
    return clone.run("--offline", STASH="git", EXPORTS="csv,parquet,geojson")


@pytest.fixture(scope="module")
def dev_url(clone: Clone, first_night) -> str:
    return clone.run("db", "url").stdout.strip()


@pytest.fixture
def connection(dev_url: str):
    with psycopg.connect(dev_url) as connection:
        yield connection
        connection.rollback()


def one(connection: psycopg.Connection, statement: str):
    """The only value that a query gives."""
    ((value,),) = connection.execute(statement).fetchall()
    return value


def test_an_offline_first_night_uses_the_bundled_captures(first_night, clone, connection):
    assert first_night.returncode == 2, first_night.stdout + first_night.stderr
    assert first_night.stdout.count("bundled") >= len(BUNDLED)
    assert one(connection, "select count(*) from transformed.county_hazard_profile") > 3000
    guam = "select county_fips from transformed.airports where airport_id = 'GUM'"
    assert one(connection, guam) == "66010"
    placed = "select sum(earthquake_count) > 0 from transformed.county_hazard_profile"
    assert one(connection, placed)
    for source in BUNDLED:
        folder = clone.folder / "data" / "raw" / source
        checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder)
        assert checked.returncode == 0


def test_the_report_page_shows_the_data(first_night, clone):
    page = (clone.folder / "data/report/index.html").read_text()
    assert len(page.encode()) < 600_000
    assert "Of 12 sources, 5 are bundled and 7 are missing; no table is held." in page
    assert page.count("<figure>") == 2
    assert "cannot be drawn" not in page
    assert "1,000 and more" in page  # the legend of the map


def test_the_downloads_are_the_published_tables(first_night, clone, connection):
    folder = clone.folder / "data" / "exports"
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder)
    assert checked.returncode == 0
    ours = "select count(*) from transformed.earthquakes where county_fips like '06%'"
    earthquakes = pandas.read_parquet(folder / "earthquakes.parquet")
    assert earthquakes["county_fips"].str.startswith("06").sum() == one(connection, ours) > 100
    places = geopandas.read_file(folder / "airports.geojson")
    assert places.geometry.notna().sum() > 3000


def test_the_stash_holds_the_snapshots_as_lfs_objects(first_night, clone):
    def git(*words):
        return subprocess.run(
            ["git", *words], cwd=clone.folder, capture_output=True, text=True
        ).stdout

    if subprocess.run(["git", "lfs", "version"], capture_output=True).returncode:
        pytest.skip("git-lfs is not installed")
    pointer = git("show", "raw-data:data/raw/faa_airports/airports.csv")
    assert pointer.startswith("version https://git-lfs.github.com/spec/v1")
    assert git("status", "--porcelain") == ""
    assert git("branch", "--show-current").strip() == "main"
    assert len(git("log", "--format=%h", "raw-data").split()) == len(BUNDLED)


def test_a_second_night_changes_nothing_and_starts_no_dbt(clone, connection):
    newest = "select max(step_id) from pipeline.steps where stage in ('load', 'transform')"
    changed = f"{newest} and outcome <> 'unchanged'"
    before = one(connection, changed)
    connection.rollback()
    done = clone.run("--offline", STASH="git")
    assert done.returncode == 2
    assert "transform all models: unchanged" in done.stdout
    log = (clone.folder / done.stdout.rpartition("log: ")[2].partition("\n")[0]).read_text()
    assert "dbt" not in log
    assert one(connection, changed) == before


# The county of a point is the one that GEOS finds

COUNTIES = "select feature_id, geometry from source.census_counties order by feature_id"
POINTS = {
    "earthquakes": "select longitude, latitude, county_fips from transformed.earthquakes "
    "where longitude is not null and latitude is not null",
    "airports": "select longitude, latitude, county_fips from transformed.airports "
    "where longitude is not null and latitude is not null",
}


def counties_by_geos(connection, longitudes, latitudes):
    """The county of each point as GEOS has it, "" for none, the lowest code on a border."""
    codes, boundaries = zip(*connection.execute(COUNTIES).fetchall(), strict=True)
    polygons = [shapely.from_geojson(json.dumps(json.loads(text))) for text in boundaries]
    points = shapely.points(longitudes, latitudes)
    point_numbers, county_numbers = shapely.STRtree(polygons).query(points, predicate="intersects")
    found = np.full(len(points), "", dtype=object)
    for point, county in sorted(zip(point_numbers, county_numbers, strict=True), reverse=True):
        found[point] = codes[county]
    return found


@pytest.mark.parametrize("mart", POINTS)
def test_county_is_the_one_geos_finds(connection, mart):
    longitudes, latitudes, codes = zip(*connection.execute(POINTS[mart]).fetchall(), strict=True)
    expected = counties_by_geos(connection, longitudes, latitudes)
    found = np.array([code or "" for code in codes], dtype=object)
    different = [
        (longitude, latitude, ours, theirs)
        for longitude, latitude, ours, theirs in zip(
            longitudes, latitudes, found, expected, strict=True
        )
        if ours != theirs
    ]
    assert (found != "").sum() > 1000
    assert different == []
