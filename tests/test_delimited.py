"""The strict scan and the new header: what stays unchanged, and what is refused."""

import csv
import hashlib
import io
import random
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.formats import csv_scan, decode, delimited, raw_table

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"
NAUGHTY = [
    *("\\N", "\\.x", "\\", "\t", "\x01\x1b[31m", "\x7f", "\u202eabc", "👩‍👩‍👧", "ﷺ", "\u2028"),
    *("=1+1", "'", 'a"b', "a,b", "a\nb", "a\r\nb", " ", "\u00a0", "NULL", "\ufeff", '""', '"', ","),
]


@pytest.fixture(params=[16, 8 << 20], ids=["tiny blocks", "one block"])
def block(request, monkeypatch):
    """Blocks so small that everything is on a border once, and blocks of the usual size."""
    monkeypatch.setattr(decode, "BLOCK", request.param)


@pytest.fixture
def made(tmp_path):
    """Write raw bytes as files of a source, convert them, return receipt and result."""

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
    """RFC 4180, one character at a time; an unquoted empty value is None."""
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


# What is refused: raw bytes, and texts that the error must contain.
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
    "glued tables, one name quoted": (b'a,b\n1,2\n"a",b\n3,4\n', ["line 3", "a second header"]),
    "glued tables, padded": (b"a,b\n1,2\n a,b \n3,4\n", ["line 3", "a second header"]),
    "glued tables, a blank at the end": (b"a,b\n1,2\na,b \n3,4\n", ["line 3", "a second header"]),
    "glued tables, padded in quotes": (b'a,b\n1,2\n"a ",b\n', ["line 3", "a second header"]),
    "glued tables with a mark": (b"a,b\n1,2\n\xef\xbb\xbfa,b\n", ["line 3", "a second header"]),
    "glued tables, header of two lines": (
        b'"a\nc",b\n1,2\n"a\nc","b"\n3,4\n',
        ["line 4", "a second header"],
    ),
    "glued tables, header of two lines in one": (
        b'"a\nc",b\n1,2\na c,b\n3,4\n',
        ["line 4", "a second header"],
    ),
    "glued tables, first name empty": (b'"",b\n1,2\n,b\n', ["line 1"]),
    "C1 control": (b"a,b\n1,x\xc2\x85\n", ["line 2, column b", "U+0085"]),
    "encoded twice": (
        "a,b\n1,DoÃ±a\n2,Itâ\x80\x99s\n".encode(),
        ["line 3, column b", "U+0080", "utf-8 reads '2,It\u2019s'"],
    ),
    "CR alone": (b"a,b\r1,2\r3,4\r", ["end in CR alone", 'line_end="\\r"']),
    "CR alone, no final one": (b"a,b\r1,2\r3,4", ["end in CR alone", 'line_end="\\r"']),
    "CR alone, LF in quotes": (b'a,b\r1,"2\n"\r3,4\r', ["end in CR alone", 'line_end="\\r"']),
    "CR alone, LF at the end": (b"a,b\r1,2\r3,4\n", ["end in CR alone", 'line_end="\\r"']),
    "Shift-JIS": (
        "都道府県,市区町村,人口\n東京都,千代田区,66680\n".encode("cp932"),
        ["line 1", "not UTF-8", "cp932 reads '都道府県"],
    ),
    "Big5 with a bar in it": (
        "縣市功,鄉鎮,人口數\n臺北市,中正區,159598\n".encode("big5"),
        ["line 1", "not UTF-8", "big5 reads '縣市"],
    ),
    "one column in Big5 with a bar in it": (
        "功縣市\n臺北市\n".encode("big5"),
        ["line 1", "not UTF-8", "big5 reads '功縣市"],
    ),
    "no header, an empty value": (b"01001,,2\n01003,x,3\n", ["line 1", "no name", "header="]),
    "no header, a value twice": (b"1,1,a\n2,3,b\n", ["line 1", "'1'", "header="]),
    "glued tables, unquoted": (b'"a","b"\n1,2\na,b\n3,4\n', ["line 3", "a second header"]),
    "header twice": (b"a,b\na,b\n1,2\n", ["line 2", "a second header"]),
    "end of COPY": (b"a\n1\n\\.\n2\n", ["line 3", r"a line \."]),
    "end of COPY, CR LF": (b"a\r\n1\r\n\\.\r\n2\r\n", ["line 3", r"a line \."]),
    "end of COPY inside quotes": (b'a,b\n1,"x\n\\.\ny"\n', ["line 3", r"a line \."]),
    "empty file": (b"", ["line 1", "an empty file"]),
    "blanks": (b"  \n \n", ["line 1", "a blank line instead of the header"]),
    "header without a line end": (b"a,b", ["line 1", "a header without a line end"]),
    "HTML": (b"\n <!DOCTYPE html>\n<p>Sorry\n", ["HTML", "<!DOCTYPE html>"]),
    "JSON": (b'{"error":{"code":400}}\n', ["JSON", "400"]),
    "cut in the last row": (b"a,b\n1,2\n3,45", ["line 3", "no line end", "3,45"]),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", ["line 1", "byte order mark"]),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), ["line 1"]),
    "two columns of a name": (b"a, a \n1,2\n", ["line 1", "two columns are called 'a'"]),
    "a column without name": (b"a,,b\n1,2,3\n", ["line 1", "column 2", "no name"]),
    "a long name": (b"a," + "é".encode() * 32 + b"\n1,2\n", ["line 1", "column 2", "64 bytes"]),
    "a system column": (b"xmin,ymin\n1,2\n", ["line 1", "'xmin'", "reserves"]),
    "a name not printable": (b"a\x07b,c\n1,2\n", ["line 1", "column 1", "unprintable"]),
    "an open quote in the header": (b'a,"b\n1,2\n', ["line 1"]),
    "a bare quote in the header": (b'a,6" pipe,7" pipe\n1,2,3\n', ["line 1", "a quote inside"]),
    "1,601 columns": (
        b",".join(b"c%d" % n for n in range(1601)) + b"\n" + b"," * 1600 + b"\n",
        ["1601 columns"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_its_place(name, made, block):
    raw, texts = REFUSED[name]
    with pytest.raises(SourceError) as refused:
        made(raw)
    for text in ["some_source/0.csv", *texts]:
        assert text in str(refused.value)
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
        made(b"a,b\n1,2\n", b"c,d\n1,2\n")
    with pytest.raises(SourceError, match=r"1.csv, line 3"):
        made(b"a,b\n1,2\n", b"a,b\n1,2\n3\n")


def test_a_column_that_only_some_files_have_is_null_in_the_others(made, block):
    receipt, written = made(b'a,b\r\n1,""\r\n', b'b,new,a\n"x\ny",,3\n"",5,\n')
    assert written == b'a,b,new\r\n1,"",\r\n3,"x\ny",\r\n,"",5\r\n'
    assert receipt.lacking == {"0.csv": ["new"], "1.csv": []}
    assert made(b"a,b\n1,2\n", b"a,b\r\n3,4\r\n")[1] == b"a,b\n1,2\n3,4\n"
    assert made(b"a\n1", b"b,a\n,2", final_newline=False)[1] == b"b,a\n,1\n,2"
    assert made(b"a ,b\n1,2\n", b" b,a\n3,4\n")[1] == b"a,b\n1,2\n4,3\n"
    renamed = made(b"fips,n\n1,2\n", b"cnty,n\n3,4\n", rename={"cnty": "fips"})
    assert renamed[1] == b"fips,n\n1,2\n3,4\n"
    with pytest.raises(SourceError, match=r"1601 columns; a table holds 1600"):
        made(b"a,z\n1,2\n", ",".join(f"c{n}" for n in range(1599)).encode() + b",z\n")


def test_header_only_is_no_row(made):
    assert made(b"a,b\n")[0].rows == 0


def test_a_second_header_in_quotes_is_one_where_quotes_have_no_meaning(made, block):
    for header, again in ((b"a\tb", b'"a"\t"b"'), (b'"a"\t"b"', b"a\tb"), (b"a\tb", b'a\t "b"')):
        with pytest.raises(SourceError, match=r"line 3: a second header"):
            made(header + b"\n1\t2\n" + again + b"\n", delimiter="\t", quote=None)
    assert made(b'a\tb\n1\t2\n"a\t"\n', delimiter="\t", quote=None)[0].rows == 2


def test_declared_byte_order_mark_is_taken_off(made):
    assert made(b"\xef\xbb\xbfa,b\n1,2\n", encoding="utf-8-sig")[1] == b"a,b\n1,2\n"


def test_row_over_the_limit_is_refused(made, monkeypatch):
    for module in (decode, csv_scan):
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
    assert made(b"a\n\xe9\n", encoding=["ascii", "latin-1"])[0].notes == {"encoding latin-1": 1}
    with pytest.raises(SourceError, match="not in any of utf-8, cp1252"):
        made(b"a\n\x81\n", encoding=["utf-8", "cp1252"])
    with pytest.raises(SourceError, match=r"latin-1: line 2: .*U\+0081.*mac-roman reads 'Å'"):
        made(b"a\n\x81\n", encoding=tried)
    with pytest.raises(SourceError, match=r"line 2: the byte 0x81 does not exist in cp1252"):
        made(b"a\n\x81\n", encoding="cp1252")


GARBLED = [  # raw, declared, the line, part of the error
    ("name\nDoña Ana\nCañón\n".encode() + b"Caf\xe9\n", ["utf-8", "latin-1"], 4, "garble"),
    ("name\nDoña Ana\nCañón\n".encode() + b"Caf\xe9\n", ["utf-8", "cp1252"], 4, "garble"),
    ("name\nDoña Ana\nCañón\n".encode() + b"Caf\xe9\n", ["utf-8", "mac-roman"], 4, "0xe9"),
    ("name\nDoña Ana\nCañón\n".encode() + b"Caf\xe9\n", "latin-1", 4, "garble"),
    ("name\nDoña Ana\nCañón\n".encode() + b"Caf\xe9\n", "utf-8", 4, "fix.lines"),
    (b"name\nDo" + b"\xff\n" + "ñandú €\n".encode(), ["utf-8", "iso8859-15"], 2, "0xff"),
    (
        "name\nx\n“it\u2019s”\n".encode("cp1252"),
        "latin-1",
        3,
        "cp1252 reads '“it\u2019s”', mac-roman",
    ),
    (
        "name\nx\n“it\u2019s”\n".encode("cp1252"),
        ["utf-8", "latin-1"],
        3,
        "cp1252 reads '“it\u2019s”'",
    ),
    ("name\nGarcía Núñez\n".encode("mac-roman"), "latin-1", 2, ": mac-roman reads 'García N"),
    ("name\nGarcía Núñez\n".encode("cp1252"), "utf-8", 2, "cp1252 reads 'García Núñez'"),
    ("name\nx\x85\n".encode("utf-16"), "utf-16", 2, "U+0085"),
]


@pytest.mark.parametrize("number", range(len(GARBLED)))
def test_text_that_a_codec_would_garble_is_refused(number, made, block):
    raw, encoding, line, message = GARBLED[number]
    with pytest.raises(SourceError) as refused:
        made(raw, encoding=encoding)
    assert f"line {line}" in str(refused.value)
    assert message in str(refused.value)


def test_one_bad_byte_among_utf8_never_passes_for_another_codec(made):
    """Random names in UTF-8 with a few damaged bytes, read with every single-byte codec."""
    source = random.Random(5)
    letters = "abc " * 6 + "éñüßøçÁÑ€“”"
    for _ in range(300):
        rows = ["".join(source.choice(letters) for _ in range(12)) + "ñ" for _ in range(9)]
        raw = bytearray(("name\n" + "\n".join(rows) + "\n").encode())
        for _ in range(source.randint(1, 3)):
            raw.insert(source.randrange(6, len(raw)), source.choice([0x80, 0x92, 0xC3, 0xE9, 0xFF]))
        for encoding in ("latin-1", "cp1252", "mac-roman", "iso8859-15", "cp437"):
            with pytest.raises(SourceError):
                made(bytes(raw), encoding=["utf-8", encoding])


def test_text_in_another_codec_is_not_taken_for_utf8(made):
    source = random.Random(6)
    for encoding in ("latin-1", "cp1252", "mac-roman", "cp932", "big5", "gb18030", "euc-kr"):
        letters = {"cp932": "東京都ソ表", "big5": "臺北市功", "gb18030": "中文北京联通"}
        pool = letters.get(encoding, "가나다라" if encoding == "euc-kr" else "éñüÁÑ") + "ab"
        for _ in range(30):
            text = "name\n" + "".join(source.choice(pool) for _ in range(40)) + "\n"
            assert made(text.encode(encoding), encoding=["utf-8", encoding])[0].rows == 1


def test_utf16_may_stand_in_a_list_of_encodings(made, block):
    tried = ["utf-16", "utf-8"]
    assert made("a\né\n".encode(), encoding=tried)[0].notes == {"encoding utf-8": 1}
    assert made("a\né\n".encode("utf-16"), encoding=tried)[1] == "a\né\n".encode()
    with pytest.raises(SourceError, match="UTF-16, although utf-16-le is declared"):
        made("a\né\n".encode("utf-16"), encoding="utf-16-le")


def test_rows_may_end_in_another_way_than_their_header(made, block):
    receipt, written = made(b'a,b\n1,2\r\n"3\n",4\r\n')
    assert written == b'a,b\r\n1,2\r\n"3\n",4\r\n'
    assert receipt.notes == {"files whose header has another line end than their rows": 1}
    assert made(b"a,b\r\n1,2\n3,4\n")[1] == b"a,b\n1,2\n3,4\n"
    assert made(b"a;b\n1;2\r\n3;4", delimiter=";", final_newline=False)[0].rows == 2


def test_lines_that_end_in_cr_alone_are_read_where_declared(made, block):
    written = made(b'a,b\r1,"2\r\n"\r"3\r",\r', line_end="\r")[1]
    assert written == b'a,b\n1,"2\r\n"\n"3\r",\n'
    assert made(b"a;b\r1;2", line_end="\r", delimiter=";", final_newline=False)[1] == b"a,b\n1,2"
    with pytest.raises(SourceError, match=r"line 3: a row of 1 fields"):
        made(b"a,b\r1,2\r3\r", line_end="\r")
    with pytest.raises(SourceError, match=r"the lines end in LF or CR LF"):
        made(b"a,b\n1,2\n", line_end="\r")
    with pytest.raises(SourceError, match=r"a line \\. ends the data"):
        made(b'a,b\r1,"x\n\\.\ny"\r', line_end="\r")


def test_a_file_without_a_header_gets_the_names_declared(made, block):
    receipt, written = made(b"01001,2\n01003,3\n", header=["fips", "some value"])
    assert (receipt.columns, receipt.rows) == (["fips", "some_value"], 2)
    assert written == b"fips,some_value\n01001,2\n01003,3\n"
    with pytest.raises(SourceError, match=r"line 2: a row of 1 fields under a header of 2"):
        made(b"01001,2\n01003\n", header=["fips", "value"])
    with pytest.raises(SourceError, match=r"line 1: a second header"):
        made(b"fips,value\n01001,2\n", header=["fips", "value"])


def test_columns_that_differ_in_case_alone_are_two(made):
    assert made(b"Name,NAME,name\n1,2,3\n")[0].columns == ["Name", "NAME", "name"]


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
    """Python's csv (strict) and the reference reader agree on what is accepted."""
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
        assert written.partition(b"\n")[2] == raw.partition(b"\n")[2], number
        rows = as_copy_reads(raw)
        strict = list(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))
        assert [[value or "" for value in row] for row in rows] == strict
        assert receipt.rows == len(rows) - 1
        assert {len(row) for row in rows} == {2}
    assert 500 < passed < 1400


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_random_tables_go_through_and_one_damage_is_refused(made, monkeypatch, line_end):
    """Tables of csv.writer are accepted; not with a missing or additional separator or quote."""
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
        row, index = source.randrange(1, 5), source.randrange(2 * width - 1)
        for damage in (b",", b'"', b""):
            broken = simple[:]
            kept = broken[row][index + (damage != b'"') :] if damage else broken[row][2:]
            broken[row] = broken[row][:index] + damage * 2 + kept if damage else kept
            with pytest.raises(SourceError):
                made(b"\n".join([b",".join(b"h%d" % n for n in range(width)), *broken, b""]))


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


def test_what_is_taken_for_granted():
    """Commas and double quotes by default, and limits that PostgreSQL accepts."""
    assert csv_scan.Dialect() == csv_scan.Dialect(b",", b'"', is_cr=False)
    assert csv_scan.MAX_RECORD_BYTES == 64 * 1024**2
    assert raw_table.MAX_HEADER_BYTES == 1024**2
    assert raw_table.LEADING_BYTES == 1024


@pytest.mark.parametrize("sign", [b"", b"\r", b"\n", b";;"])
def test_a_sign_of_a_dialect_is_one_byte_and_no_line_end(sign):
    with pytest.raises(ValueError, match="cannot be a delimiter or a quote"):
        csv_scan.Dialect(delimiter=sign)
    with pytest.raises(ValueError, match="cannot be a delimiter or a quote"):
        csv_scan.Dialect(quote=sign or b"--")


@pytest.mark.parametrize("record", [b'"a"b,c\n', b"a\rb,c\n", b'"a', b"\xff\n"])
def test_a_record_that_is_none_has_no_values(record):
    with pytest.raises((csv.Error, ValueError)):
        csv_scan.Dialect().fields(record)


def test_the_first_record_is_refused_at_its_own_line():
    for line, given in ((1, {}), (5, {"first_line": 5})):
        first = csv_scan.Scan("here", b"a,b\n", ["a", "b"], csv_scan.Dialect(), **given)
        with pytest.raises(SourceError, match=f"here, line {line}: a row of 1 fields"):
            first.block(b"a\n1,2\n")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (["|a,b|"], "line 1: a blank line: "),
        (["a,b|1|2,3|"], "line 2: a row of 1 fields under a header of 2: 1"),
        (["a,b|1,2|3,4,5|6|"], "line 3: a row of 3 fields under a header of 2: 3,4,5"),
        (["a,b|1,2|", "3,4||5|"], "line 4: a blank line: "),
        (["a,b|'1|", "2',3,4|"], "line 2: a row of 3 fields under a header of 2: 2',3,4"),
        (["a,b|1,'2|", "3'x|"], "line 3, column b: text after a closing quote: 3'x"),
        (["a,b|1,2|", "3,4'5'|"], "line 3, column b: a quote inside an unquoted field: 3,4'5'"),
        (
            [f"a,b|1,{'x' * 30}'y|"],
            f"line 2, column b: a quote inside an unquoted field: {'x' * 20}'y",
        ),
        (["a,b|1,2|'a|", "|", "',b|"], "line 3: a second header: ',b"),
        (["a,b|1,2,3'4|"], "line 2: a quote inside an unquoted field: 1,2,3'4"),
        (["a,b|1,'x|", "|y'z|"], "line 4, column b: text after a closing quote: "),
        (["a,b|1,2|a,b|"], "line 3: a second header: a,b"),
        (["a,b|1,2|", "a,b|3,4|"], "line 3: a second header: a,b"),
        (["a,b|1,2|'a|", "',b|3|"], "line 3: a second header: ',b"),
    ],
)
def test_what_is_refused_is_named_with_its_place_in_any_block(blocks, said, end):
    made = [text.replace("|", end).replace("'", '"').encode() for text in blocks]
    header = b"a,b" + end.encode()
    checked = csv_scan.Scan("here", header, ["a", "b"], csv_scan.Dialect())
    with pytest.raises(SourceError) as caught:
        for block in made:
            checked.block(block)
    assert caught.value.what == f"here, {said}".replace("'", '"')


@pytest.mark.parametrize("length", [1, 61, 62, 63, 64, 65, 127, 128])
def test_a_block_within_quotes_is_part_of_its_value_whatever_its_length(length):
    checked = csv_scan.Scan("here", b"a,b\n", ["a", "b"], csv_scan.Dialect())
    assert checked.block(b"a,b\n1,2\n") == 8
    opened = b'3,"' + b"x" * (length - 4) + b"\n" if length > 4 else b'3,"\n'
    assert checked.block(opened) == 0
    assert checked.block(b"," * (length - 1) + b"\n") == 0
    assert checked.block(b'y"\n4,5\n') == 7
    assert (checked.records, checked.lines) == (4, 6)
    checked.finish()
    assert checked.block(opened) == 0
    with pytest.raises(SourceError, match="here, line 7: the file ends inside quotes"):
        checked.finish()


def test_a_block_of_lf_lines_under_crlf_is_refused():
    checked = csv_scan.Scan("here", b"a,b\r\n", ["a", "b"], csv_scan.Dialect())
    checked.block(b"a,b\r\n1,2\r\n")
    with pytest.raises(
        SourceError, match="here, line 3: a line that ends with LF, and not with CR"
    ):
        checked.block(b"3,4\n")


@pytest.mark.parametrize("declared", [",", ";", "\t", "|"])
@pytest.mark.parametrize("found", [",", ";", "\t", "|"])
def test_every_usual_delimiter_is_known_where_another_is_declared(made, declared, found):
    if declared == found:
        return
    with pytest.raises(SourceError, match="one column only") as caught:
        made(f"a{found}b{found}c\n1{found}2{found}3\n".encode(), delimiter=declared)
    assert f"{found!r} occurs 2 times" in caught.value.what


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (["a,b|12345,789|", "1,2|12345,7890|3,4|"], "line 4: a row of over 0 MiB: 12345,7890"),
        (["a,b|1,2|", "1,'4567890|"], "line 3, column b: a row of over 0 MiB: 1,'4567890"),
        (["a,b|1,2|", "1,'456|", "890|"], "line 4, column b: a row of over 0 MiB: 890"),
    ],
)
def test_a_record_may_be_as_long_as_the_limit_and_no_longer(monkeypatch, blocks, said):
    monkeypatch.setattr(csv_scan, "MAX_RECORD_BYTES", 10)  # its line end included
    checked = csv_scan.Scan("here", b"a,b\n", ["a", "b"], csv_scan.Dialect())
    *before, last = [text.replace("|", "\n").replace("'", '"').encode() for text in blocks]
    for block in before:
        checked.block(block)
    with pytest.raises(SourceError) as caught:
        checked.block(last)
    assert caught.value.what == f"here, {said}".replace("'", '"')


def test_the_column_is_counted_from_the_block_in_which_its_row_begins():
    checked = csv_scan.Scan("here", b"a,b,c\n", ["a", "b", "c"], csv_scan.Dialect())
    checked.block(b'a,b,c\n1,"2\n')
    with pytest.raises(SourceError, match="here, line 3, column b: text after a closing quote"):
        checked.block(b'3"x,4\n')


@pytest.mark.parametrize(("size", "is_header"), [(4, True), (24, True), (25, False)])
def test_a_header_that_comes_again_may_be_padded_so_far(size, is_header):
    """Twice its length and eight bytes per name: a longer record is not a header."""
    checked = csv_scan.Scan("here", b"a,b\n", ["a", "b"], csv_scan.Dialect())
    block = b"a,b\n" + b"a" + b" " * (size - 4) + b",b\n"
    if not is_header:
        assert checked.block(block) == len(block)
        return
    with pytest.raises(SourceError, match="a second header"):
        checked.block(block)


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<a>\n", "an HTML or XML page"), (b'{"a": 1}\n', "JSON"), (b"\n [1]\n", "JSON")],
)
def test_another_kind_of_document_is_named(made, body, kind):
    with pytest.raises(SourceError, match=f"csv: {kind} instead of delimited text"):
        made(body)


def test_another_line_end_than_cr_cannot_be_declared(made):
    with pytest.raises(ValueError, match="line_end="):
        made(b"a,b\n1,2\n", line_end="\n")


def test_a_header_that_begins_with_no_name_is_known_when_it_comes_again():
    for row in (b",b\n", b'"",b\n'):
        checked = csv_scan.Scan("here", b",b\n", ["", "b"], csv_scan.Dialect())
        with pytest.raises(SourceError, match="here, line 3: a second header"):
            checked.block(b",b\n1,2\n" + row)


@pytest.mark.parametrize("data", [b"a,b\r\n1,2\r\n", b"a,b\r\n", b'"a",b\r\n"1\r\n2",3\r\n'])
def test_lines_that_end_in_cr_lf_where_cr_alone_is_declared_are_named(tmp_path, data):
    (tmp_path / "in.csv").write_bytes(data)
    with pytest.raises(SourceError, match="end in CR LF, not in CR alone") as caught:
        delimited.write_csv(tmp_path / "in.csv", tmp_path / "out.csv", line_end="\r")
    assert 'take line_end="\\r" out' in caught.value.remedy
