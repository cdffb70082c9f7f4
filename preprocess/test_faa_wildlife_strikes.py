"""Data tests of faa_wildlife_strikes.csv."""


def test_flight_dates_are_iso_dates(table):
    dates = table.Flight_Date.execute()
    assert dates.str.fullmatch(r"\d{4}-\d{2}-\d{2}").all()


def test_damage_is_one_of_the_known_grades(table):
    grades = set(table.Effect_Amount_of_damage.execute().unique())
    assert grades <= {"None", "Minor", "Medium", "Substantial", "B", "C", "D"}, sorted(grades)


def test_costs_are_whole_dollars(table):
    costs = table["Cost_Total_$"].execute().dropna()
    assert costs.str.fullmatch(r"\d+").all(), costs[~costs.str.fullmatch(r"\d+")].head(3).tolist()


def test_every_strike_names_an_airport(table):
    assert table.Airport_Name.execute().notna().all()
