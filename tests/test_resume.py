"""An interrupted download is resumed or starts over; two versions are never mixed."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
from patience import eventually
from publisher import Answer
from test_download import URL, client, get, waits  # noqa: F401 - fixtures
from test_fetch import night

from pipeline import settings
from pipeline.errors import SourceError, Transient
from pipeline.http import resume

BODY = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(5000))
ETAG = '"v1"'


def serve(publisher, *, etag=ETAG, cuts=(10_000,), change=lambda answer: answer):
    """Serve BODY, closing after so many bytes of each response; `change` modifies a 206."""
    cuts = list(cuts)

    def answer(handler):
        cut = cuts.pop(0) if cuts else None
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        headers = {"ETag": etag} if etag else {}
        if not asked or handler.headers["If-Range"] != etag:
            return Answer(BODY, headers=headers, cut=cut)
        first = int(asked[1])
        headers["Content-Range"] = f"bytes {first}-{len(BODY) - 1}/{len(BODY)}"
        return change(Answer(BODY[first:], 206, headers, cut=cut))

    publisher.answers["/file.csv"] = answer


def ranges(publisher):
    return [request.headers.get("Range") for request in publisher.requests]


def is_whole(received, tmp_path):
    return (
        (tmp_path / "file").read_bytes() == BODY
        and received.sha256 == hashlib.sha256(BODY).hexdigest()
        and (received.status, received.size) == (200, len(BODY))
    )


def test_only_the_rest_is_asked_for(publisher, get, client, tmp_path):  # noqa: F811
    serve(publisher, cuts=[10_000, 7_000])
    received = get()
    assert is_whole(received, tmp_path)
    assert ranges(publisher) == [None, "bytes=10000-", "bytes=17000-"]
    assert publisher.requests[1].headers["If-Range"] == ETAG
    assert received.validators == {"ETag": ETAG}
    assert client.tries == 3


def test_a_condition_does_not_stand_beside_a_range(publisher, get, tmp_path):  # noqa: F811
    serve(publisher)
    assert is_whole(get(headers={"If-None-Match": '"v0"', "X-Token": "t"}), tmp_path)
    first, second = publisher.requests
    assert first.headers["If-None-Match"] == '"v0"'
    assert "If-None-Match" not in second.headers
    assert second.headers["X-Token"] == "t"


@pytest.mark.parametrize("etag", ['W/"v1"', "", "v1"])
def test_without_a_strong_etag_it_starts_over(publisher, get, tmp_path, etag):  # noqa: F811
    serve(publisher, etag=etag)
    assert is_whole(get(), tmp_path)
    assert ranges(publisher) == [None, None]


def test_another_version_comes_whole(publisher, get, tmp_path):  # noqa: F811
    old = bytes(len(BODY))
    publisher.answers["/file.csv"] = [
        Answer(old, headers={"ETag": '"v0"'}, cut=10_000),
        Answer(BODY, headers={"ETag": ETAG}),
    ]
    assert is_whole(get(), tmp_path)
    assert ranges(publisher) == [None, "bytes=10000-"]


def bent(**headers):
    def change(answer):
        answer.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        return answer

    return change


def shifted(answer):
    answer.body = answer.body[1:]
    return answer


def without_etag(answer):
    del answer.headers["ETag"]
    return answer


def shrunk(answer):
    return Answer(b"no such range", 416)


@pytest.mark.parametrize(
    "change",
    [
        bent(ETag='"v2"'),
        bent(ETag='W/"v1"'),
        without_etag,
        bent(Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}"),
        bent(Content_Range=f"bytes 10000-{len(BODY) - 2}/{len(BODY)}"),
        bent(Content_Range=f"bytes 10000-{len(BODY) - 1}/*"),
        bent(Content_Range=f"bytes 10000-{len(BODY)}/{len(BODY) + 1}"),
        bent(Content_Range=f"items 10000-{len(BODY) - 1}/{len(BODY)}"),
        bent(Content_Range=""),
        bent(Content_Encoding="gzip"),
        shifted,
        shrunk,
    ],
)
def test_a_rest_that_does_not_fit_is_dropped(publisher, get, tmp_path, change):  # noqa: F811
    serve(publisher, change=change)
    assert is_whole(get(), tmp_path)
    assert ranges(publisher) == [None, "bytes=10000-", None]


def test_a_206_that_was_not_asked_for_is_refused(publisher, get):  # noqa: F811
    headers = {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}", "ETag": ETAG}
    publisher.answers["/file.csv"] = [Answer(BODY, 206, headers)]
    with pytest.raises(SourceError, match="answered 206"):
        get()


def test_what_broke_off_in_one_call_is_nothing_to_the_next(publisher, get, client, tmp_path):  # noqa: F811
    serve(publisher)
    client.patience = 0
    with pytest.raises(Transient, match="10,000 bytes"):
        get()
    assert is_whole(get(), tmp_path)
    assert ranges(publisher) == [None, None]


def test_time_in_which_bytes_were_kept_costs_no_patience(publisher, get, client, tmp_path):  # noqa: F811
    slow = Answer(BODY, headers={"ETag": ETAG}, cut=10_000, hang=0.5)
    rest = f"bytes 10000-{len(BODY) - 1}/{len(BODY)}"
    end = Answer(BODY[10_000:], 206, {"ETag": ETAG, "Content-Range": rest})
    publisher.answers["/file.csv"] = [slow, end]
    client.patience = 2.4  # the wait is up to 2 s
    assert is_whole(get(), tmp_path)
    assert client.patience >= 0.4


def test_the_check_of_a_resumed_file_sees_all_of_it(publisher, get, tmp_path):  # noqa: F811
    serve(publisher)
    seen = []
    get(check=lambda path, is_delimited: seen.append((path.read_bytes() == BODY, is_delimited)))
    assert seen == [(True, True)]


# A process that was killed

FETCHING = """
import sys
from pipeline.http import framing
from pipeline import settings
from pipeline.raw.candidate import Candidate
framing._BLOCK = 8192  # so that half of a small file is on disk
sys.path.insert(0, sys.argv[1])
from test_fetch import SOURCE
here = settings.load()
candidate = Candidate(here, SOURCE, "alpha", None)
for name in ("one.csv", "two.csv"):
    candidate.download(f"https://data.example.gov/{name}")
"""


@pytest.fixture
def killed(here, publisher, monkeypatch, tmp_path):
    """A fetch that was killed after one of two files and half of the other."""
    monkeypatch.setenv("MIRRORS", f"data.example.gov={publisher.url}")
    settings.load.cache_clear()
    served = {"one.csv": b"a,b\n1,2\n", "two.csv": BODY}
    is_hanging = Event()

    def answer(handler):
        name = handler.path.removeprefix("/")
        body, headers = served[name], {"ETag": f'"{len(served[name])}"'}
        if handler.headers["If-None-Match"] == headers["ETag"]:
            return Answer(b"", 304, headers)
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if asked and handler.headers["If-Range"] == headers["ETag"]:
            first = int(asked[1])
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            return Answer(body[first:], 206, headers)
        if name == "two.csv" and not is_hanging.is_set():
            handler.send_response(200)
            handler.send_header("ETag", headers["ETag"])
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:20_000])
            is_hanging.wait()
            handler.close_connection = True
            return Answer(b"", length=None)
        return Answer(body, headers=headers)

    for name in served:
        publisher.answers[f"/{name}"] = answer
    command = [sys.executable, "-c", FETCHING, str(Path(__file__).parent)]
    with subprocess.Popen(command) as child:
        begun = here.raw / ".incoming/alpha/two.csv"
        eventually(lambda: begun.exists() and begun.stat().st_size, "the half of a file")
        child.kill()
    is_hanging.set()
    publisher.requests.clear()
    return served


def gather(candidate):
    for name in ("one.csv", "two.csv"):
        candidate.download(f"https://data.example.gov/{name}")


def on_disk(here) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (here.raw / "alpha").glob("*.csv")}


def asked(publisher) -> list[tuple[str, bool, bool]]:
    return [
        (one.path, "If-None-Match" in one.headers, "Range" in one.headers)
        for one in publisher.requests
    ]


def test_a_killed_fetch_goes_on_where_it_was(here, publisher, killed):
    assert night(gather=gather)["outcome"] == "new"
    assert on_disk(here) == killed
    assert asked(publisher) == [("/one.csv", True, False), ("/two.csv", False, True)]
    assert list(here.raw.glob(".*/*")) == []
    publisher.requests.clear()
    assert night(gather=gather)["outcome"] == "unchanged"
    assert asked(publisher) == [("/one.csv", True, False), ("/two.csv", True, False)]


def test_what_changed_since_a_fetch_was_killed_comes_anew(here, publisher, killed):
    killed |= {"one.csv": b"a,b\n7,8\n9,10\n", "two.csv": BODY + b"1,1\n"}
    assert night(gather=gather)["outcome"] == "new"
    assert on_disk(here) == killed


@pytest.mark.parametrize("harm", ["damaged", "rebooted", "forced"])
def test_what_a_killed_fetch_left_is_not_believed(here, publisher, killed, monkeypatch, harm):
    folder = here.raw / ".incoming/alpha"
    if harm == "damaged":
        (folder / "one.csv").write_bytes(b"a,b\n1,3\n")
        (folder / ".two.csv.begun").write_text("{")
    elif harm == "rebooted":
        monkeypatch.setattr(resume, "_boot", lambda: "another")
    night(gather=gather, force=harm == "forced")
    assert on_disk(here) == killed
    first, second = asked(publisher)
    assert first == ("/one.csv", harm == "rebooted", False)
    assert second == ("/two.csv", False, False)
