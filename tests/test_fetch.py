"""Stage api as a script sees it: new, unchanged, kept, bundled or missing, and why."""

import contextlib
import errno
import json
import time
from pathlib import Path
from types import SimpleNamespace

import example_source
import pytest
from patience import Stopwatch
from publisher import Answer

from pipeline import errors, settings, state
from pipeline.errors import PipelineError, SourceError
from pipeline.http import network
from pipeline.http.client import NoNetwork
from pipeline.raw import snapshot, stash
from pipeline.raw.source import Source
from pipeline.stages import api

HOST = "data.example.gov"
URL = f"https://{HOST}/file.csv"
SOURCE = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", "csv")
GEOJSON = Source(
    "T", "P", "https://e.gov/", "L", "https://l.gov/", "geojson", volatile=("metadata.generated",)
)
OLD, NEW = b"a,b\n1,2\n", b"a,b\n3,4\n"
DEGRADED = {"kept", "bundled", "missing"}


@pytest.fixture
def here(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    return settings.load()


def night(name="alpha", source=SOURCE, gather=None, offline=False, force=False):
    """One night of one source; returns the recorded facts."""
    gather = gather or (lambda candidate: candidate.download(URL))
    here = settings.load()
    options = SimpleNamespace(offline=offline, force=force)
    facts = api.work(here, options, source, name, gather)
    assert bool(facts["reason"]) >= (facts["outcome"] in DEGRADED)
    return state.update(here, name, "api", **facts)


def serve(publisher, body, **more):
    publisher.answers["/file.csv"] = [Answer(body, **more)]


def on_disk(here, name="alpha") -> dict[str, bytes]:
    folder = here.raw / name
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# The publisher answers


def test_a_first_night_a_same_night_a_new_night(here, publisher):
    serve(publisher, OLD)
    first = night()
    assert first["outcome"] == "new"
    assert first["was_live"]
    assert (first["origin"], first["bytes"]) == ("live", len(OLD))
    before = on_disk(here)
    assert before["file.csv"] == OLD
    assert night()["outcome"] == "unchanged"
    assert on_disk(here) == before  # the descriptor too, byte for byte
    serve(publisher, NEW)
    third = night()
    assert third["outcome"] == "new"
    assert third["content"] != first["content"]
    assert on_disk(here)["file.csv"] == NEW


def test_a_304_costs_nothing(here, publisher):
    validators = {"ETag": '"1"', "Last-Modified": "Mon, 02 Mar 2026 00:00:00 GMT"}
    publisher.answers["/file.csv"] = [Answer(OLD, headers=validators), Answer(status=304)]
    night()
    before, state_before = on_disk(here), state.read(here, "alpha")["validators"]
    for _ in range(2):
        facts = night()
        assert facts["outcome"] == "unchanged"
    headers = publisher.requests[-1].headers
    assert headers["If-None-Match"] == '"1"'
    assert headers["If-Modified-Since"] == validators["Last-Modified"]
    assert on_disk(here) == before
    assert state.read(here, "alpha")["validators"] == state_before
    assert facts["checked_at"] >= facts["fetched_at"]


def test_the_same_bytes_with_another_date_are_unchanged(here, publisher):
    serve(publisher, OLD, headers={"Last-Modified": "Mon, 02 Mar 2026 00:00:00 GMT"})
    night()
    serve(publisher, OLD, headers={"Last-Modified": "Tue, 03 Mar 2026 00:00:00 GMT"})
    assert night()["outcome"] == "unchanged"


def test_other_bytes_of_the_same_content_leave_the_old_snapshot(here, publisher):
    def body(generated, name):
        return json.dumps(
            {"type": "FeatureCollection", "metadata": {"generated": generated}, "features": [name]}
        ).encode()

    def gather(candidate):
        candidate.download(URL, "all.geojson")

    serve(publisher, body(1, "a"), headers={"ETag": '"1"'})
    assert night(source=GEOJSON, gather=gather)["outcome"] == "new"
    before = on_disk(here)
    serve(publisher, body(2, "a"), headers={"ETag": '"2"'})
    assert night(source=GEOJSON, gather=gather)["outcome"] == "unchanged"
    assert on_disk(here) == before
    # The newer answer's validators hold for the older bytes too: the content is the same.
    publisher.answers["/file.csv"] = [Answer(status=304)]
    assert night(source=GEOJSON, gather=gather)["outcome"] == "unchanged"
    assert publisher.requests[-1].headers["If-None-Match"] == '"2"'
    serve(publisher, body(3, "b"))
    assert night(source=GEOJSON, gather=gather)["outcome"] == "new"


def test_force_asks_without_conditions(here, publisher):
    serve(publisher, OLD, headers={"ETag": '"1"'})
    night()
    assert night(force=True)["outcome"] == "unchanged"
    assert "If-None-Match" not in publisher.requests[-1].headers


@pytest.mark.parametrize("lost", ["snapshot", "a byte", "another content"])
def test_conditions_are_sent_only_for_what_is_on_disk(here, publisher, lost):
    serve(publisher, OLD, headers={"ETag": '"1"'})
    night()
    if lost == "snapshot":
        snapshot.discard(here.raw / "alpha")
    elif lost == "a byte":
        (here.raw / "alpha" / "file.csv").write_bytes(NEW)
    else:  # a run killed between the snapshot and its state leaves validators of another answer
        remembered = state.read(here, "alpha")
        remembered["validators"][URL]["content"] = "0" * 64
        (here.state / "alpha.json").write_text(json.dumps(remembered))
    night()
    assert "If-None-Match" not in publisher.requests[-1].headers
    assert on_disk(here)["file.csv"] == OLD


def test_an_unreadable_state_file_counts_as_empty(here, publisher):
    serve(publisher, OLD)
    night()
    (here.state / "alpha.json").write_text('{"api": ')
    assert night()["outcome"] == "unchanged"


def test_a_script_may_gather_several_files(here, publisher):
    serve(publisher, OLD)
    publisher.answers["/other/file.csv"] = [Answer(NEW)]

    def gather(candidate):
        candidate.download(URL)
        candidate.download(f"https://{HOST}/other/file.csv", "file.txt")

    night(gather=gather)
    names = [r.name for r in snapshot.current(here, "alpha").descriptor.resources]
    assert names == ["file", "file.txt"]  # unique, as the standard demands


@pytest.mark.parametrize("name", ["../up", ".hidden", "SHA/SUMS", "a\nb", "", "x" * 200])
def test_a_file_name_that_could_do_harm_is_refused(here, publisher, name):
    def gather(candidate):
        candidate.download(f"https://{HOST}/", name)

    facts = night(gather=gather)
    assert facts["outcome"] == "missing"
    assert "not a valid file name" in facts["reason"]
    assert facts["reason"].isprintable()


def test_two_files_of_one_name_are_refused(here, publisher):
    serve(publisher, OLD)

    def gather(candidate):
        candidate.download(URL)
        candidate.download(f"{URL}?page=2")

    assert "or is duplicated" in night(gather=gather)["reason"]


def test_the_name_a_server_proposes_is_not_used(here, publisher):
    attack = {"Content-Disposition": 'attachment; filename="../../.git/hooks/post-commit"'}
    serve(publisher, OLD, headers=attack)
    night()
    assert "file.csv" in on_disk(here)


def test_a_script_that_fetches_nothing_has_failed(here):
    assert "fetched no file" in night(gather=lambda candidate: None)["reason"]


# The publisher does not


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"down for maintenance", status=503),
        Answer(b"<html>Log in</html>"),
        Answer(b'{"error": "quota"}'),
        Answer(OLD, cut=5),
        Answer(b""),
        Answer(OLD[:-1]),
        Answer(status=302, headers={"Location": "http://elsewhere.example/"}),
        Answer(OLD, headers={"Content-Encoding": "gzip"}),
    ],
)
def test_what_is_refused_leaves_the_last_good_snapshot(here, publisher, answer):
    serve(publisher, OLD)
    checked = night()["checked_at"]
    before = on_disk(here)
    publisher.answers["/file.csv"] = [answer]
    facts = night()
    assert facts["outcome"] == "kept"
    assert URL in facts["reason"]
    assert facts["origin"] == "live"
    assert facts["checked_at"] == checked
    assert on_disk(here) == before
    assert list((here.raw / ".incoming").iterdir()) == []


def test_what_was_refused_is_kept_for_inspection(here, publisher):
    serve(publisher, b"<html>Log in</html>")
    assert night()["remedy"].endswith("; what came is in data/quarantine/alpha/")
    kept = list((here.quarantine / "alpha").rglob("file.csv"))
    assert [path.read_bytes() for path in kept] == [b"<html>Log in</html>"]


def test_a_night_without_a_response_leaves_the_quarantine_empty(here, publisher):
    night()
    assert not (here.quarantine / "alpha").exists()


def test_a_source_never_fetched_and_not_bundled_is_missing(here):
    facts = night()
    assert facts["outcome"] == "missing"
    assert facts["content"] is None
    assert not facts["was_live"]


def test_a_first_night_without_its_publisher_is_bundled(here, publisher, example):
    facts = night("stations")
    assert facts["outcome"] == "bundled"
    assert facts["origin"] == "bundled"
    assert facts["as_of"] == example_source.AS_OF
    assert "checked_at" not in facts
    assert night("stations", offline=True)["outcome"] == "bundled"
    serve(publisher, NEW)
    assert night("stations")["outcome"] == "new"
    publisher.answers.clear()
    assert night("stations")["outcome"] == "kept"
    assert on_disk(here, "stations")["file.csv"] == NEW


def test_a_newer_bundled_snapshot_replaces_an_older_one(here, example):
    first = night("stations")
    folder = example / "data" / "bundled" / "stations"
    example_source.capture(folder, SOURCE, NEW, as_of="2026-02-01")
    facts = night("stations")
    assert facts["outcome"] == "bundled"
    assert facts["content"] == snapshot.bundled("stations").content != first["content"]


def test_offline_asks_nobody(here, publisher):
    serve(publisher, OLD)
    night()
    asked = len(publisher.requests)
    facts = night(offline=True)
    assert facts["outcome"] == "kept"
    assert facts["reason"] == "not asked: --offline"
    assert len(publisher.requests) == asked


def test_a_missing_network_is_reported_without_waiting(here, publisher, example, monkeypatch):
    monkeypatch.setattr(network, "is_down", lambda *_: True)
    watch = Stopwatch()
    facts = night("stations")
    assert facts["outcome"] == "bundled"
    assert facts["reason"].startswith("no network")
    assert watch.seconds() < 2
    assert publisher.requests == []


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_publisher_that_drips_is_abandoned_in_time(here, publisher, example, monkeypatch, part):
    monkeypatch.setenv("SOURCE_TIMEOUT", "0.5")
    settings.load.cache_clear()

    def drip(request):
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        if part == "body":
            request.end_headers()
        request.flush_headers()
        with contextlib.suppress(OSError):
            for _ in range(40):
                request.wfile.write(b"X-Wait: a little\r\n")
                time.sleep(0.05)
        request.close_connection = True
        return Answer(length=None)

    publisher.answers["/file.csv"] = drip
    watch = Stopwatch()
    facts = night("stations")
    assert facts["outcome"] == "bundled"
    assert "took longer than 0.45 s" in facts["reason"]
    assert facts["remedy"].startswith("see SOURCE_TIMEOUT")
    assert watch.seconds() < 3


def test_a_script_that_breaks_leaves_the_last_good_snapshot(here, publisher, capfd):
    serve(publisher, OLD)
    night()

    def broken(candidate):
        return {}["nothing"]

    facts = night(gather=broken)
    assert facts["outcome"] == "kept"
    assert "KeyError" in facts["reason"]
    assert "test_fetch.py line" in facts["reason"]
    assert "Traceback" in capfd.readouterr().err


def test_a_full_disk_ends_the_run_and_leaves_room(here, publisher):
    serve(publisher, OLD)
    night()
    before = on_disk(here)

    def fill(candidate):
        candidate.download(URL, "more.csv")
        raise OSError(errno.ENOSPC, "No space left on device", "more.csv")

    with pytest.raises(PipelineError, match="the disk is full") as caught:
        night(gather=fill)
    assert caught.value.exit_code == errors.FAILED
    assert on_disk(here) == before
    assert not (here.quarantine / "alpha").exists()
    assert list((here.raw / ".incoming").iterdir()) == []


# What is on disk is damaged


def flip(folder: Path):
    (folder / "file.csv").write_bytes(b"a,b\n3,5\n")


def point(folder: Path):
    (folder / "file.csv").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def cut(folder: Path):
    sums = (folder / "SHA256SUMS").read_bytes()
    (folder / "SHA256SUMS").write_bytes(sums[:-5])


def unlink(folder: Path):
    (folder / "SHA256SUMS").unlink()


def link(folder: Path):
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere")


def dangle(folder: Path):
    snapshot.discard(folder)
    folder.symlink_to(folder.parent / "nowhere")


DAMAGES = [flip, point, cut, unlink, link, dangle]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_is_fetched_again(here, publisher, damage):
    serve(publisher, OLD)
    night()
    damage(here.raw / "alpha")
    facts = night()
    assert facts["outcome"] == "new"
    assert facts["reason"].startswith("alpha: ")
    assert snapshot.current(here, "alpha").file.read_bytes() == OLD
    assert not (here.raw / "alpha").is_symlink()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_and_no_publisher_keep_the_tables_rows(here, publisher, example, damage):
    """Older bundled data must not replace the rows of the database."""
    serve(publisher, NEW)
    night("stations")
    damage(here.raw / "stations")
    for _ in range(2):  # the night after, nothing is there at all
        facts = night("stations", offline=True)
        assert facts["outcome"] == "kept"
        assert facts["content"] is None
        assert "the database keeps its rows" in facts["reason"]
        assert not (here.raw / "stations").exists()
    serve(publisher, NEW)
    assert night("stations")["outcome"] == "new"


def test_the_damage_is_reported_with_its_remedy(here, publisher):
    serve(publisher, OLD)
    night()
    point(here.raw / "alpha")
    facts = night(offline=True)
    assert "Git LFS pointer" in facts["reason"]
    assert "git lfs pull" in facts["remedy"]


# The stash


@pytest.fixture
def stashed(here, monkeypatch):
    """A stash of the test's own: a snapshot's files by source; returns what it holds."""
    monkeypatch.setenv("STASH", "git")
    settings.load.cache_clear()
    held: dict[str, dict[str, bytes]] = {}

    def store(given, name, message):
        held[name] = on_disk(given, name)
        return stash.Stored(True, "somewhere")

    def restore(given, name, into, network=False):
        for file, body in held.get(name, {}).items():
            (into / file).write_bytes(body)
        return name in held

    monkeypatch.setattr(stash, "store", store)
    monkeypatch.setattr(stash, "restore", restore)
    return held


def test_a_damaged_snapshot_comes_back_from_the_stash(here, publisher, stashed):
    serve(publisher, OLD, headers={"ETag": '"1"'})
    first = night()
    before = on_disk(here)
    flip(here.raw / "alpha")
    facts = night(offline=True)
    assert facts["outcome"] == "kept"
    assert facts["content"] == first["content"]
    assert "does not have the SHA-256" in facts["reason"]
    assert "restored from the stash" in facts["reason"]
    assert on_disk(here) == before


def test_a_lost_snapshot_comes_back_even_without_a_state_file(here, publisher, example, stashed):
    serve(publisher, NEW)
    night("stations")
    snapshot.discard(here.raw)
    snapshot.discard(here.state)
    publisher.answers.clear()
    facts = night("stations")
    assert facts["outcome"] == "kept"
    assert facts["was_live"]
    assert on_disk(here, "stations")["file.csv"] == NEW


def test_a_bundled_copy_in_the_stash_does_not_replace_live_rows(here, publisher, example, stashed):
    night("stations")
    bundled = stashed["stations"]
    serve(publisher, NEW)
    night("stations")
    stashed["stations"] = bundled  # the stash was off, or lost its newest
    snapshot.discard(here.raw)
    facts = night("stations", offline=True)
    assert (facts["outcome"], facts["content"]) == ("kept", None)
    assert not (here.raw / "stations").exists()


def test_a_damaged_copy_in_the_stash_is_not_used_and_is_reported(here, publisher, stashed, capfd):
    serve(publisher, OLD)
    night()
    stashed["alpha"]["file.csv"] = NEW
    snapshot.discard(here.raw)
    facts = night(offline=True)
    assert (facts["outcome"], facts["content"]) == ("kept", None)
    assert "the copy in the stash is unusable" in capfd.readouterr().err
    assert not (here.raw / "alpha").exists()


def test_what_changed_is_stashed_once(here, publisher, stashed, monkeypatch):
    serve(publisher, OLD)
    assert night()["stashed"]
    monkeypatch.setattr(stash, "store", lambda *words: pytest.fail("stashed twice"))
    assert night()["outcome"] == "unchanged"
    assert night(offline=True)["outcome"] == "kept"


def test_what_could_not_be_stashed_is_tried_again(here, publisher, stashed, monkeypatch):
    store = stash.store
    note = "git-lfs is not installed"
    monkeypatch.setattr(stash, "store", lambda *words: stash.Stored(False, "not stashed", note))
    serve(publisher, OLD)
    facts = night()
    assert (facts["outcome"], facts["stashed"], facts["stash_note"]) == ("new", None, note)
    monkeypatch.setattr(stash, "store", store)
    facts = night()
    assert (facts["outcome"], facts["stash_note"]) == ("unchanged", "")
    assert facts["stashed"]
    assert "alpha" in stashed


def test_a_snapshot_that_never_entered_the_stash_is_a_gap(here, publisher, stashed, monkeypatch):
    store = stash.store
    serve(publisher, OLD)
    night()
    monkeypatch.setattr(stash, "store", lambda *words: stash.Stored(False, "not stashed", "why"))
    serve(publisher, NEW)
    missed = night()["fetched_at"]
    assert not night()["never_stashed"], "it may still be stashed"
    monkeypatch.setattr(stash, "store", store)
    serve(publisher, OLD)
    assert night()["never_stashed"] == [missed]
    monkeypatch.setattr(stash, "STORES", {"git": SimpleNamespace(lacking=lambda folders: [])})
    (said,) = stash.gap(settings.load(), ["alpha"])
    assert said.startswith("the stash has a gap")
    assert said.endswith(f": alpha of {missed}")


def test_an_error_of_the_script_is_reported_as_it_was_raised(here, publisher):
    """Rejecting the candidate adds nothing to it."""

    def gather(candidate):
        raise SourceError("the listing names no file", "see the publisher's page")

    facts = night(gather=gather)
    assert (facts["reason"], facts["remedy"]) == (
        "the listing names no file",
        "see the publisher's page",
    )


def test_without_a_network_all_sources_have_the_same_message(here, publisher):
    def gather(candidate):
        raise NoNetwork("no network: none of the publishers can be reached")

    facts = night(gather=gather)
    assert (facts["outcome"], facts["remedy"]) == ("missing", "the next night asks again")

    def fail(candidate):
        raise SourceError("HTTP 500")

    assert SOURCE.page in night(gather=fail)["remedy"]
