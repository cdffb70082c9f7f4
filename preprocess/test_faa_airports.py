"""Data tests of faa_airports.csv."""


def test_codes_are_unique_and_kept_as_text(table):
    codes = table.iata.execute()
    assert codes.str.fullmatch(r"[A-Z0-9]{3,4}").all()
    assert codes.is_unique


def test_coordinates_are_in_wgs_84(table):
    places = table.select(
        longitude=table.longitude.try_cast("float64"), latitude=table.latitude.try_cast("float64")
    ).execute()
    assert places.longitude.between(-180, 180).all()
    assert places.latitude.between(-90, 90).all()
