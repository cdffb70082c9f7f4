"""Data tests of census_population.csv."""


def test_there_are_as_many_counties_as_there_should_be(table):
    levels = table.SUMLEV.execute().str.lstrip("0").value_counts()
    assert 3_000 <= levels["50"] <= 3_300, f"{levels['50']} counties"
    assert levels["40"] == 51, f"{levels['40']} states"


def test_codes_are_numbers_and_unique(table):
    frame = table.select("STATE", "COUNTY").execute()
    assert frame.STATE.str.fullmatch(r"\d{1,2}").all()
    assert frame.COUNTY.str.fullmatch(r"\d{1,3}").all()
    codes = frame.STATE.str.zfill(2) + frame.COUNTY.str.zfill(3)
    assert codes.is_unique, codes[codes.duplicated()].head(3).tolist()


def test_estimates_are_counts_of_people(table):
    columns = [name for name in table.columns if name.startswith("POPESTIMATE")]
    assert columns, "no column POPESTIMATE…"
    frame = table.select(columns).execute()
    for column in columns:
        assert frame[column].str.fullmatch(r"\d{1,9}").all(), column


def test_the_counties_of_a_state_sum_up_to_it(table):
    newest = max(name for name in table.columns if name.startswith("POPESTIMATE"))
    frame = table.select("STATE", "COUNTY", newest).execute()
    frame[newest] = frame[newest].astype(int)
    is_state = frame.COUNTY.str.fullmatch("0+")
    states = frame[is_state].set_index("STATE")[newest]
    sums = frame[~is_state].groupby("STATE")[newest].sum()
    assert (states.sort_index() == sums.sort_index()).all()
