"""Columns that differ in every response are left out of the content fingerprint."""

import pytest
from conftest import CAPTURES

from pipeline.errors import SourceError
from pipeline.raw import fingerprints

VOLATILE = ("id", "hash")
FILE = b'number,name,id,hash\n1,"A, b",x,1\n2,C,y,2\n'


def fingerprint(body, volatile=VOLATILE, encoding="utf-8"):
    return fingerprints.of_table(body, "page.csv", volatile, encoding=encoding)


@pytest.mark.parametrize(
    "body, is_equal",
    [
        (FILE, True),
        (FILE.replace(b"x,1", b"z,9"), True),
        (b'number,name,id,hash\n2,C,y,2\n1,"A, b",x,1\n', True),
        (FILE.replace(b"\n", b"\r\n"), True),
        (FILE.replace(b"2,C", b"2,D"), False),
        (FILE.replace(b"2,C", b"02,C"), False),
        (FILE.replace(b'1,"A, b"', b'"1,A"," b"'), False),
        (FILE.replace(b"number,name", b"name,number"), False),
        (FILE + b"2,C,y,2\n", False),
        (FILE.replace(b"2,C,y,2\n", b""), False),
        (FILE[:-1], True),
    ],
)
def test_rows_are_compared_without_the_volatile_columns(body, is_equal):
    assert (fingerprint(FILE) == fingerprint(body)) is is_equal


def test_a_volatile_column_that_is_not_there_is_an_error():
    with pytest.raises(SourceError, match=r"page\.csv: no columns are called hash; .* id, Hash"):
        fingerprint(b"number,id,Hash\n1,2,3\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'id,hash\n"1,2\n', "ends inside quotes"),
        (b"id,hash\n1,\xff\n", "not UTF-8"),
        (b'id,hash\n"a"b,2\n', "line 2: a quote inside a field"),
        (b"", "the CSV has no header"),
    ],
)
def test_what_is_no_csv_is_an_error(body, message):
    with pytest.raises(SourceError, match=rf"page\.csv: .*{message}"):
        fingerprint(body)


def test_rows_cut_into_pages_in_another_way_are_the_same_content():
    header, *rows = FILE.splitlines(keepends=True)
    pages = [header + row for row in rows] + [header]
    assert fingerprints.total(fingerprint(page) for page in pages) == fingerprint(FILE)
    assert fingerprints.total([fingerprint(FILE)] * 2) != fingerprint(FILE)


def test_disasters_that_moved_without_their_content():
    capture = CAPTURES / "fema" / "FemaWebDisasterDeclarations_2024-02-15.csv"
    if not capture.exists():
        pytest.skip("the captures are not there")
    volatile = ("id", "hash", "lastRefresh")
    night = capture.read_bytes()
    changed = night.replace(b"HURRICANE IDALIA", b"HURRICANE IDA")
    assert fingerprint(night, volatile) != fingerprint(changed, volatile)
    lines = night.splitlines(keepends=True)
    refreshed = [line.rpartition(b",")[0] + b",2030-01-01T00:00:00.000Z\n" for line in lines[1:]]
    again = b"".join([lines[0], *reversed(refreshed)])
    assert again != night
    assert fingerprint(night, volatile) == fingerprint(again, volatile)
