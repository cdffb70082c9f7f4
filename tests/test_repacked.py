"""What is packed again, or moves in volatile columns alone, is the same content in every kind."""

import gzip
import io
import json
import random
import zipfile

import pytest
from publisher import Answer
from test_fetch import HOST, here, night  # noqa: F401 - `here` is a fixture

from pipeline.errors import SourceError
from pipeline.raw.fingerprints import content_of
from pipeline.raw.source import Source

TABLE = b'name,id\n"A, b",x1\nC,x2\n'
TABBED = b"name\tid\nA, b\tx1\nC\tx2\n"
QUOTED = b'"name"\t"id"\n"A\tb"\t"x1"\n"C"\t"x2"\n'
INCHES = b'name\tid\n6" pipe\tx1\n"\tx2\n'
DOCUMENT = b'{"metadata":{"generated":1},"features":[1.10]}'


def source(kind, **more):
    return Source("T", "P", "https://e.gov/", "L", "https://l.gov/", kind, **more)


def packed(members: dict[str, bytes], year=2026, method=zipfile.ZIP_DEFLATED, folders=()) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in (*folders, *members):
            info = zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0))
            info.compress_type = method
            info.comment = b"" if year == 2026 else b"made anew"
            archive.writestr(info, members.get(name, b""))
        archive.comment = str(year).encode()
    return file.getvalue()


def squeezed(body: bytes, mtime=1, level=9, parts=1) -> bytes:
    """gzip with a time stamp and a name in its header, in one or more members."""
    size = -(-len(body) // parts)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    made = io.BytesIO()
    for piece in pieces:
        with gzip.GzipFile(f"night-{mtime}.csv", "wb", level, made, mtime) as file:
            file.write(piece)
    return made.getvalue()


def content(folder, body, declared: Source) -> str:
    (folder / "file").write_bytes(body)
    return content_of(folder / "file", declared)


TWICE = packed({"c.gz": squeezed(TABBED)})
ZIP = {"data.csv": TABLE, "folder/read me.txt": b"It says.\n"}
COLUMNS = {"volatile_columns": ("id",)}
MOVED, CHANGED = (b"x1", b"y7"), (b"C", b"D")


@pytest.mark.parametrize(
    ("declared", "body", "same", "others"),
    [
        pytest.param(
            source("zip"),
            packed(ZIP),
            [
                packed(ZIP, 2027),
                packed(ZIP, method=zipfile.ZIP_STORED),
                packed(dict(reversed(ZIP.items()))),
                packed(ZIP, folders=["folder/"]),
            ],
            [
                packed(ZIP | {"data.csv": TABLE + b"E,x3\n"}),
                packed(ZIP | {"data.csv": TABLE.replace(*MOVED)}),
                packed(ZIP | {"more.csv": b""}),
                packed({"data.csv": TABLE}),
                packed({"DATA.csv": TABLE, "folder/read me.txt": b"It says.\n"}),
                packed({"data.csv": b"It says.\n", "folder/read me.txt": TABLE}),
            ],
            id="zip",
        ),
        pytest.param(
            source("zip", **COLUMNS),
            packed({"a.csv": TABLE, "b.TSV": TABBED, "list.csv": b"code\n1\n"}),
            [
                packed({"a.csv": TABLE.replace(*MOVED), "b.TSV": TABBED, "list.csv": b"code\n1\n"}),
                packed({"list.csv": b"code\n1\n", "b.TSV": TABBED.replace(*MOVED), "a.csv": TABLE}),
            ],
            [
                packed({"a.csv": TABLE, "b.TSV": TABBED, "list.csv": b"code\n2\n"}),
                packed(
                    {"a.csv": TABLE.replace(*CHANGED), "b.TSV": TABBED, "list.csv": b"code\n1\n"}
                ),
                packed(
                    {"a.csv": TABLE, "b.TSV": TABBED.replace(*CHANGED), "list.csv": b"code\n1\n"}
                ),
            ],
            id="zip with volatile columns",
        ),
        pytest.param(
            source("zip", volatile=("metadata.generated",)),
            packed({"all.geojson": DOCUMENT, "other.txt": b"1"}),
            [packed({"all.geojson": DOCUMENT.replace(b":1}", b":22}"), "other.txt": b"1"}, 2027)],
            [
                packed({"all.geojson": DOCUMENT.replace(b"1.10", b"1.1"), "other.txt": b"1"}),
                packed({"all.geojson": DOCUMENT, "other.txt": b"2"}),
            ],
            id="zip with volatile members",
        ),
        pytest.param(
            source("zip"),
            packed(
                {"a.zip": packed(ZIP), "a.csv.gz": squeezed(TABLE), "deep": packed({"b": TWICE})}
            ),
            [
                packed({"a.zip": packed(ZIP), "a.csv.gz": again, "deep": packed({"b": more}, 2029)})
                for again in (squeezed(TABLE, mtime=5), squeezed(TABLE, parts=2))
                for more in (TWICE, packed({"c.gz": squeezed(TABBED, 7)}, 2027))
            ]
            + [
                packed(
                    {
                        "a.zip": packed(ZIP, 2028, zipfile.ZIP_STORED),
                        "a.csv.gz": squeezed(TABLE),
                        "deep": packed({"b": TWICE}),
                    }
                )
            ],
            [
                packed({"a.zip": body, "a.csv.gz": squeezed(TABLE), "deep": packed({"b": TWICE})})
                for body in (packed({"data.csv": TABLE}), packed(ZIP)[:-9], b"", packed({}))
            ]
            + [
                packed({"a.zip": packed(ZIP), "a.csv.gz": body, "deep": packed({"b": TWICE})})
                for body in (TABLE, squeezed(TABBED), squeezed(TABLE)[:-9], squeezed(TABLE) + b"x")
            ],
            id="archives in a zip",
        ),
        pytest.param(
            source("zip", **COLUMNS),
            packed({"a.csv.gz": squeezed(TABLE), "b.zip": packed({"b.tsv": TABBED})}),
            [
                packed(
                    {
                        "a.csv.gz": squeezed(TABLE.replace(*MOVED), 4),
                        "b.zip": packed({"b.tsv": TABBED.replace(*MOVED)}, 2027),
                    }
                )
            ],
            [
                packed(
                    {
                        "a.csv.gz": squeezed(TABLE.replace(*CHANGED)),
                        "b.zip": packed({"b.tsv": TABBED}),
                    }
                )
            ],
            id="archives in a zip with volatile columns",
        ),
        *(
            pytest.param(
                source("csv", **COLUMNS),
                TABBED.replace(b", ", b" ").replace(b"\t", sign),
                [TABBED.replace(b", ", b" ").replace(*MOVED).replace(b"\t", sign)],
                [TABBED.replace(b", ", b" ").replace(*CHANGED).replace(b"\t", sign)],
                id=f"csv with {name} and volatile columns",
            )
            for name, sign in {"semicolons": b";", "tabs": b"\t", "bars": b"|"}.items()
        ),
        pytest.param(
            source("csv.gz"),
            squeezed(TABLE),
            [squeezed(TABLE, mtime=2), squeezed(TABLE, level=1), squeezed(TABLE, parts=3)],
            [squeezed(TABLE.replace(*MOVED)), squeezed(TABLE + b"E,x3\n")],
            id="csv.gz",
        ),
        pytest.param(
            source("tsv.gz"),
            squeezed(TABBED),
            [squeezed(TABBED, mtime=2)],
            [squeezed(TABBED.replace(*MOVED))],
            id="tsv.gz",
        ),
        pytest.param(
            source("csv.gz", **COLUMNS),
            squeezed(TABLE),
            [squeezed(TABLE.replace(*MOVED), parts=2), squeezed(TABLE.replace(b"\n", b"\r\n"))],
            [squeezed(TABLE.replace(*CHANGED)), squeezed(TABLE + b"C,x2\n")],
            id="csv.gz with volatile columns",
        ),
        pytest.param(
            source("tsv.gz", **COLUMNS),
            squeezed(TABBED),
            [squeezed(TABBED.replace(*MOVED), 2)],
            [squeezed(TABBED.replace(*CHANGED))],
            id="tsv.gz with volatile columns",
        ),
        pytest.param(
            source("tsv", **COLUMNS),
            TABBED,
            [TABBED.replace(*MOVED), b"name\tid\nC\tx2\nA, b\tx1\n"],
            [TABBED.replace(*CHANGED), TABBED + b"C\tx2\n"],
            id="tsv with volatile columns",
        ),
        pytest.param(
            source("tsv", **COLUMNS),
            INCHES,
            [INCHES.replace(*MOVED)],
            [INCHES.replace(b'6"', b'7"')],
            id="tsv with inches",
        ),
        pytest.param(
            source("tsv", **COLUMNS),
            QUOTED,
            [QUOTED.replace(*MOVED)],
            [QUOTED.replace(*CHANGED), QUOTED.replace(b"A\tb", b"A b")],
            id="tsv with quotes",
        ),
        pytest.param(
            source("tsv", encoding="utf-16", **COLUMNS),
            TABBED.decode().encode("utf-16"),
            [TABBED.replace(*MOVED).decode().encode("utf-16")],
            [TABBED.replace(*CHANGED).decode().encode("utf-16")],
            id="tsv in UTF-16",
        ),
        pytest.param(
            source("csv", encoding="latin-1", **COLUMNS),
            "name,id\rDoña,x1\rC,x2\r".encode("latin-1"),
            ["name,id\rDoña,y7\rC,x2\r".encode("latin-1")],
            ["name,id\rDona,x1\rC,x2\r".encode("latin-1")],
            id="lines that end in CR",
        ),
    ],
)
def test_the_same_content_has_the_same_fingerprint(tmp_path, declared, body, same, others):
    known = content(tmp_path, body, declared)
    assert all(other != body for other in same)
    assert [content(tmp_path, other, declared) for other in same] == [known] * len(same)
    differing = {content(tmp_path, other, declared) for other in others}
    assert len(differing) == len(others) and known not in differing


def test_random_archives_are_packed_again(tmp_path, is_long):
    for seed in range(1000 if is_long else 60):
        chance = random.Random(seed)
        members = {f"{n}.bin": chance.randbytes(chance.randrange(300)) for n in range(5)}
        known = content(tmp_path, packed(members), source("zip"))
        order = chance.sample(sorted(members), k=5)
        method = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
        again = packed(
            {name: members[name] for name in order}, chance.randrange(1990, 2090), method
        )
        assert content(tmp_path, again, source("zip")) == known, seed
        name = chance.choice(order)
        changed = members | {name: members[name] + b"\0"}
        assert content(tmp_path, packed(changed), source("zip")) != known, seed
        body = b"a\n" + b"".join(b"%d\n" % chance.randrange(9**9) for _ in range(99))
        level, parts = chance.randrange(10), chance.randrange(1, 9)
        again = squeezed(body, chance.randrange(9**9), level, parts)
        known = content(tmp_path, gzip.compress(body), source("csv.gz"))
        assert content(tmp_path, again, source("csv.gz")) == known, seed


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (
            "zip",
            packed({"a.csv": b"name,ID\n1,2\n"}),
            "file: a.csv: no columns are called id; the columns are name, ID",
        ),
        (
            "zip",
            packed({"a.txt": b"name,ID\n1,2\n"}),
            "no CSV or TSV in it has the volatile columns",
        ),
        ("csv.gz", squeezed(b"name,ID\n1,2\n"), "file: no columns are called id; .* name, ID"),
        ("tsv", b"name\tID\n1\t2\n", "file: no columns are called id; .* name, ID"),
        ("tsv.gz", squeezed(b"name\tID\n1\t2\n"), "file: no columns are called id; .* name, ID"),
    ],
)
def test_a_volatile_column_that_is_not_there_is_an_error(tmp_path, kind, body, message):
    with pytest.raises(SourceError, match=message):
        content(tmp_path, body, source(kind, **COLUMNS))


@pytest.mark.parametrize(
    ("kind", "nights"),
    {
        "zip": [packed(ZIP), packed(ZIP, 2027), packed(ZIP | {"data.csv": b"a\n1\n"})],
        "csv.gz": [squeezed(TABLE), squeezed(TABLE, 2), squeezed(TABLE.replace(*CHANGED))],
    }.items(),
)
def test_a_night_that_packed_the_same_again_is_unchanged(here, publisher, kind, nights):  # noqa: F811
    def gather(candidate):
        candidate.download(f"https://{HOST}/file.{kind}")

    def told(body):
        publisher.answers[f"/file.{kind}"] = [Answer(body)]
        return night(source=source(kind), gather=gather)["outcome"]

    assert [told(body) for body in nights] == ["new", "unchanged", "new"]
    descriptor = json.loads((here.raw / "alpha" / "datapackage.json").read_bytes())
    assert descriptor["resources"][0]["bytes"] == len(nights[-1])
