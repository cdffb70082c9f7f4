"""A response without length or chunks: only another one like it shows that it is complete."""

import csv
import gzip
import io
import random
import zipfile
from dataclasses import replace

import pytest
from publisher import Answer
from test_fetch import GEOJSON, SOURCE, URL, here, night, on_disk  # noqa: F401 - fixtures

from pipeline.errors import SourceError
from pipeline.raw import checks

CUTS = 80  # in the short form
GIVEN = 3  # requests at most


def table(random_: random.Random) -> bytes:
    """A CSV with quotes, and with line ends inside the quotes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=random_.choice(["\n", "\r\n"]))
    writer.writerow(["name", "note"])
    for number in range(random_.randint(3, 12)):
        writer.writerow([f"row {number}", random_.choice(["", "x", 'a "b"', "two\nlines", "ü,ö"])])
    return text.getvalue().encode()


def serve(publisher, bodies: list[bytes], **more) -> None:
    """Send these bodies in turn, one per request, without a length."""
    publisher.requests.clear()
    publisher.answers["/file.csv"] = [Answer(body, length=None, **more) for body in bodies]


def cuts_of(body: bytes) -> list[bytes]:
    """The file cut after each line except the last: every part looks complete."""
    lines = body.splitlines(keepends=True)
    return [b"".join(lines[:count]) for count in range(2, len(lines))]


def test_a_cut_at_the_end_of_a_row_is_never_taken(here, publisher, is_long):  # noqa: F811
    """Every cut of random files at each request: the complete file is accepted, or the old kept."""
    random_ = random.Random(14)
    taken = refused = 0
    while taken + refused < (1000 if is_long else CUTS):
        whole = table(random_)
        for cut in cuts_of(whole):
            others = random_.sample([c for c in cuts_of(whole) if c != cut], 1) or [cut]
            bodies = random_.choice(
                [
                    [cut, whole, whole],
                    [whole, cut, whole],
                    [whole, whole, cut],
                    [cut, *others, whole],
                ]
            )
            name = f"source_{taken + refused}"
            serve(publisher, bodies)
            facts = night(name)
            asked = len([path for path in publisher.paths() if path == "/file.csv"])
            if bodies.count(whole) == 1:
                assert facts["outcome"] == "missing"
                assert "names no length" in facts["reason"]
                assert "volatile_columns" in facts["remedy"]
                assert asked == GIVEN
                refused += 1
            else:
                assert on_disk(here, name)["file.csv"] == whole
                assert asked == (2 if bodies[1] == whole == bodies[0] else GIVEN)
                taken += 1
    assert taken > refused > 0


def test_the_old_snapshot_stays_when_no_two_responses_agree(here, publisher):  # noqa: F811
    old, new = b"a,b\n1,2\n", b"a,b\n1,2\n3,4\n5,6\n7,8\n"
    serve(publisher, [old])
    assert night()["outcome"] == "new"
    serve(publisher, cuts_of(new))
    assert night()["outcome"] == "kept"
    assert on_disk(here)["file.csv"] == old


def test_with_a_length_one_request_is_enough(here, publisher):  # noqa: F811
    publisher.answers["/file.csv"] = [Answer(b"a,b\n1,2\n")]
    assert night()["outcome"] == "new"
    assert publisher.paths() == ["/file.csv"]
    whole, cut = b"a,b\n1,2\n3,4\n", b"a,b\n1,2\n"
    publisher.answers["/file.csv"] = [Answer(cut, length=None), Answer(whole)]
    assert night("beta")["outcome"] == "new"
    assert on_disk(here, "beta")["file.csv"] == whole


def zipped(*files: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, body in files:
            archive.writestr(name, body)
    return packed.getvalue()


INNER = zipped(("a.csv", b"a\n1\n"))
ROWS = b"a,b\n1,2\n"
# Parts of a file that look complete, for each kind that cannot prove its own end.
LOOKS_WHOLE = {
    "csv": (ROWS, ROWS + b"3,4\n"),
    "tsv": (ROWS, ROWS + b"3,4\n"),
    "csv.gz": (gzip.compress(ROWS), gzip.compress(ROWS) + gzip.compress(b"3,4\n")),
    "tsv.gz": (gzip.compress(ROWS), gzip.compress(ROWS) + gzip.compress(b"3,4\n")),
    "zip": (zipped(("inner.zip", INNER)).partition(INNER)[0] + INNER, zipped(("inner.zip", INNER))),
}


@pytest.mark.parametrize("kind", LOOKS_WHOLE)
def test_every_kind_that_does_not_prove_its_end_is_requested_again(here, publisher, kind):  # noqa: F811
    cut, whole = LOOKS_WHOLE[kind]
    assert whole.startswith(cut)
    serve(publisher, [cut, whole])
    facts = night(source=replace(SOURCE, kind=kind), gather=lambda c: c.download(URL, f"f.{kind}"))
    assert facts["outcome"] == "new"
    assert on_disk(here)[f"f.{kind}"] == whole


DOCUMENT = b'{"type": "FeatureCollection", "features": [{"a": "}"}, [1]]}'


def test_json_proves_its_own_end(here, publisher, tmp_path):  # noqa: F811
    for end in range(len(DOCUMENT)):
        (tmp_path / "cut").write_bytes(DOCUMENT[:end])
        with pytest.raises(SourceError):
            checks.check(tmp_path / "cut", "json", URL, is_delimited=False)
    serve(publisher, [DOCUMENT])
    assert night(source=GEOJSON)["outcome"] == "new"
    assert publisher.paths() == ["/file.csv"]
    assert not [kind for kind in checks.KINDS if kind not in LOOKS_WHOLE and "json" not in kind]


def test_columns_declared_volatile_may_differ(here, publisher):  # noqa: F811
    source = replace(SOURCE, volatile_columns=("seen",))
    bodies = [b"a,seen\n1,%d\n2,%d\n" % (n, n) for n in range(3)]
    serve(publisher, bodies)
    assert night(source=source)["outcome"] == "new"
    assert len(publisher.paths()) == 2
    serve(publisher, bodies)
    assert night("beta")["outcome"] == "missing"
