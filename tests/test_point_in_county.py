"""The built database: the county of a point is the one that GEOS finds."""

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
