"""Streaming readers, with any block size and dialect, compared with a simple reference."""

import codecs
import gzip
import io
import random
from dataclasses import dataclass, replace

import pytest
from test_delimited import as_copy_reads

from pipeline import compressed
from pipeline.errors import SourceError
from pipeline.formats import charset, decode, delimited, features, geojson
from pipeline.prod import pg_restore

BLOCKS = (1, 2, 3, 5, 7, 16, 64, 1000, 1 << 20)
DELIMITERS = (",", ";", "\t", "|", ":", "^", "~", " ", "\x1f", "\\")
QUOTES = ('"', "'", "`", "$", None)
# Codecs, and letters of each; no sequence of the single-byte letters is UTF-8 by chance.
ENCODINGS = {
    "utf-8": "é€👩ﷺ",
    "utf-8-sig": "é€👩",
    "latin-1": "éñü",
    "cp1252": "“”€—",
    "mac-roman": "éñü",
    "utf-16": "é€👩\u0a0a\u0d0d",
    "utf-16-le": "é\u0a0a",
    "utf-16-be": "é\u0d0d",
    "utf-32": "é👩",
    "cp932": "ソ表十能",  # their second byte is a backslash
    "big5": "功許蓋",
    "gb18030": "中文㐀",
}


@dataclass(frozen=True)
class Dialect:
    delimiter: str
    quote: str | None
    encoding: str
    line_end: str
    header_line_end: str
    final_newline: bool
    is_packed: bool
    has_header: bool

    def options(self, names: list[str]) -> dict:
        return {
            "delimiter": self.delimiter,
            "quote": self.quote,
            "encoding": self.encoding,
            "line_end": "\r" if self.line_end == "\r" else None,
            "final_newline": self.final_newline,
            "header": None if self.has_header else names,
        }


def a_dialect(source: random.Random) -> Dialect:
    line_end = source.choice(["\n", "\n", "\r\n", "\r"])
    other = source.choice(["\n", "\r\n"]) if line_end != "\r" else "\r"
    delimiter, quote = source.choice(DELIMITERS), source.choice(QUOTES)
    return Dialect(
        delimiter,
        quote,
        source.choice(list(ENCODINGS)),
        line_end,
        source.choice([line_end, line_end, other]),
        source.random() < 0.7,
        source.random() < 0.15,
        source.random() < 0.85,
    )


def a_table(source: random.Random, dialect: Dialect) -> tuple[list[str], list[list[str | None]]]:
    """Names, and rows of values; None is an unquoted empty field."""
    width = source.randint(1, 4)
    names = [f"h{n}" for n in range(width)]
    signs = ["a", "0", " ", "\\N", *ENCODINGS[dialect.encoding], '"', "'", ",", ";"]
    inner = ["\n", "\r", "\r\n", dialect.delimiter, dialect.quote or "x", dialect.delimiter * 3]
    rows = []
    for _ in range(source.choice([1, 1, 2, 5, 12])):
        row = []
        for _ in range(width):
            size = source.choice([0, 1, 1, 2, 3, 9, 40])
            pool = signs + inner * (dialect.quote is not None) * source.randint(0, 2)
            text = "".join(source.choice(pool) for _ in range(size))
            if dialect.quote is None:
                text = text.replace(dialect.delimiter, "")
            row.append(text)
        if dialect.quote is None and width == 1:
            row = [text or "x" for text in row]  # an empty line is not a row
        rows.append(row)
    return names, rows


def as_published(source: random.Random, dialect: Dialect, names, rows) -> tuple[bytes, list]:
    """The bytes of a table in a dialect, and the values that a reader must find."""
    seen = []

    def field(value: str) -> tuple[str, str | None]:
        quote = dialect.quote
        if quote is None:
            return value, value or None
        must = any(sign in value for sign in (quote, dialect.delimiter, "\r", "\n"))
        if must or source.random() < 0.3 or (not value and len(names) == 1):
            return quote + value.replace(quote, quote * 2) + quote, value
        return value, value or None

    lines = []
    for row in rows:
        fields = [field(value) for value in row]
        seen.append([value for _, value in fields])
        lines.append(dialect.delimiter.join(text for text, _ in fields) + dialect.line_end)
    if not dialect.final_newline:
        lines[-1] = lines[-1].removesuffix(dialect.line_end)
    head = dialect.delimiter.join(names) + dialect.header_line_end if dialect.has_header else ""
    return (head + "".join(lines)).encode(dialect.encoding), seen


@pytest.fixture
def made(tmp_path, monkeypatch):
    folder = tmp_path / "some_source"
    folder.mkdir()

    def make(raw: bytes, block: int, is_packed: bool = False, **options):
        monkeypatch.setattr(decode, "BLOCK", block)
        path = folder / ("raw.csv.gz" if is_packed else "raw.csv")
        path.write_bytes(gzip.compress(raw, 1) if is_packed else raw)
        output = tmp_path / "out.csv"
        receipt = delimited.write_csv(path, output, **options)
        return receipt, output.read_bytes()

    return make


def test_every_dialect_in_blocks_of_any_size_arrives_whole(made, is_long):
    """Values, rows and columns are as written; nothing well-formed is refused."""
    source = random.Random(13)
    for number in range(8_000 if is_long else 1_200):
        dialect = a_dialect(source)
        if dialect.delimiter == dialect.quote:
            continue
        names, rows = a_table(source, dialect)
        raw, values = as_published(source, dialect, names, rows)
        if any(row == names for row in values):
            continue
        for block in source.sample(BLOCKS, 2):
            context = f"{number}, blocks of {block}, {dialect}: {raw!r}"
            try:
                receipt, written = made(raw, block, dialect.is_packed, **dialect.options(names))
            except SourceError as error:
                pytest.fail(f"refused, {error}: {context}")
            assert receipt.columns == names, context
            assert receipt.rows == len(rows), context
            assert as_copy_reads(written)[1:] == values, context


def test_files_under_different_headers_are_one_table(tmp_path, monkeypatch, is_long):
    """Columns in any order, some missing, different line ends: no value moves."""
    source = random.Random(17)
    folder = tmp_path / "some_source"
    folder.mkdir()
    for number in range(3_000 if is_long else 250):
        dialect = a_dialect(source)
        if dialect.delimiter == dialect.quote or not dialect.has_header:
            continue
        every = [f"h{n}" for n in range(source.randint(2, 5))]
        paths, expected = [], []
        for part in range(source.randint(2, 4)):
            names = source.sample(every, source.randint(1, len(every)))
            names = names if "h0" in names else [*names, "h0"]
            ends = ["\r"] if dialect.line_end == "\r" else ["\n", "\r\n"]
            ends = {"line_end": source.choice(ends), "header_line_end": source.choice(ends)}
            signs = ["", "x", ' "', "'", ",;", "\n"]
            count = source.choice([0, 1, 3])
            rows = [[source.choice(signs) for _ in names] for _ in range(count)]
            if dialect.quote is None or len(names) == 1:
                rows = [["plain" for _ in names] for _ in rows]
            is_ended = dialect.final_newline or not rows
            ours = replace(dialect, **ends, final_newline=is_ended)
            raw, values = as_published(source, ours, names, rows)
            paths.append(folder / f"{part}.csv{'.gz' * dialect.is_packed}")
            paths[-1].write_bytes(gzip.compress(raw, 1) if dialect.is_packed else raw)
            expected += [dict(zip(names, row, strict=True)) for row in values]
        monkeypatch.setattr(decode, "BLOCK", source.choice(BLOCKS))
        receipt = delimited.write_csv(paths, tmp_path / "out.csv", **dialect.options(names))
        context = f"{number}, {dialect}: {[path.read_bytes() for path in paths]}"
        columns, *written = as_copy_reads((tmp_path / "out.csv").read_bytes())
        assert columns == receipt.columns, context
        assert [dict(zip(columns, row, strict=True)) for row in written] == [
            {name: row.get(name) for name in columns} for row in expected
        ], context


def test_a_damaged_file_is_judged_alike_in_blocks_of_any_size(made, is_long):
    """The result, or the error, does not depend on how the blocks are cut."""
    source = random.Random(31)
    refused = 0
    for number in range(4_000 if is_long else 500):
        dialect = a_dialect(source)
        if dialect.delimiter == dialect.quote:
            continue
        names, rows = a_table(source, dialect)
        raw = bytearray(as_published(source, dialect, names, rows)[0])
        for _ in range(source.randint(1, 3)):
            at = source.randrange(len(raw))
            wrong = source.choice(
                [b"", b'"', b"'", b"\n", b"\r", b"\0", b"\xff", b",", b"\xc2\x85"]
            )
            raw[at : at + source.choice([0, 1])] = wrong
        seen = set()
        for block in (1 << 20, *source.sample(BLOCKS, 2)):
            try:
                seen.add(made(bytes(raw), block, **dialect.options(names))[1])
            except SourceError as error:
                is_decoded = codecs.lookup(dialect.encoding).name not in ("utf-8", "utf-8-sig")
                # Decoding and scan alternate block by block: either may refuse first.
                seen.add("refused" if is_decoded else error.what.partition(": ")[0])
        assert len(seen) == 1, f"{number}, {dialect}: {bytes(raw)!r}: {seen}"
        refused += isinstance(seen.pop(), str)
    assert refused > 100


@pytest.mark.parametrize("block", [1, 1000, 2 << 20])
@pytest.mark.parametrize(("delimiter", "quote"), [(",", '"'), (";", '"'), ("\t", '"'), (",", "'")])
def test_a_value_of_many_blocks_is_not_shortened(made, delimiter, quote, block):
    """A block counts even if no record ends in it."""
    value = "line of text\n" * (40 if block == 1 else 400_000 if block > 1000 else 2_000)
    raw = f"a{delimiter}b\n1{delimiter}{quote}{value}{quote}\n".encode()
    receipt, written = made(raw, block, delimiter=delimiter, quote=quote)
    assert receipt.rows == 1
    assert written.count(b"line of text\n") == value.count("\n")


def test_gzip_in_blocks_of_any_size(is_long):
    """Several members in sequence; a stream that is cut anywhere has no end."""
    source = random.Random(5)
    for _ in range(2_000 if is_long else 150):
        parts = [source.randbytes(source.choice([0, 1, 50, 5000])) for _ in range(3)]
        packed = b"".join(map(gzip.compress, parts))
        size = source.choice(BLOCKS[1:])
        blocks = [packed[at : at + size] for at in range(0, len(packed), size)]
        assert b"".join(compressed.gunzip(blocks, "here")) == b"".join(parts)
        last = len(gzip.compress(parts[-1]))
        cut = packed[: len(packed) - source.randrange(1, last)]
        blocks = [cut[at : at + size] for at in range(0, len(cut), size)]
        with pytest.raises(SourceError):
            list(compressed.gunzip(blocks, "here"))


def test_the_share_of_utf8_in_blocks_of_any_size(is_long):
    source = random.Random(6)
    for _ in range(3_000 if is_long else 300):
        parts = [b"a", b"\n", "é".encode(), "€".encode(), "👩".encode(), b"\xe9", b"\xff", b"\xe2"]
        raw = b"".join(source.choice(parts) for _ in range(30))
        counted = []
        for size in (1 << 20, source.choice([1, 2, 3, 7])):
            share = charset.Utf8Share()
            for at in range(0, len(raw), size):
                share.add(raw[at : at + size])
            share.add(b"")
            counted.append((share.good, share.bad, share.line, share.byte))
        assert counted[0] == counted[1], raw


def test_features_in_chunks_of_any_size(tmp_path, monkeypatch):
    folder = tmp_path / "some_source"
    folder.mkdir()
    path = folder / "raw.geojson"
    source = random.Random(8)
    texts = ["x", "é\\n,", '\\"', "a" * 90]
    members = [
        f'{{"type":"Feature","properties":{{"a":"{source.choice(texts)}"}},"geometry":null}}'
        for _ in range(40)
    ]
    path.write_text(f'{{"type":"FeatureCollection","features":[{",".join(members)}]}}', "utf-8")
    written = set()
    for chunk in (1, 30, 100, 1 << 20):
        monkeypatch.setattr(features, "CHUNK", chunk)
        geojson.write_csv(path, tmp_path / "out.csv")
        written.add((tmp_path / "out.csv").read_bytes())
    assert len(written) == 1


def test_the_rows_of_a_dump_in_blocks_of_any_size(is_long):
    """Each COPY is complete, with any rows and any block size."""
    source = random.Random(9)
    lines = [
        b"\n",
        b"\\\\.\n",
        b"\\.x\n",
        b".\n",
        b"\\N\t1\n",
        b"COPY a FROM stdin;\n",
        b"x" * 70 + b"\n",
    ]
    for _ in range(3_000 if is_long else 200):
        copies = [[source.choice(lines) for _ in range(source.randint(0, 6))] for _ in range(3)]
        script = b"".join(
            b"-- words\nCOPY t%d FROM stdin;\n%b\\.\n\n" % (number, b"".join(rows))
            for number, rows in enumerate(copies)
        )
        stream = io.BufferedReader(io.BytesIO(script), source.choice([1, 2, 3, 5, 64, 1 << 20]))
        found = [(table, b"".join(blocks)) for table, blocks in pg_restore._copies(stream)]
        assert found == [(f"COPY t{n}", b"".join(rows)) for n, rows in enumerate(copies)]
