"""Columns that a publisher moves without the content: left out of the content fingerprint."""

import pytest
from conftest import CAPTURES

from pipeline import content
from pipeline.errors import SourceError

VOLATILE = ("id", "hash")
FILE = b'number,name,id,hash\n1,"A, b",x,1\n2,C,y,2\n'


def fingerprint(folder, body, volatile=VOLATILE, encoding="utf-8"):
    (folder / "page.csv").write_bytes(body)
    return content.fingerprint_of_rows(folder / "page.csv", volatile, encoding)


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
    ],
)
def test_rows_are_compared_without_the_volatile_columns(tmp_path, body, is_equal):
    assert (fingerprint(tmp_path, FILE) == fingerprint(tmp_path, body)) is is_equal


def test_a_volatile_column_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SourceError, match=r"page\.csv: no column hash; it has .*'Hash'"):
        fingerprint(tmp_path, b"number,id,Hash\n1,2,3\n")


@pytest.mark.parametrize("body", [b'id,hash\n"1,2\n', b"id,hash\n1,\xff\n", b'id,hash\n"a"b,2\n'])
def test_what_is_no_csv_is_an_error(tmp_path, body):
    with pytest.raises(SourceError, match=r"page\.csv: not CSV in utf-8"):
        fingerprint(tmp_path, body)


def test_disasters_that_moved_without_their_content(tmp_path):
    capture = CAPTURES / "fema" / "FemaWebDisasterDeclarations_2024-02-15.csv"
    if not capture.exists():
        pytest.skip("the captures are not there")
    volatile = ("id", "hash", "lastRefresh")
    night = capture.read_bytes()
    changed = night.replace(b"HURRICANE IDALIA", b"HURRICANE IDA")
    assert fingerprint(tmp_path, night, volatile) != fingerprint(tmp_path, changed, volatile)
    lines = night.splitlines(keepends=True)
    refreshed = [line[:-26] + b",2030-01-01T00:00:00.000Z\n" for line in lines[1:]]
    again = b"".join([lines[0], *reversed(refreshed)])
    assert again != night
    assert fingerprint(tmp_path, night, volatile) == fingerprint(tmp_path, again, volatile)
