"""The strict scan and the header rewrite: what goes through unchanged, and what is refused."""

import csv
import hashlib
import io
import random
from pathlib import Path

import pytest

from pipeline import decode, delimited, scan
from pipeline.errors import SourceError
from pipeline.settings import BUNDLED

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"
NAUGHTY = [
    *("\\N", "\\.x", "\\", "\t", "\x01\x1b[31m", "\x7f", "\u202eabc", "👩‍👩‍👧", "ﷺ", "\u2028"),
    *("=1+1", "'", 'a"b', "a,b", "a\nb", "a\r\nb", " ", "\u00a0", "NULL", "\ufeff", '""', '"', ","),
]


@pytest.fixture(params=[16, 8 << 20], ids=["tiny blocks", "one block"])
def block(request, monkeypatch):
    """Blocks so small that everything falls on a border somewhere, and as they are in earnest."""
    monkeypatch.setattr(decode, "BLOCK", request.param)


@pytest.fixture
def made(tmp_path):
    """Write raw bytes as files of a source, make them legible, return receipt and bytes."""

    def make(*raw: bytes, **options):
        folder = tmp_path / "some_source"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"{number}.csv" for number in range(len(raw))]
        for path, content in zip(paths, raw, strict=True):
            path.write_bytes(content)
        output = tmp_path / "out.csv"
        receipt = delimited.write_csv(paths if len(paths) > 1 else paths[0], output, **options)
        written = output.read_bytes()
        assert receipt.sha256 == hashlib.sha256(written).hexdigest()
        assert receipt.bytes == len(written)
        return receipt, written

    return make


def as_copy_reads(data: bytes) -> list[list[str | None]]:
    """RFC 4180, a character at a time; unquoted empty is None."""
    rows, row, value, was_quoted, inside = [], [], "", False, False
    text = data.decode()
    i = 0
    while i < len(text):
        c = text[i]
        if inside and c == '"' and text[i + 1 : i + 2] == '"':
            value, i = value + '"', i + 1
        elif c == '"':
            inside, was_quoted = not inside, True
        elif not inside and (c in ",\n" or text[i : i + 2] == "\r\n"):
            row.append(value if value or was_quoted else None)
            value, was_quoted = "", False
            if c != ",":
                rows.append(row)
                row = []
                i += c == "\r"
        else:
            value += c
        i += 1
    assert not inside
    if row or value or was_quoted:
        rows.append([*row, value if value or was_quoted else None])
    return rows


# What is refused: raw bytes, the place and the words that the error must have.
REFUSED = {
    "bare quote": (b'a,b\n1,6" pipe\n', ["line 2, column b", "a quote inside an unquoted field"]),
    "bare quotes over two rows": (b'a,b\n6" pipe,x\n7" pipe,y\n', ["line 2, column a", "a quote"]),
    "coordinates": (b"a,b\n1,2\n\"ok\",37'8\"N 2'9\"W\n", ["line 3, column b", "a quote inside"]),
    "text after a quote": (b'a,b\n"1"x,2\n', ["line 2, column a", "text after a closing quote"]),
    "space after a quote": (b'a,b\n"1" ,2\n', ["line 2, column a", "text after a closing quote"]),
    "space before a quote": (b'a,b\n1, "2"\n', ["line 2, column b", "a quote inside"]),
    "open quote at the end": (b'a,b\n1,2\n3,"4\n5,6\n', ["line 3", "inside quotes"]),
    "open quote met by another": (b'a,b\n1,"2\n3,"4"\n', ["line 3", "text after a closing quote"]),
    "NUL": (b"a,b\n1,2\n3,\x004\n", ["line 3, column b", "NUL"]),
    "latin-1": (b"a,b\n1,Do\xf1a Ana\n", ["line 2, column b", "0xf1"]),
    "cut in a character": (b"a,b\n1,\xe2\x82\n", ["line 2, column b", "0xe2"]),
    "surrogate": (b"a,b\n1,\xed\xa0\x80\n", ["line 2", "0xed"]),
    "CR LF under LF": (b"a,b\n1,2\n3,4\r\n", ["line 3", "CR LF"]),
    "LF under CR LF": (b"a,b\r\n1,2\r\n3,4\n", ["line 3", "LF"]),
    "bare CR": (b"a,b\n1,2\r3,4\n", ["line 2, column b", "carriage return"]),
    "bare CR under CR LF": (b"a,b\r\n1,\r2\r\n", ["line 2, column b", "carriage return"]),
    "blank line": (b"a,b\n1,2\n\n3,4\n", ["line 3", "a blank line"]),
    "blank line under CR LF": (b"a,b\r\n1,2\r\n\r\n3,4\r\n", ["line 3", "a blank line"]),
    "blank last line": (b"a,b\n1,2\n\n", ["line 3", "a blank line"]),
    "blank line in one column": (b"a\n1\n\n2\n", ["line 3", "a blank line"]),
    "short row": (b"a,b,c\n1,2,3\n4,5\n", ["line 3", "a row of 2 fields under a header of 3"]),
    "long row": (b"a,b,c\n1,2,3\n4,,5,\n", ["line 3", "a row of 4 fields under a header of 3"]),
    "short row after quoted lines": (b'a,b\n"1\n2",3\n4\n', ["line 4", "a row of 1 fields"]),
    "short row of two lines": (b'a,b\n1,2\n"3\n4"\n5,6\n', ["line 3", "a row of 1 fields"]),
    "glued tables": (b"a,b\n1,2\na,b\n3,4\n", ["line 3", "a second header"]),
    "glued tables, quoted": (b'a,b\n1,2\n"a","b"\n3,4\n', ["line 3", "a second header"]),
    "glued tables, unquoted": (b'"a","b"\n1,2\na,b\n3,4\n', ["line 3", "a second header"]),
    "header twice": (b"a,b\na,b\n1,2\n", ["line 2", "a second header"]),
    "end of COPY": (b"a\n1\n\\.\n2\n", ["line 3", r"a line \."]),
    "end of COPY, CR LF": (b"a\r\n1\r\n\\.\r\n2\r\n", ["line 3", r"a line \."]),
    "end of COPY inside quotes": (b'a,b\n1,"x\n\\.\ny"\n', ["line 3", r"a line \."]),
    "empty file": (b"", ["line 1", "an empty file"]),
    "blanks": (b"  \n \n", ["line 1", "a blank line in place of the header"]),
    "header without a line end": (b"a,b", ["line 1", "a header without a line end"]),
    "HTML": (b"\n <!DOCTYPE html>\n<p>Sorry\n", ["HTML", "<!DOCTYPE html>"]),
    "JSON": (b'{"error":{"code":400}}\n', ["JSON", "400"]),
    "cut in the last row": (b"a,b\n1,2\n3,45", ["line 3", "no line end", "3,45"]),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", ["line 1", "byte order mark"]),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), ["line 1"]),
    "two columns of a name": (b"a, a \n1,2\n", ["line 1", "two columns are called 'a'"]),
    "a column without name": (b"a,,b\n1,2,3\n", ["line 1", "column 2", "no name"]),
    "a long name": (b"a," + "é".encode() * 32 + b"\n1,2\n", ["line 1", "column 2", "64 bytes"]),
    "a system column": (b"xmin,ymin\n1,2\n", ["line 1", "'xmin'", "keeps to itself"]),
    "a name not printable": (b"a\x07b,c\n1,2\n", ["line 1", "column 1", "printed"]),
    "an open quote in the header": (b'a,"b\n1,2\n', ["line 1"]),
    "a bare quote in the header": (b'a,6" pipe,7" pipe\n1,2,3\n', ["line 1", "a quote inside"]),
    "1,601 columns": (
        b",".join(b"c%d" % n for n in range(1601)) + b"\n" + b"," * 1600 + b"\n",
        ["1601 columns"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_its_place(name, made, block):
    raw, words = REFUSED[name]
    with pytest.raises(SourceError) as refused:
        made(raw)
    for word in ["some_source/0.csv", *words]:
        assert word in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "body",
    [
        *(b"1,2\n", b'"1","2"\n', b'"1\n2",\n', b'"",\n', b'"""1""","2"\n', b'"a""","b"\n'),
        *(b'"\r",2\n', b'"x\r\ny",2\n', b"\\N,\\.\n", b"01001,1.10\n", b" 1 , 2 \n", b",\n"),
        *(b"\\.,1\n", b"' \xe2\x82\xac,\t\n", b'"\n\n",1\n', b'"a,b\n",","\n', b"A,B\n"),
        *(b'"1","2\na,b\n"\n', b'"",""\n'),
    ],
)
def test_legible_bytes_go_through_unchanged(body, made, block):
    receipt, written = made(b"a,b\n" + body)
    assert written == b"a,b\n" + body
    assert (receipt.rows, receipt.columns) == (1, ["a", "b"])


def test_header_is_trimmed_and_nothing_else_is_touched(made, block):
    raw = b' Cost Total $ ,"Time\nof day","a,b",caf\xc3\xa9  Id\r\n 1 ,2,"3",4\r\n'
    receipt, written = made(raw)
    assert receipt.columns == ["Cost_Total_$", "Time_of_day", "a,b", "café_Id"]
    assert written == 'Cost_Total_$,Time_of_day,"a,b",café_Id\r\n 1 ,2,"3",4\r\n'.encode()


def test_rename_makes_a_name_fit(made):
    receipt, written = made(b"x" * 64 + b",xmin\n1,2\n", rename={"x" * 64: "x", "xmin": "west"})
    assert receipt.columns == ["x", "west"]
    assert written == b"x,west\n1,2\n"


def test_final_newline_may_be_left_out_where_declared(made, block):
    assert made(b"a,b\r\n1,2\r\n3,4", final_newline=False)[1] == b"a,b\r\n1,2\r\n3,4"
    assert made(b"a\n1", b"a\n2", final_newline=False)[1] == b"a\n1\n2"
    assert made(b"a\n1\n", final_newline=False)[1] == b"a\n1\n"
    with pytest.raises(SourceError, match="a row of 1 fields"):
        made(b"a,b\n1,2\n3", final_newline=False)
    with pytest.raises(SourceError, match="inside quotes"):
        made(b'a,b\n1,2\n3,"4', final_newline=False)


def test_several_files_become_one_under_one_header(made, block):
    receipt, written = made(b"a,b\n1,2\n", b"a,b\n", b"a,b\n3,4\n5,6\n")
    assert written == b"a,b\n1,2\n3,4\n5,6\n"
    assert receipt.rows == 3
    with pytest.raises(SourceError, match=r"1.csv, line 1: another header than some_source/0.csv"):
        made(b"a,b\n1,2\n", b"a,c\n1,2\n")
    with pytest.raises(SourceError, match="another line end"):
        made(b"a,b\n1,2\n", b"a,b\r\n1,2\r\n")
    with pytest.raises(SourceError, match=r"1.csv, line 3"):
        made(b"a,b\n1,2\n", b"a,b\n1,2\n3\n")


def test_header_only_is_no_row(made):
    assert made(b"a,b\n")[0].rows == 0


def test_declared_byte_order_mark_is_taken_off(made):
    assert made(b"\xef\xbb\xbfa,b\n1,2\n", encoding="utf-8-sig")[1] == b"a,b\n1,2\n"


def test_row_over_the_limit_is_refused(made, monkeypatch):
    for module in (decode, scan):
        monkeypatch.setattr(module, "MAX_RECORD_BYTES", 100)
    monkeypatch.setattr(decode, "BLOCK", 64)
    for body in (b"x" * 200, b'"' + b"x\n" * 100 + b'"', b'"' + b"y\n" * 49 + b'zzz"'):
        with pytest.raises(SourceError, match=r"some_source/0.csv.*MiB"):
            made(b"a,b\n1,2\n3," + body + b"\n")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_declared_encodings_are_decoded_strictly(encoding, made, block):
    text = 'a,b\r\n1,"Doña\n Ana"\r\n'
    assert made(text.encode(encoding), encoding=encoding)[1] == text.encode()


def test_encodings_are_tried_in_order(made):
    tried = ["utf-8", "cp1252", "latin-1"]
    assert made("a\né\n".encode(), encoding=tried)[0].notes == {"encoding utf-8": 1}
    assert made(b"a\n\x93x\x94\n", encoding=tried)[1] == "a\n“x”\n".encode()
    assert made(b"a\n\x81\n", encoding=tried)[0].notes == {"encoding latin-1": 1}
    with pytest.raises(SourceError, match="not in any of utf-8, cp1252"):
        made(b"a\n\x81\n", encoding=["utf-8", "cp1252"])
    with pytest.raises(SourceError, match=r"line 2: the byte 0x81 does not exist in cp1252"):
        made(b"a\n\x81\n", encoding="cp1252")


def test_tabs_without_quoting_are_rewritten(made, block):
    raw = b'i d\tname\n01\ta,b\n\t"x"\n3\t6" pipe\n'
    receipt, written = made(raw, delimiter="\t", quote=None)
    assert receipt.columns == ["i_d", "name"]
    assert as_copy_reads(written)[1:] == [["01", "a,b"], [None, '"x"'], ["3", '6" pipe']]
    with pytest.raises(SourceError, match="line 3: a row of 3 fields"):
        made(b"a\tb\n1\t2\n3\t4\t5\n", delimiter="\t", quote=None)


def test_semicolons_and_other_quotes_are_rewritten(made, block):
    receipt, written = made(b'a;b\n1,5;"x;y"\n"";\n"p\nq";"""r"""\n', delimiter=";")
    assert as_copy_reads(written)[1:] == [["1,5", "x;y"], ["", None], ["p\nq", '"r"']]
    assert receipt.rows == 3
    written = made(b"a|b\n'it''s'|6\"\n''|'x|y'\n", delimiter="|", quote="'")[1]
    assert as_copy_reads(written)[1:] == [["it's", '6"'], ["", "x|y"]]
    with pytest.raises(SourceError, match="line 2, column b: a quote inside"):
        made(b'a;b\n1;2"3"\n', delimiter=";")


@pytest.mark.parametrize("wrong", [{"delimiter": "||"}, {"delimiter": "\n"}, {"quote": "''"}])
def test_a_dialect_of_several_characters_is_refused(made, wrong):
    with pytest.raises(ValueError, match="cannot be a delimiter or a quote"):
        made(b"a,b\n1,2\n", **wrong)


def test_naughty_strings_come_back_unchanged(made, block):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["n", "s"])
    writer.writerows([[str(n), s] for n, s in enumerate(NAUGHTY)])
    receipt, written = made(text.getvalue().encode())
    assert [row[1] for row in as_copy_reads(written)[1:]] == NAUGHTY
    assert receipt.rows == len(NAUGHTY)


def test_random_files_agree_with_a_reader_that_goes_by_character(made, monkeypatch):
    """What goes through is read alike by Python's csv (strict) and by the reference reader."""
    choice = random.Random(20).choice
    passed = 0
    for number in range(1500):
        monkeypatch.setattr(decode, "BLOCK", choice([3, 7, 64, 1000]))
        fields = ["", "a", '""', '"b"', '"c""d"', '",\n"', '"', "\r", "e,f", "\n"]
        lines = [choice(fields[:-4] * 9 + fields) for _ in range(2 * choice([1, 3, 9]))]
        text = "".join(a + "," + b + "\n" for a, b in zip(lines[::2], lines[1::2], strict=True))
        raw = ("h,i\n" + text).encode()
        try:
            receipt, written = made(raw)
        except SourceError:
            continue
        passed += 1
        assert written == raw, number
        rows = as_copy_reads(raw)
        strict = list(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))
        assert [[value or "" for value in row] for row in rows] == strict
        assert receipt.rows == len(rows) - 1
        assert {len(row) for row in rows} == {2}
    assert 500 < passed < 1400


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_random_tables_go_through_and_one_damage_is_refused(made, monkeypatch, line_end):
    """Tables as csv.writer makes them pass; a lost or added separator or quote does not."""
    source = random.Random(7)
    for _ in range(150):
        monkeypatch.setattr(decode, "BLOCK", source.choice([5, 50, 500]))
        width = source.randint(2, 6)
        text = io.StringIO(newline="")
        quoting = source.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])
        writer = csv.writer(text, lineterminator=line_end, quoting=quoting)
        writer.writerow([f"h{n}" for n in range(width)])
        rows = [[source.choice(["", "x", *NAUGHTY]) for _ in range(width)] for _ in range(9)]
        writer.writerows(rows)
        raw = text.getvalue().encode()
        receipt, written = made(raw)
        assert written[written.index(b"\n") :] == raw[raw.index(b"\n") :]
        assert receipt.rows == 9
        assert [[v or "" for v in row] for row in as_copy_reads(written)[1:]] == rows

        simple = [b",".join([b"v"] * width)] * 5
        row, place = source.randrange(1, 5), source.randrange(2 * width - 1)
        for damage in (b",", b'"', b""):
            broken = simple[:]
            kept = broken[row][place + (damage != b'"') :] if damage else broken[row][2:]
            broken[row] = broken[row][:place] + damage * 2 + kept if damage else kept
            with pytest.raises(SourceError):
                made(b"\n".join([b",".join(b"h%d" % n for n in range(width)), *broken, b""]))


def test_bundled_files_are_legible(tmp_path):
    strikes = BUNDLED / "faa_wildlife_strikes" / "birdstrikes.csv"
    receipt = delimited.write_csv(strikes, tmp_path / "s.csv", final_newline=False)
    assert (receipt.rows, receipt.columns[12]) == (10_000, "Cost_Total_$")
    receipt = delimited.write_csv(BUNDLED / "faa_airports" / "airports.csv", tmp_path / "a.csv")
    assert receipt.rows == 3376
    rates = BUNDLED / "bls_unemployment" / "unemployment.tsv"
    receipt = delimited.write_csv(
        rates, tmp_path / "u.csv", delimiter="\t", quote=None, final_newline=False
    )
    assert receipt.columns == ["id", "rate"]
    assert (tmp_path / "u.csv").read_bytes() == rates.read_bytes().replace(b"\t", b",")


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not on this machine")
@pytest.mark.parametrize(
    ("name", "encoding", "rows"),
    [
        ("fema/FemaWebDisasterDeclarations_2025-02-04.csv", "utf-8", 5030),
        ("census/co-est2019-alldata.csv", "latin-1", 3193),
        ("census/co-est2023-alldata.csv", "utf-8", 3195),
        ("cdc/PLACES_county_gis_2022.csv", "utf-8", 3143),
    ],
)
def test_captures_are_legible(name, encoding, rows, tmp_path):
    receipt = delimited.write_csv(
        CAPTURES / name, tmp_path / "o", encoding=encoding, final_newline=False
    )
    assert receipt.rows == rows
