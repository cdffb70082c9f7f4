"""Data tests of noaa_storm_events.csv."""


def test_every_event_has_a_number_of_its_own(table):
    ids = table.EVENT_ID.execute()
    assert ids.str.fullmatch(r"\d+").all(), "an event without a number"
    assert ids.is_unique, f"duplicated events: {ids[ids.duplicated()].head(3).tolist()}"


def test_a_place_is_a_county_or_a_zone(table):
    assert set(table.CZ_TYPE.execute().unique()) <= {"C", "Z", "M"}
    codes = table.CZ_FIPS.execute()
    assert codes.str.fullmatch(r"\d{1,3}").all(), codes[~codes.str.fullmatch(r"\d{1,3}")].head(3)


def test_damage_is_an_amount_with_its_magnitude(table):
    for column in (table.DAMAGE_PROPERTY, table.DAMAGE_CROPS):
        amounts = column.execute().dropna()
        is_known = amounts.str.fullmatch(r"\d*\.?\d+[HKMBTkmbt]?|")
        # A few amounts are only a letter. They become null and are counted.
        assert is_known.mean() > 0.99 if len(amounts) else True, amounts[~is_known].head(3).tolist()


def test_times_are_times_and_say_their_offset_from_utc(table):
    import pandas

    frame = table.select("BEGIN_YEARMONTH", "BEGIN_DAY", "BEGIN_TIME", "CZ_TIMEZONE").execute()
    days = frame.BEGIN_YEARMONTH + frame.BEGIN_DAY.str.zfill(2)
    times = pandas.to_datetime(
        days + frame.BEGIN_TIME.str.zfill(4), format="%Y%m%d%H%M", errors="coerce"
    )
    assert times.notna().all(), frame[times.isna()].head(3).values.tolist()
    is_known = frame.CZ_TIMEZONE.str.fullmatch(r"[A-Za-z]{2,5}[+-]?\d{1,2}")
    assert is_known.all(), frame.CZ_TIMEZONE[~is_known].head(3).tolist()
