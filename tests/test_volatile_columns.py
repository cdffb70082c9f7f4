"""Columns that a publisher moves without the content: left out of the content fingerprint."""

import pytest
from conftest import CAPTURES

from pipeline.errors import SourceError
from pipeline.raw import checks

VOLATILE = ("id", "hash")
FILE = b'number,name,id,hash\n1,"A, b",x,1\n2,C,y,2\n'


def fingerprint(folder, body, volatile=VOLATILE, encoding="utf-8"):
    (folder / "page.csv").write_bytes(body)
    return checks.fingerprint_of_rows(folder / "page.csv", volatile, encoding)


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
def test_rows_are_compared_without_the_volatile_columns(tmp_path, body, is_equal):
    assert (fingerprint(tmp_path, FILE) == fingerprint(tmp_path, body)) is is_equal


def test_a_volatile_column_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SourceError, match=r"page\.csv: no columns are called hash; .* id, Hash"):
        fingerprint(tmp_path, b"number,id,Hash\n1,2,3\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'id,hash\n"1,2\n', "ends inside quotes"),
        (b"id,hash\n1,\xff\n", "not UTF-8"),
        (b'id,hash\n"a"b,2\n', "line 2: a quote inside a field"),
        (b"", "the CSV has no header"),
    ],
)
def test_what_is_no_csv_is_an_error(tmp_path, body, message):
    with pytest.raises(SourceError, match=rf"page\.csv: .*{message}"):
        fingerprint(tmp_path, body)


def test_rows_cut_into_pages_in_another_way_are_the_same_content(tmp_path):
    header, *rows = FILE.splitlines(keepends=True)
    pages = [header + row for row in rows] + [header]
    assert checks.total(fingerprint(tmp_path, page) for page in pages) == fingerprint(
        tmp_path, FILE
    )
    assert checks.total([fingerprint(tmp_path, FILE)] * 2) != fingerprint(tmp_path, FILE)


def test_disasters_that_moved_without_their_content(tmp_path):
    capture = CAPTURES / "fema" / "FemaWebDisasterDeclarations_2024-02-15.csv"
    if not capture.exists():
        pytest.skip("the captures are not there")
    volatile = ("id", "hash", "lastRefresh")
    night = capture.read_bytes()
    changed = night.replace(b"HURRICANE IDALIA", b"HURRICANE IDA")
    assert fingerprint(tmp_path, night, volatile) != fingerprint(tmp_path, changed, volatile)
    lines = night.splitlines(keepends=True)
    refreshed = [line.rpartition(b",")[0] + b",2030-01-01T00:00:00.000Z\n" for line in lines[1:]]
    again = b"".join([lines[0], *reversed(refreshed)])
    assert again != night
    assert fingerprint(tmp_path, night, volatile) == fingerprint(tmp_path, again, volatile)
