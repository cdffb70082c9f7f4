"""The built database: the county of a point, and the count of what could not be cast."""

import json

import numpy as np
import psycopg
import pytest
import shapely

COUNTIES = "select feature_id, geometry from source.census_counties order by feature_id"
POINTS = {
    "earthquakes": "select longitude, latitude, county_fips from transformed.earthquakes "
    "where longitude is not null and latitude is not null",
    "airports": "select longitude, latitude, county_fips from transformed.airports "
    "where longitude is not null and latitude is not null",
}


@pytest.fixture
def connection(dev_database):
    with psycopg.connect(dev_database) as connection:
        yield connection
        connection.rollback()


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


def test_uncastable_values_are_counted(connection):
    connection.execute("""
        truncate source.bls_unemployment, source.faa_wildlife_strikes, source.usgs_earthquakes;
        insert into source.bls_unemployment (id, rate)
        values ('1001', '.097'), ('1003', null), ('1005', 'n/a'), ('1007', '');
        insert into source.faa_wildlife_strikes ("Flight_Date") values ('1990-01-08'), ('today');
        insert into source.usgs_earthquakes (feature_id, "time", geometry)
        values
        ('a', '1517966773840', '{"coordinates": [1, "north", null]}'),
        ('b', '99999999999999999999', '{"coordinates": '),
        ('c', null, null);
    """)
    counted = connection.execute(
        "select source_name, column_name, target_type, uncastable_count, example"
        " from staging.uncastable_values order by 1, 2, 3"
    ).fetchall()
    assert counted == [
        ("bls_unemployment", "rate", "numeric", 2, ""),
        ("faa_wildlife_strikes", "Flight_Date", "date", 1, "today"),
        ("usgs_earthquakes", "geometry", "double precision", 1, "north"),
        ("usgs_earthquakes", "geometry", "jsonb", 1, '{"coordinates": '),
        ("usgs_earthquakes", "time", "numeric(15, 0)", 1, "99999999999999999999"),
    ]
    quakes = connection.execute(
        "select earthquake_id, occurred_at is null, longitude, latitude"
        " from staging.stg_usgs_earthquakes order by 1"
    ).fetchall()
    assert quakes == [("a", False, 1.0, None), ("b", True, None, None), ("c", True, None, None)]
