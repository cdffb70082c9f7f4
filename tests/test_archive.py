"""gzip and zip: complete or refused, bounded, and only the requested member is read."""

import errno
import gzip
import io
import os
import random
import stat
import zipfile
import zlib
from collections import Counter

import pytest

from pipeline import compressed
from pipeline.errors import SourceError, Transient
from pipeline.formats import delimited
from pipeline.raw import checks

ROWS = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(1000))


def pieces(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 4096, 1 << 20])
def test_gzip_of_several_members_in_any_blocks(size):
    packed = gzip.compress(ROWS) + gzip.compress(b"") + gzip.compress(b"end\n")
    assert b"".join(compressed.gunzip(pieces(packed, size), "x")) == ROWS + b"end\n"


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize("lost", [1, 8, 9, 500])
def test_a_cut_gzip_has_no_end(size, lost):
    packed = gzip.compress(os.urandom(2000))[:-lost]
    with pytest.raises(Transient, match="has no end"):
        list(compressed.gunzip(pieces(packed, size), "x"))


@pytest.mark.parametrize("at", [-1, -5, 15])
def test_a_damaged_gzip_is_noticed_by_its_trailer(at):
    packed = bytearray(gzip.compress(os.urandom(2000)))
    packed[at] ^= 1
    with pytest.raises(Transient, match="damaged"):
        list(compressed.gunzip([bytes(packed)], "x"))


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("rest", [b"\0\0\0\0", b"rest", b"a,b\n"])
def test_what_follows_the_end_is_refused(rest, size):
    with pytest.raises(SourceError, match="bytes follow the end") as caught:
        list(compressed.gunzip(pieces(gzip.compress(ROWS) + rest, size), "x"))
    assert not isinstance(caught.value, Transient)


def bomb(megabytes):
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def test_a_bomb_is_stopped_early():
    decoded = 0
    with pytest.raises(SourceError, match="expands without end"):
        for block in compressed.gunzip(pieces(bomb(100), compressed.BLOCK), "x"):
            decoded += len(block)
            assert len(block) <= compressed.BLOCK
    assert compressed.EXPANSION_FLOOR - compressed.BLOCK <= decoded < 50 << 20


def test_a_small_file_may_expand_far():
    assert sum(map(len, compressed.gunzip([bomb(9)], "x"))) == 9 << 20


def test_more_than_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(compressed, "MAX_BYTES", 100)
    with pytest.raises(SourceError, match="more than"):
        list(compressed.gunzip([gzip.compress(ROWS)], "x"))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_packed_csv_is_made_legible(tmp_path, encoding):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(ROWS))
    legible = delimited.write_csv(path, tmp_path / "out.csv", encoding=encoding)
    assert legible.rows == 1000
    assert (tmp_path / "out.csv").read_bytes() == ROWS


def test_a_damaged_packed_csv_names_its_file(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(ROWS)[:-4])
    with pytest.raises(SourceError, match=r"rows\.csv\.gz: the gzip stream has no end"):
        delimited.write_csv(path, tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(ROWS, mtime=0)[:-1], "has no end"),
        (gzip.compress(ROWS, mtime=0) + b"\0", "bytes follow"),
        (gzip.compress(ROWS[:-1], mtime=0), "the last line has no end"),
        (gzip.compress(b"<html>", mtime=0), "a web page came instead of csv.gz"),
        (gzip.compress(b'{"error": 1}', mtime=0), "JSON came instead of csv.gz"),
        (gzip.compress(b"", mtime=0), "the response is empty"),
        (b"<html>busy</html>", "a web page came instead of csv.gz"),
        (b'{"error": 1}', "JSON came instead of csv.gz"),
        (ROWS, "no gzip came"),
        (b"", "the response is empty"),
    ],
)
def test_what_comes_instead_of_a_packed_csv(tmp_path, body, reason):
    path = tmp_path / "file"
    path.write_bytes(body)
    with pytest.raises(SourceError, match=reason):
        checks.check(path, "csv.gz", "https://e.gov/x.csv.gz")


def test_a_packed_csv_is_accepted(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(ROWS))
    checks.check(path, "csv.gz", "https://e.gov/x.csv.gz")


def zipped(path, *names, body=ROWS, change=lambda info: None, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as packed:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            change(info)
            packed.writestr(info, body)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_one_member_is_read(tmp_path, method):
    path = zipped(tmp_path / "x.zip", "readme.txt", "data/rows.csv", "data/", method=method)
    checks.check(path, "zip", "https://e.gov/x.zip")
    assert compressed.members(path) == ["readme.txt", "data/rows.csv"]
    assert compressed.unzip(path, "data/rows.csv", tmp_path / "out").read_bytes() == ROWS
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "x.zip"]


def link(info):
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("names", "change", "reason"),
    [
        (["/etc/rows.csv"], None, "leads out"),
        (["../rows.csv"], None, "leads out"),
        (["a/../../rows.csv"], None, "leads out"),
        (["C:rows.csv"], None, "leads out"),
        (["a\\rows.csv"], None, "backslash"),
        (["a\nrows.csv"], None, "control character"),
        (["rows.csv"], link, "a link or a device"),
        (["rows.csv", "rows.csv"], None, "two members are called 'rows.csv'"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_leads_astray_is_refused_whole(tmp_path, names, change, reason):
    path = zipped(tmp_path / "x.zip", "good.csv", *names, change=change or (lambda info: None))
    for read in (
        compressed.members,
        lambda path: compressed.unzip(path, "good.csv", tmp_path / "o"),
    ):
        with pytest.raises(SourceError, match=reason) as caught:
            read(path)
        assert not isinstance(caught.value, Transient)


def patched(path, offset_in_entry, value):
    """The zip with two bytes of its only directory entry (APPNOTE.TXT, 4.3.12) replaced."""
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + offset_in_entry
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (8, b"\x01\0", "is encrypted"),
        (10, b"\x63\0", "neither stored nor deflated"),
        (24, b"\xff\xff\xff\xf0", "larger than"),
    ],
)
def test_a_member_that_cannot_be_read_is_refused(tmp_path, offset, value, reason):
    path = patched(zipped(tmp_path / "x.zip", "rows.csv"), offset, value)
    with pytest.raises(SourceError, match=reason):
        compressed.unzip(path, "rows.csv", tmp_path / "out")


@pytest.mark.parametrize(("offset", "value"), [(16, b"\0\0"), (24, b"\x05\0\0\0")])
def test_a_member_that_is_not_as_announced_is_refused(tmp_path, offset, value):
    path = patched(zipped(tmp_path / "x.zip", "rows.csv"), offset, value)
    with pytest.raises(SourceError, match="damaged"):
        compressed.unzip(path, "rows.csv", tmp_path / "out")


def test_a_zip_bomb_is_stopped(tmp_path):
    path = zipped(tmp_path / "x.zip", "rows.csv", body=bytes(50 << 20))
    with pytest.raises(SourceError, match="expands without end"):
        compressed.unzip(path, "rows.csv", tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= compressed.EXPANSION_FLOOR


def test_a_member_that_is_not_there_is_named_with_those_that_are(tmp_path):
    path = zipped(tmp_path / "x.zip", "rows.csv")
    with pytest.raises(SourceError, match=r"it has no other\.csv; it has rows\.csv"):
        compressed.unzip(path, "other.csv", tmp_path / "out")


@pytest.mark.parametrize("body", [b"PK\x03\x04", b"a,b\n1,2\n"])
def test_a_cut_zip_is_asked_for_again(tmp_path, body):
    whole = io.BytesIO()
    zipped(whole, "rows.csv")
    path = tmp_path / "x.zip"
    for data in (body, whole.getvalue()[:-30]):
        path.write_bytes(data)
        with pytest.raises(Transient, match="not a complete zip"):
            checks.check(path, "zip", "https://e.gov/x.zip")


def damaged(body: bytes, random_: random.Random) -> bytes:
    """A file with one to four flipped bits, lost parts or added parts."""
    data = bytearray(body)
    for _ in range(random_.choice([1, 1, 2, 4])):
        at = random_.randrange(len(data))
        match random_.choice(["bit", "byte", "lost", "added"]):
            case "bit":
                data[at] ^= 1 << random_.randrange(8)
            case "byte":
                data[at] = random_.randrange(256)
            case "lost":
                del data[at + 1 : at + random_.randint(2, 20)]
            case "added":
                data[at:at] = random_.randbytes(random_.randint(1, 20))
    return bytes(data)


def random_zip(random_: random.Random) -> tuple[bytes, bytes]:
    """A zip of one to three members, and the content of the first."""
    whole, bodies = io.BytesIO(), [random_.randbytes(random_.randint(0, 300)) for _ in range(3)]
    method = random_.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(whole, "w", method) as packed:
        packed.comment = random_.randbytes(random_.choice([0, 30]))
        for number, body in enumerate(bodies[: random_.randint(1, 3)]):
            packed.writestr(f"m{number}.csv", body)
    return whole.getvalue(), bodies[0]


def test_random_damage_to_a_zip_is_a_clear_error_or_none(tmp_path, is_long):
    random_ = random.Random(34)
    path, reasons = tmp_path / "x.zip", Counter()
    for _ in range(6000 if is_long else 600):
        whole, body = random_zip(random_)
        path.write_bytes(damaged(whole, random_))
        try:
            compressed.members(path)
            assert compressed.unzip(path, "m0.csv", tmp_path / "out").read_bytes() == body
            reasons["as it was"] += 1
        except SourceError as error:
            assert error.what.startswith("x.zip: ")
            assert error.what.isprintable()
            reasons["refused"] += 1
    assert min(reasons["as it was"], reasons["refused"]) > 50


def test_random_damage_to_a_gzip_is_a_clear_error_or_none(is_long):
    random_ = random.Random(34)
    for _ in range(6000 if is_long else 600):
        body = random_.randbytes(random_.randint(0, 300))
        packed = damaged(gzip.compress(body, random_.randint(0, 9)), random_)
        try:
            assert b"".join(compressed.gunzip(pieces(packed, random_.randint(1, 400)), "x")) == body
        except SourceError as error:
            assert error.what.startswith("x: ")


def test_a_full_disk_is_no_damage_of_the_zip(tmp_path, monkeypatch):
    path = zipped(tmp_path / "x.zip", "rows.csv", body=os.urandom(100_000))
    full = io.BytesIO()
    full.write = lambda block: raise_no_space()
    monkeypatch.setattr(compressed.durable, "create", lambda path: full)
    with pytest.raises(OSError, match="No space left"):
        compressed.unzip(path, "rows.csv", tmp_path / "out")


def raise_no_space():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
