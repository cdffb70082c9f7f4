"""Data tests of nws_alerts.csv. The table may be empty on a calm day."""

import json
import re


def test_every_message_has_an_id_of_its_own(table):
    ids = table.id.execute()
    assert ids.notna().all(), "a message without an id"
    assert ids.is_unique, f"duplicated ids: {ids[ids.duplicated()].head(3).tolist()}"
    assert table["@id"].execute().notna().all(), "a message without an address"


def test_vocabularies_are_those_of_the_common_alerting_protocol(table):
    words = table.select("status", "messageType", "severity", "event").execute()
    assert set(words.status) <= {"Actual", "Exercise", "System", "Test", "Draft"}
    assert set(words.messageType) <= {"Alert", "Update", "Cancel", "Ack", "Error"}
    assert set(words.severity) <= {"Extreme", "Severe", "Moderate", "Minor", "Unknown"}
    assert words.event.notna().all(), "a message of no event"


def test_times_tell_their_offset(table):
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)"
    for column in ("sent", "effective", "expires", "onset", "ends"):
        times = table[column].execute().dropna()
        odd = times[~times.str.fullmatch(pattern)]
        assert odd.empty, f"{column}: {odd.head(3).tolist()}"


def test_places_are_same_and_ugc_codes(table):
    for text in table.geocode.execute().dropna():
        codes = json.loads(text)
        assert all(re.fullmatch(r"\d{6}", code) for code in codes.get("SAME") or []), text
        ugc = codes.get("UGC") or []
        assert all(re.fullmatch(r"[A-Z]{2}[CZ][0-9A-Z]{3}", code) for code in ugc), text


def test_most_actual_messages_say_where(table):
    places = table.filter(table.status == "Actual").geocode.execute()
    assert places.empty or places.notna().mean() > 0.5, "most messages have no geocode"
