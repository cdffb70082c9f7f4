"""OpenFEMA: pages, counts, refreshes, versions, and failures."""

import csv
import json
import shutil
from urllib.parse import urlsplit

import pytest
from conftest import CAPTURES
from publisher import Answer
from upstream import faults, openfema
from upstream.faults import switched
from upstream.world import world

from pipeline import settings
from pipeline.connectors import openfema as protocol
from pipeline.connectors import paging
from pipeline.connectors.openfema import MOST_ROWS
from pipeline.errors import SourceError, Transient
from pipeline.http import client
from pipeline.raw import snapshot
from pipeline.raw.candidate import Candidate
from pipeline.raw.source import Source
from pipeline.stages import api

HOST = "www.fema.gov"
BASE = f"https://{HOST}/api/open"
ADDRESS = "/api/open/v2/DisasterDeclarationsSummaries"
SOURCE = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", "csv")


@pytest.fixture
def fema(here, monkeypatch):
    """An OpenFEMA service with a data set of 250 rows; no time passes between tries."""
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.01)
    with world() as scene:
        scene.declarations = openfema.declarations(250)
        scene.declarations.register(scene.publisher, f"/{HOST}")
        scene.hosts.add(HOST)
        monkeypatch.setenv("MIRRORS", scene.mirrors)
        monkeypatch.setenv("FETCH_PATIENCE", "0")
        settings.load.cache_clear()
        yield scene


@pytest.fixture
def data(fema):
    return fema.declarations


def gather(source=SOURCE, dataset="DisasterDeclarationsSummaries", **asked) -> Candidate:
    here = settings.load()
    gathered = Candidate(here, source, "fema", snapshot.current(here, "fema"))
    read(gathered, dataset, **asked)
    return gathered


def read(gathered: Candidate, dataset="DisasterDeclarationsSummaries", **asked) -> None:
    asked = {"version": 2, "order": "id", "unique_key": "id", "page_size": 100} | asked
    protocol.fetch(gathered, BASE, dataset, **asked)


def work(offline=False) -> dict:
    """Run the whole stage for one night; return its facts."""
    options = type("Options", (), {"offline": offline, "force": False})
    return api.work(settings.load(), options, SOURCE, "fema", read)


def night(source=SOURCE, **asked):
    """Run one night; return the new snapshot."""
    gathered = gather(source, **asked)
    return snapshot.commit(settings.load(), "fema", gathered.folder, gathered.describe())


def rows(taken, column="id") -> list[str]:
    found = []
    for file in taken.files:
        with file.open(newline="") as lines:
            found += [row[column] for row in csv.DictReader(lines)]
    return found


def is_page(request) -> bool:
    return "format=csv" in request.path


def with_patience(monkeypatch, seconds="20"):
    monkeypatch.setenv("FETCH_PATIENCE", seconds)
    settings.load.cache_clear()


# An honest service


def test_a_file_a_page_proved_by_counts_and_keys(data):
    taken = night()
    assert [file.name for file in taken.files] == [f"page-0000{n}.csv" for n in (1, 2, 3)]
    assert rows(taken) == [row[-1] for row in data.rows]
    assert taken.descriptor.completeness == {
        "order": "id",
        "unique_key": "id",
        "pages": 3,
        "count_before": 250,
        "count_after": 250,
        "rows": 250,
        "verdict": "complete",
    }
    assert taken.descriptor.rows == 250
    assert [entry.rows for entry in taken.descriptor.resources] == [100, 100, 50]
    assert taken.descriptor.publisher_version == data.refreshed
    assert not taken.descriptor.note


def test_the_parameters_are_those_of_the_documentation(fema, data):
    night()
    assert data.queries("page") == [
        {"$format": "csv", "$orderby": "id", "$top": "100", "$skip": skip}
        for skip in ("0", "100", "200")
    ]
    assert data.queries("count") == [{"$count": "true", "$select": "id", "$top": "1"}] * 2
    assert fema.asked(HOST)[0].endswith(
        "/v1/OpenFemaDataSets?$filter=name%20eq%20%27DisasterDeclarationsSummaries%27"
    )


def test_no_page_is_larger_than_the_service_allows(data):
    night(page_size=50_000)
    assert [asked["$top"] for asked in data.queries("page")] == [str(MOST_ROWS)] == ["10000"]


def test_a_filter_is_for_the_counts_and_the_pages(data):
    data.selections["disasterNumber ge 4020"] = lambda row: int(row["disasterNumber"]) >= 4020
    taken = night(where="disasterNumber ge 4020")
    assert len(rows(taken)) == taken.descriptor.completeness["count_before"] == 50


def test_rows_may_be_ordered_by_several_columns(data):
    data.rows.reverse()
    taken = night(order="disasterNumber,id")
    assert rows(taken) == sorted(row[-1] for row in data.rows)


def test_an_unrefreshed_data_set_is_not_read_again(data):
    first = night()
    before = [file.read_bytes() for file in first.files]
    data.asked.clear()
    second = night()
    assert [what for what, asked in data.asked] == ["catalogue"]
    assert [file.read_bytes() for file in second.files] == before
    assert second.content == first.content
    assert second.descriptor.completeness == first.descriptor.completeness
    assert second.descriptor.rows == 250


def test_a_refresh_without_a_change_is_read_once(data):
    assert work()["outcome"] == "new"
    manifest = (settings.load().raw / "fema" / snapshot.DESCRIPTOR).read_bytes()
    data.refreshed = "2026-03-03T09:00:00.000Z"
    data.asked.clear()
    assert work()["outcome"] == "unchanged"
    assert len(data.queries("page")) == 3
    data.asked.clear()
    assert work()["outcome"] == "unchanged"
    assert [what for what, asked in data.asked] == ["catalogue"]
    assert (settings.load().raw / "fema" / snapshot.DESCRIPTOR).read_bytes() == manifest


def test_pages_cut_in_another_way_are_no_change(data):
    assert work()["outcome"] == "new"
    data.refreshed, data.real_cap = "2026-03-03T09:00:00.000Z", 60
    assert work()["outcome"] == "unchanged"
    assert len(data.queries("page")) == 3 + 5


def test_what_the_catalogue_says_of_a_version_stands_in_the_state(data):
    assert work()["note"] == ""
    data.described = {"deprecated": True}
    assert work()["note"] == "DisasterDeclarationsSummaries v2 is deprecated"
    assert work(offline=True)["outcome"] == "kept"


@pytest.mark.parametrize("what", ["refresh", "filter", "page size", "no version"])
def test_what_may_have_changed_is_read_again(data, what):
    data.selections["state eq 'AL'"] = lambda row: True
    if what == "no version":
        data.refreshed = None
    night()
    data.asked.clear()
    if what == "refresh":
        data.refreshed = "2026-03-03T09:00:00.000Z"
    more = {"filter": {"where": "state eq 'AL'"}, "page size": {"page_size": 99}}
    assert rows(night(**more.get(what, {}))) == [row[-1] for row in data.rows]
    assert len(data.queries("page")) == 3


def test_an_elder_service_counts_by_inlinecount(data):
    data.knows_count = False
    assert night().descriptor.completeness["count_after"] == 250
    assert data.queries("count")[1] == {"$inlinecount": "allpages", "$select": "id", "$top": "1"}


def test_fewer_rows_a_page_than_asked_are_gone_on_with(data):
    data.real_cap = 40
    taken = night()
    assert rows(taken) == [row[-1] for row in data.rows]
    assert taken.descriptor.completeness["pages"] == 7


def test_an_empty_data_set_is_one_page_without_rows(data):
    data.rows = []
    taken = night()
    assert rows(taken) == []
    assert taken.descriptor.completeness["rows"] == taken.descriptor.rows == 0


def test_pages_are_one_part_of_a_snapshot_however_they_are_cut(data):
    for cap in (40, 400):
        data.real_cap = cap
        work()
        resources = snapshot.current(settings.load(), "fema").descriptor.resources
        assert {entry.part for entry in resources} == {"pages"}


@pytest.mark.parametrize(
    ("described", "listed", "note"),
    [
        ({"deprecated": True}, [], "DisasterDeclarationsSummaries v2 is deprecated"),
        (
            {"depDate": "2026-10-15T00:00:00.000Z", "depNewURL": "https://n.gov/v3"},
            [],
            "DisasterDeclarationsSummaries v2 is deprecated, to be removed by 2026-10-15; "
            "https://n.gov/v3",
        ),
        ({}, [3], "v3 is available: compare the columns before changing to it"),
        ({}, [1], ""),
    ],
)
def test_a_deprecated_version_and_a_newer_one_are_told_and_not_switched_to(
    data, capsys, described, listed, note
):
    data.described = described
    data.listed = [{"name": data.name, "version": version} for version in listed]
    taken = night()
    assert taken.descriptor.note == note
    assert capsys.readouterr().err == (f"fema: {note}\n" if note else "")
    assert len(rows(taken)) == 250
    night()  # carried over, with the same note
    assert capsys.readouterr().err == (f"fema: {note}\n" if note else "")


def test_a_version_that_is_not_listed_is_refused(data):
    with pytest.raises(SourceError, match=r"no DisasterDeclarationsSummaries v3; it lists v2"):
        gather(version=3)
    with pytest.raises(SourceError, match=r"no Declarations v2; it lists none of that name") as no:
        gather(dataset="Declarations")
    assert "api/fema.py" in no.value.remedy
    assert not data.queries("page")


# Data that change while they are read


def test_a_data_set_that_grows_while_it_is_read_is_read_again(data):
    late = [["4099", "AL", "LATE", "Area", "2026", "ffffffff"]]

    def grow(what, asked):
        if what == "page" and asked["$skip"] == "200" and late:
            data.rows = [*data.rows, late.pop()]

    data.before = grow
    taken = night()
    assert len(rows(taken)) == taken.descriptor.completeness["rows"] == 251
    assert len(data.queries("page")) == 6


def test_a_refresh_while_it_is_read_is_noticed_although_the_count_stays(data):
    times = iter(["2026-03-02T09:20:00.000Z"])

    def refresh(what, asked):
        if what == "page" and asked["$skip"] == "100":
            data.refreshed = next(times, data.refreshed)

    data.before = refresh
    taken = night()
    assert taken.descriptor.publisher_version == "2026-03-02T09:20:00.000Z"
    assert len(data.queries("page")) == 6


def test_a_data_set_that_never_holds_still_is_refused(data):
    def grow(what, asked):
        if what == "page":
            number = len(data.rows)
            data.rows = [*data.rows, ["4099", "AL", "LATE", "Area", "2026", f"{number:08x}"]]

    data.before = grow
    with pytest.raises(SourceError, match=r"changed while reading, read 3 times: .* before and"):
        gather()
    assert len(data.queries("count")) == 2 * paging.READS


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"repeats": 1}, r"read 3 times: 200 rows with 199 different id came where 250"),
        ({"skips": 1}, r"incomplete, read 3 times: 249 rows with 249 different id"),
        ({"ignores_skip": True}, r"incomplete, read 3 times: 200 rows with 100 different id"),
    ],
)
def test_rows_repeated_or_skipped_between_pages_are_noticed(data, fault, message):
    for name, value in fault.items():
        setattr(data, name, value)
    with pytest.raises(SourceError, match=message):
        gather()


def test_a_count_that_is_too_large_ends(fema, data):
    answers = {"metadata": {"count": 10**9}, data.name: []}

    def lies(request):
        return data.rows_of(request) if is_page(request) else openfema.as_json(answers)

    fema.answer(HOST, ADDRESS, lies)
    with pytest.raises(SourceError, match=r"incomplete, .*: 250 rows .* 1,000,000,000 were"):
        gather()


def test_pages_without_end_are_bounded(data, monkeypatch):
    monkeypatch.setattr(paging, "MOST_PAGES", 20)
    data.real_cap = 1
    with pytest.raises(SourceError, match="no end after 20 pages"):
        gather()
    assert len(data.queries("page")) == 20


# Responses that are not the requested page


def test_another_header_on_a_later_page_is_refused(fema, data):
    other = faults.changed(lambda body: body.replace(b"designatedArea", b"area", 1))
    later = switched(data.rows_of, other, when=lambda request: "skip=100" in request.path)
    fema.answer(HOST, ADDRESS, later)
    with pytest.raises(SourceError, match=r"other columns than on the first page: .*, area,"):
        gather()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda body: body.replace(b",id\n", b",ID\n", 1),
            "no columns are called id; the columns are disasterNumber, ",
        ),
        (lambda body: body.replace(b"state,", b"id,", 1), "2 columns are called id"),
        (lambda body: body.replace(b",AL,", b",", 1), "line 2: 5 fields where the header has 6"),
        (lambda body: body.replace(b'""', b'"x', 1), "line 2: a quote inside a field"),
        (lambda body: body[:-1].rpartition(b"\n")[0] + b'\n"\n', "the CSV ends inside quotes"),
        (lambda body: body.replace(b"AL", b"\xff\xfe", 1), "not UTF-8"),
        (lambda body: b"[1]", "JSON came instead of csv"),
        (lambda body: b"", "the response is empty"),
    ],
)
def test_what_is_no_such_csv_is_refused(fema, data, change, message):
    fema.answer(HOST, ADDRESS, switched(data.rows_of, faults.changed(change), when=is_page))
    with pytest.raises(SourceError, match=message):
        gather()
    assert "page" in dict(data.asked)


def test_a_byte_order_mark_is_no_part_of_a_name(fema, data):
    marked = faults.changed(lambda body: b"\xef\xbb\xbf" + body)
    data.header, data.rows = ["id", "state"], [["a", "AL"]]
    fema.answer(HOST, ADDRESS, switched(data.rows_of, marked, when=is_page))
    assert gather().extra["completeness"]["rows"] == 1


def test_a_field_may_be_large(data):
    data.rows[0][2] = "x" * 200_000
    taken = night()
    assert taken.descriptor.completeness["rows"] == 250
    assert b"x" * 200_000 in taken.files[0].read_bytes()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"metadata": {}}, "not a count"),
        ({"metadata": {"count": "250"}}, "not a count"),
        ({"error": {"code": 400, "message": "bad \x1b[31m"}}, r"status 200: .*bad .*31m"),
    ],
)
def test_another_count_is_named(fema, data, answer, message):
    fema.answer(HOST, ADDRESS, lambda request: openfema.as_json(answer))
    with pytest.raises(SourceError, match=message) as caught:
        gather()
    assert "\x1b" not in str(caught.value)


# HTTP faults in the second page

GOOD_AGAIN = [
    (faults.status(503), 2),
    (faults.status(202), 2),
    (faults.status(429, retry_after="0"), 1),
    (faults.status(503, retry_after=-5.0), 1),
    (faults.cut(), 1),
    (faults.chunked(ends=False), 1),
    (faults.error_in_200(b'{"error": {"code": 503, "message": "busy"}}'), 1),
    (faults.error_in_200(b'{"statusCode": 500, "message": "Internal server error"}'), 1),
]


@pytest.mark.parametrize(("fault", "times"), GOOD_AGAIN)
def test_what_passes_is_asked_again(fema, data, monkeypatch, fault, times):
    with_patience(monkeypatch)
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    fema.answer(HOST, ADDRESS, switched(data.rows_of, fault, times=times, when=second_page))
    assert rows(night()) == [row[-1] for row in data.rows]
    assert len(data.queries("page")) == 3 + times


def second_page(request) -> bool:
    return is_page(request) and "skip=100" in request.path


@pytest.mark.parametrize("fault", [fault for fault, times in GOOD_AGAIN])
def test_what_does_not_pass_is_a_failure_that_another_night_may_mend(fema, data, fault):
    fema.answer(HOST, ADDRESS, switched(data.rows_of, fault, when=second_page))
    with pytest.raises(Transient):
        gather()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (faults.status(404), "answered 404"),
        (faults.status(400), "answered 400"),
        (faults.status(206), "answered 206"),
        (faults.html(), "a web page came instead of csv: .*Down for maintenance"),
        (faults.error_in_200(b'{"error": {"code": 404}}'), "an error came with status 200"),
        (faults.error_in_200(b'{"code": "InvalidArgument", "message": "x"}'), "with status 200"),
        (faults.error_in_200(b'{"error": {"code": 403}}'), "an error came with status 200"),
        (faults.length("10"), "the last line has no end"),
        (faults.length("x"), "Content-Length is x"),
        (faults.doubled_length(), "Content-Length is"),
        (faults.doubled_length(-7), "Content-Length contained multiple"),
        (faults.redirect("http://www.fema.gov/x"), "not followed"),
        (faults.redirect("https://127.0.0.1/x"), "not followed"),
        (faults.redirect("https://a.gov/x", "https://b.gov/x"), "not followed"),
    ],
)
def test_what_will_not_pass_is_refused(fema, data, fault, message):
    fema.answer(HOST, ADDRESS, switched(data.rows_of, fault, when=second_page))
    with pytest.raises(SourceError, match=message):
        gather()


def test_a_page_cut_between_two_lines_is_gone_on_with_where_it_ended(fema, data):
    fema.answer(HOST, ADDRESS, switched(data.rows_of, faults.cut_at_a_line(), when=second_page))
    taken = night()
    assert rows(taken) == [row[-1] for row in data.rows]
    assert taken.descriptor.resources[1].rows < 100


def test_a_page_that_comes_in_chunks_is_whole(fema, data):
    fema.answer(HOST, ADDRESS, switched(data.rows_of, faults.chunked(), when=second_page))
    assert len(rows(night())) == 250


def test_a_page_that_drips_is_whole(fema, data):
    data.rows = data.rows[:2]
    fema.answer(HOST, ADDRESS, switched(data.rows_of, faults.drip(0.001), when=is_page))
    assert len(rows(night())) == 2


def test_a_page_that_does_not_come_is_given_up(fema, data, monkeypatch):
    monkeypatch.setattr(client, "READ_SECONDS", 0.2)
    fema.answer(HOST, ADDRESS, switched(data.rows_of, faults.slow(1), when=second_page))
    with pytest.raises(Transient, match="timed out"):
        gather()


def test_a_bomb_is_stopped(fema, data, monkeypatch):
    monkeypatch.setattr("pipeline.compressed.MAX_BYTES", 1 << 20)
    fema.answer(HOST, ADDRESS, switched(data.rows_of, faults.gzip_bomb(8), when=second_page))
    with pytest.raises(SourceError, match=r"more than 1 MiB"):
        gather()


def test_a_certificate_nobody_vouches_for_is_refused(here, monkeypatch, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    with world(faults.self_signed(tmp_path)) as scene:
        scene.answer(HOST, "/api/open/v1/OpenFemaDataSets", Answer(b"{}"))
        monkeypatch.setenv("MIRRORS", scene.mirrors)
        settings.load.cache_clear()
        with pytest.raises(SourceError, match="certificate was refused"):
            gather()
        assert scene.asked(HOST) == []


# Captured responses

PARTS = [
    ("DisasterDeclarationsSummaries_first-1000_2024-08-06.csv", 1000, ",", "\r\n"),
    ("DisasterDeclarationsSummaries_first-99_2025-03-27.csv", 99, ",", "\n"),
    ("FemaWebDisasterDeclarations_2025-02-04.csv", 5030, ",", "\n"),
]


@pytest.mark.parametrize(("name", "count", "comma", "end"), PARTS)
def test_real_rows_arrive_as_they_are(fema, name, count, comma, end):
    capture = CAPTURES / "fema" / name
    if not capture.exists():
        pytest.skip(f"the captures are not here: {capture}")
    with capture.open(newline="", encoding="utf-8") as file:
        header, *records = csv.reader(file)
    data = openfema.DataSet(name.partition("_")[0], header, records, version=2, end=end)
    data.register(fema.publisher, f"/{HOST}")
    taken = night(dataset=data.name, page_size=700)
    came = []
    for file in taken.files:
        with file.open(newline="", encoding="utf-8") as lines:
            columns, *page = csv.reader(lines)
            assert columns == header
            came += page
    index = header.index("id")
    assert came == sorted(records, key=lambda row: row[index])
    assert len(came) == taken.descriptor.completeness["rows"] == count


def test_two_real_nights_differ_although_the_key_is_no_key(fema):
    """`id` is unique within a night; a changed row has another one in the next night."""
    nights = []
    for day in ("14", "15"):
        capture = CAPTURES / "fema" / f"FemaWebDisasterDeclarations_2024-02-{day}.csv"
        if not capture.exists():
            pytest.skip(f"the captures are not here: {capture}")
        with capture.open(newline="", encoding="utf-8") as file:
            header, *records = csv.reader(file)
        data = openfema.DataSet("FemaWebDisasterDeclarations", header, records)
        data.refreshed = f"2024-02-{day}T00:00:00.000Z"
        data.register(fema.publisher, f"/{HOST}")
        nights.append(
            night(dataset=data.name, version=1, order="disasterNumber,id", page_size=1000)
        )
    assert nights[0].content != nights[1].content
    assert nights[1].descriptor.completeness["rows"] == 4844


def test_what_is_asked_stands_in_the_manifest(data):
    taken = night()
    asked = urlsplit(json.loads((taken.folder / "datapackage.json").read_text())["asked"])
    assert asked.path == ADDRESS
    assert asked.query == "$format=csv&$orderby=id&$top=100&$skip=0"
