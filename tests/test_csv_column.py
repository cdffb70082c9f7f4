"""Columns of a CSV, compared with the parser of the standard library."""

import csv
import io
import random

import pytest
from conftest import CAPTURES

from pipeline.errors import SourceError
from pipeline.formats import bitmask, csv_columns, records

PARTS = ["", "a", "é", '"', ",", "\n", "\r\n", " ", "long " * 20]


def column(tmp_path, data: bytes, name: str):
    path = tmp_path / "page.csv"
    path.write_bytes(data)
    table = csv_columns.read(path, "https://e.gov/")
    return table.header, table.values(name)


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("index", [0, 2, 4])
def test_it_finds_what_a_parser_finds(tmp_path, quoting, end, index):
    chance = random.Random(index)
    header = ["a", "b", "c", "d", "e"]
    rows = [["".join(chance.choices(PARTS, k=3)) for _ in header] for _ in range(300)]
    for number, row in enumerate(rows):
        row[index] = f"key-{number}"
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator=end).writerows([header, *rows])
    names, found = column(tmp_path, text.getvalue().encode(), header[index])
    assert names == header
    assert found == [row[index].encode() for row in rows]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("columns", "header", "row", "empty"),
    [
        ((), b"a,b,c,d", b'1,"2,\n3",4,5', b",,,"),
        (("a",), b"b,c,d", b'"2,\n3",4,5', b",,"),
        (("d",), b"a,b,c", b'1,"2,\n3",4', b",,"),
        (("b",), b"a\nc,d", b"1\n4,5", b"\n,"),
        (("d", "a"), b"b,c", b'"2,\n3",4', b","),
        (("a", "c"), b"b\nd", b'"2,\n3"\n5', b"\n"),
    ],
)
def test_rows_without_some_columns(tmp_path, end, columns, header, row, empty):
    path = tmp_path / "page.csv"
    path.write_bytes(b"".join(line + end for line in (b"a,b,c,d", b'1,"2,\n3",4,5', b",,,")))
    assert csv_columns.read(path, "here").rows_without(columns) == [header, row, empty]


def test_rows_in_latin_1_and_a_column_that_is_not_there(tmp_path):
    path = tmp_path / "page.csv"
    path.write_bytes("id,name\n1,Doña Ana\n".encode("latin-1"))
    table = csv_columns.read(path, "here", "latin-1")
    assert table.rows_without(("id",))[1] == b"Do\xf1a Ana"
    with pytest.raises(SourceError, match=r"no columns are called hash; .* id, name") as caught:
        table.rows_without(("hash",))
    assert "renamed" in caught.value.remedy


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"id\n", []),
        (b"id", []),
        (b"id\n1\n2", [b"1", b"2"]),
        (b'\xef\xbb\xbf"id",x\r\n1,\r\n', [b"1"]),
        (b" id ,x\n,\n", [b""]),
    ],
)
def test_small_files(tmp_path, data, found):
    assert column(tmp_path, data, "id")[1] == found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,x\n1,2\n3\n", "line 3: 1 fields where the header has 2"),
        (b'id,x\n1,"a\nb"\n3,4,5\n', "line 4: 3 fields where the header has 2"),
        (b"id,x\n\n1,2\n", "line 2: 1 fields"),
        (b"id,x\n1\n2,3,4\n", "line 2: 1 fields"),
        (b"id,x\n1,2\n\n", "line 3: 1 fields"),
        (b'id,x\n1,"2\n', "ends inside quotes"),
        (b'"i"d,x\n1,2\n', "line 1: a quote inside a field: "),
        (b'id,x\n"1"0,2\n', "line 2: a quote inside a field: "),
        (b'id,x\n1,6" and 8"\n', 'line 2: a quote inside a field: .*6" and'),
        (b"", "no header"),
        (b"\n", "no header"),
        (b"x,y\n1,2\n", "no columns are called id; the columns are x, y"),
        (b"id,id\n1,2\n", "2 columns are called id; the columns are id, id"),
        (b"id\n\xe9\n", "not UTF-8"),
    ],
)
def test_what_is_no_such_csv_is_refused(tmp_path, data, message):
    with pytest.raises(SourceError, match=message):
        column(tmp_path, data, "id")


@pytest.mark.parametrize("name", ["fema/FemaWebDisasterDeclarations_2025-02-04.csv"])
def test_a_real_file(tmp_path, name):
    capture = CAPTURES / name
    if not capture.exists():
        pytest.skip(f"the captures are not here: {capture}")
    with capture.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = csv_columns.read(capture, "https://e.gov/").values("disasterName")
    assert len(found) == len(rows) == 5030
    assert column(tmp_path, capture.read_bytes(), "id")[1] == [row["id"].encode() for row in rows]


def test_records_and_fields_end_outside_of_quotes():
    text = b'a,"b,\n""c"\r\n\r\nd'
    assert list(records.split(text)) == [b'a,"b,\n""c"\r\n', b"\r\n", b"d"]
    assert list(records.split(b"a\n")) == [b"a\n"]
    assert list(records.split(b"")) == []
    assert bitmask.positions(records.find(text).delimiters).tolist() == [1]
    assert records.find(b'a,"').ends_inside
    assert not records.find(b'a,"",').ends_inside
