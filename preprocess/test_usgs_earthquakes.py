"""Data tests of usgs_earthquakes.csv."""

import json

import pytest


def test_every_event_has_an_id_of_its_own(table):
    ids = table.feature_id.execute()
    assert ids.notna().all(), "an event without an id"
    assert ids.is_unique, f"duplicated event ids: {ids[ids.duplicated()].head(3).tolist()}"


def test_magnitude_is_between_minus_2_and_10(table):
    magnitudes = table.mag.try_cast("float64").execute().dropna()
    assert magnitudes.between(-2, 10).all(), f"{magnitudes.min()} to {magnitudes.max()}"


def test_time_is_in_milliseconds_since_1970(table):
    times = table.time.execute()
    assert times.str.fullmatch(r"-?\d{10,13}").all(), times[~times.str.fullmatch(r"-?\d{10,13}")]


def test_points_are_longitude_latitude_depth_in_wgs_84(table):
    for text in table.geometry.execute().dropna():
        longitude, latitude, *depth = json.loads(text)["coordinates"]
        if not (-180 <= longitude <= 180 and -90 <= latitude <= 90 and len(depth) == 1):
            pytest.fail(f"not a point with a depth: {text}")


def test_tsunami_is_a_flag(table):
    assert set(table.tsunami.execute().unique()) <= {"0", "1"}
