"""Data tests of bls_unemployment.csv."""


def test_county_codes_are_four_or_five_digits_and_unique(table):
    codes = table.id.execute()
    assert codes.str.fullmatch(r"\d{4,5}").all()
    assert codes.is_unique


def test_rates_are_shares_of_one(table):
    rates = table.rate.try_cast("float64").execute()
    assert rates.between(0, 1).all(), f"{rates.min()} to {rates.max()}"
