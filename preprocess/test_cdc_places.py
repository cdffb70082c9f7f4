"""Data tests of cdc_places.csv."""


def test_a_measure_of_a_county_comes_once(table):
    key = ["year", "locationid", "measureid", "datavaluetypeid"]
    rows = table.count().execute()
    assert table.select(key).distinct().count().execute() == rows


def test_codes_are_those_of_counties_or_of_the_nation(table):
    codes = table.filter(table.stateabbr != "US").locationid.execute()
    assert codes.str.fullmatch(r"\d{5}").all(), codes[~codes.str.fullmatch(r"\d{5}")].head(3)


def test_values_are_percentages_of_a_known_kind(table):
    assert set(table.datavaluetypeid.execute().unique()) <= {"CrdPrv", "AgeAdjPrv"}
    assert set(table.data_value_unit.execute().unique()) <= {"%"}
    values = table.data_value.try_cast("float64").execute().dropna()
    assert values.between(0, 100).all(), f"{values.min()} to {values.max()}"


def test_the_measures_of_the_mart_are_there(table):
    wanted = {"CASTHMA", "CHD", "COPD", "CSMOKING", "DIABETES", "MHLTH", "OBESITY", "STROKE"}
    missing = wanted - set(table.measureid.execute().unique())
    assert not missing, f"missing: {sorted(missing)}"
