"""Data tests of nifc_wildfires.csv. The table may be empty at New Year."""

import json


def test_every_feature_has_an_object_id_of_its_own(table):
    ids = table.OBJECTID.execute()
    assert ids.notna().all(), "a feature without an OBJECTID"
    assert ids.is_unique, f"duplicated object ids: {ids[ids.duplicated()].head(3).tolist()}"


def test_every_incident_is_named_and_typed(table):
    incidents = table.select("IrwinID", "IncidentTypeCategory").execute()
    assert incidents.IrwinID.str.fullmatch(r"\{[0-9A-F-]{36}\}").all(), "an invalid IrwinID"
    assert set(incidents.IncidentTypeCategory) <= {"WF", "RX", "CX"}


def test_an_incident_that_comes_twice_is_in_one_place(table):
    incidents = table.select("IrwinID", "geometry").execute().drop_duplicates()
    twice = incidents.IrwinID[incidents.IrwinID.duplicated()]
    assert len(twice) <= 0.01 * len(incidents), f"reported at two points: {twice.head(3).tolist()}"


def test_times_are_in_milliseconds_since_1970(table):
    for column in ("FireDiscoveryDateTime", "ContainmentDateTime", "ModifiedOnDateTime_dt"):
        times = table[column].execute().dropna()
        odd = times[~times.str.fullmatch(r"-?\d{10,13}")]
        assert odd.empty, f"{column}: {odd.head(3).tolist()}"


def test_county_codes_keep_their_leading_zeros(table):
    codes = table.POOFips.execute().dropna()
    odd = codes[~codes.str.fullmatch("[0-9]{5}")]
    assert len(odd) <= 0.01 * len(codes), f"not county codes: {odd.head(3).tolist()}"


def test_points_are_longitude_latitude_in_wgs_84(table):
    for text in table.geometry.execute().dropna():
        longitude, latitude = json.loads(text)["coordinates"][:2]
        assert -180 <= longitude <= 180 and -90 <= latitude <= 90, f"not a position: {text}"
