"""Data tests of census_counties.csv."""

import json


def test_county_codes_are_five_digits_and_unique(table):
    codes = table.feature_id.execute()
    assert codes.str.fullmatch(r"\d{5}").all()
    assert codes.is_unique


def test_there_are_as_many_counties_as_there_should_be(table):
    counted = table.count().execute()
    assert 3_200 <= counted <= 3_300, f"{counted} counties"


def test_boundaries_are_valid_areas_in_wgs_84(table):
    import geopandas
    import shapely

    frame = table.execute()
    shapes = geopandas.GeoSeries(shapely.from_geojson(frame.geometry), crs="EPSG:4326")
    assert set(shapes.geom_type) <= {"Polygon", "MultiPolygon"}
    west, south, east, north = shapes.total_bounds
    assert min(west, south) >= -180 and max(east, north) <= 180, shapes.total_bounds
    # Falls Church, Virginia, is smaller than the coordinate grid of the file.
    without_area = frame.feature_id[shapes.area == 0].tolist()
    assert set(without_area) <= {"51610"}, f"no area: {without_area}"


def test_rings_are_closed(table):
    for text in table.geometry.execute():
        shape = json.loads(text)
        polygons = (
            shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
        )
        assert all(
            ring[0] == ring[-1] and len(ring) >= 4 for polygon in polygons for ring in polygon
        )
