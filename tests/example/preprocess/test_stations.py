"""Data tests of stations.csv."""


def test_codes_are_unique(table):
    codes = table.ident.execute()
    assert codes.str.fullmatch(r"[A-Z]{3}").all()
    assert codes.is_unique


def test_positions_are_in_the_country(table):
    latitudes = table.latitude.try_cast("float64").execute()
    assert latitudes.between(40, 50).all(), f"{latitudes.min()} to {latitudes.max()}"
