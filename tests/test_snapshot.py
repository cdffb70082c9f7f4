"""Raw snapshots: verified byte by byte, replaced in one step, described by the standard."""

import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.raw import manifest, snapshot
from pipeline.raw.descriptor import Descriptor, describe, describe_file
from pipeline.raw.source import Source

SOURCE = Source("A title", "A publisher", "https://example.gov/", "None", "https://l.gov/", "csv")
BODIES = {"one.csv": b"a\n1\n", "two words.csv": b"a\n2\n"}


def gather(folder: Path, bodies=BODIES, name="alpha") -> Descriptor:
    """Write files into a folder; returns the descriptor of them."""
    entries = []
    for file, body in bodies.items():
        (folder / file).write_bytes(body)
        sha256 = hashlib.sha256(body).hexdigest()
        url = f"https://example.gov/{file}"
        entries.append(describe_file(folder / file, url, sha256, "text/csv", SOURCE))
    return describe(SOURCE, name, entries)


def commit(here, bodies=BODIES, name="alpha"):
    folder = snapshot.open_candidate(here, name)
    return snapshot.commit(here, name, folder, gather(folder, bodies, name))


@pytest.fixture
def taken(here):
    return commit(here)


def test_a_committed_snapshot_is_read_back(here, taken):
    again = snapshot.current(here, "alpha")
    assert again == taken
    assert [file.read_bytes() for file in again.files] == list(BODIES.values())
    assert again.origin == "live"
    assert again.size == 8
    assert list((here.raw / ".incoming").iterdir()) == []


def test_a_missing_folder_is_no_snapshot_and_no_error(here):
    assert snapshot.current(here, "alpha") is None


def test_coreutils_check_it(taken):
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=taken.folder, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.count(": OK") == 3
    assert done.stderr == ""


def test_a_snapshot_of_several_files_has_no_single_file(here, taken):
    with pytest.raises(SourceError, match="2 files where one was expected"):
        _ = taken.file
    assert commit(here, {"one.csv": b"a\n1\n"}, "beta").file.name == "one.csv"


# Damage


def edit(name, change):
    def damage(folder):
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def flip(folder):
    body = bytearray((folder / "one.csv").read_bytes())
    body[2] ^= 1
    (folder / "one.csv").write_bytes(body)


def link(folder):
    (folder / "one.csv").rename(folder.parent / "elsewhere")
    (folder / "one.csv").symlink_to(folder.parent / "elsewhere")


def link_folder(folder):
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")


def folder_for_file(folder):
    (folder / "one.csv").unlink()
    (folder / "one.csv").mkdir()


def redescribe(**members):
    def damage(folder):
        described = json.loads((folder / "datapackage.json").read_bytes()) | members
        text = json.dumps(described).encode()
        (folder / "datapackage.json").write_bytes(text)
        sums = manifest._read(folder, "alpha")
        manifest.write(folder, sums | {"datapackage.json": hashlib.sha256(text).hexdigest()})

    return damage


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"
DAMAGES = [
    (flip, "one.csv does not have the SHA-256"),
    (edit("one.csv", lambda body: body[:-1]), "one.csv does not have the SHA-256"),
    (edit("datapackage.json", lambda body: body + b" "), "datapackage.json does not have"),
    (lambda folder: (folder / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
    (
        lambda folder: (folder / "one.csv").unlink(),
        "one.csv is named in SHA256SUMS and does not exist",
    ),
    (lambda folder: (folder / "datapackage.json").unlink(), "datapackage.json is named"),
    (lambda folder: (folder / "x\nY").write_text(""), r"'x\\nY' is not named in SHA256SUMS"),
    (lambda folder: (folder / "sub").mkdir(), "'sub' is not named"),
    (edit("SHA256SUMS", lambda body: b""), "the last line of SHA256SUMS is incomplete"),
    (edit("SHA256SUMS", lambda body: body[:-1]), "the last line of SHA256SUMS is incomplete"),
    (edit("SHA256SUMS", lambda body: body[: body.index(b"\n") + 1]), "not named in SHA256SUMS"),
    (edit("SHA256SUMS", lambda body: body + body), "line 4 .* names it twice"),
    (edit("SHA256SUMS", lambda body: body.replace(b"\n", b"\r\n")), "line 1 is not"),
    (edit("SHA256SUMS", lambda body: b"<<<<<<< ours\n" + body), "line 1 is not"),
    (edit("SHA256SUMS", lambda body: body.replace(b"  one", b" *one")), "line 2 is not"),
    (edit("SHA256SUMS", lambda body: body.replace(b"  one", b"  ../one")), "line 2 is not"),
    (edit("SHA256SUMS", lambda body: b"\xff" + body), "SHA256SUMS is not text"),
    (link, "one.csv is not a regular file"),
    (link_folder, "the folder is a link"),
    (folder_for_file, "one.csv is not a regular file"),
    (redescribe(resources=[]), "name different files"),
    (redescribe(resources="x"), "cannot be read"),
    (redescribe(fingerprints={}), "cannot be read"),
    (redescribe(origin=None), "cannot be read: .*origin"),
    (redescribe(created=1), "cannot be read: .*created"),
    (redescribe(origin="elsewhere"), "cannot be read: .*origin"),
    (edit("one.csv", lambda body: POINTER), "one.csv is a Git LFS pointer, not the data"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damage_is_named_with_its_remedy(here, taken, damage, message):
    damage(taken.folder)
    with pytest.raises(SourceError, match=message) as caught:
        snapshot.current(here, "alpha")
    assert caught.value.remedy
    assert caught.value.what.startswith("alpha: ")
    assert caught.value.what.isprintable()


def test_another_order_in_the_manifest_is_no_damage(here, taken):
    edit("SHA256SUMS", lambda body: b"".join(sorted(body.splitlines(True))))(taken.folder)
    assert snapshot.current(here, "alpha") == taken


def test_every_byte_counts(here, taken):
    """No byte of any file of a snapshot can change unseen."""
    for file in sorted(taken.folder.iterdir()):
        whole = file.read_bytes()
        for place in range(0, len(whole), 7 if file.name == "datapackage.json" else 1):
            broken = bytearray(whole)
            broken[place] ^= 0x01
            file.write_bytes(broken)
            with pytest.raises(SourceError):
                snapshot.current(here, "alpha")
        file.write_bytes(whole)
    assert snapshot.current(here, "alpha") == taken


# The swap

COMMITTING = """
import itertools, sys
sys.path.insert(0, sys.argv[2])
import test_snapshot
from pipeline import durable, settings
from pipeline.raw import snapshot
if sys.argv[1] == "no exchange":
    durable._exchange = lambda one, other: False
here = settings.load()
for generation in itertools.count():
    text = b"a\\n%d\\n" % generation
    test_snapshot.commit(here, {"one.csv": text, "two.csv": text})
    if generation == 0:
        print("committing", flush=True)
"""


@pytest.mark.parametrize("way", ["exchange", "no exchange"])
def test_a_commit_killed_at_any_moment_leaves_a_whole_snapshot(here, way):
    moments = random.Random(11)
    command = [sys.executable, "-c", COMMITTING, way, str(Path(__file__).parent)]
    for _ in range(15):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout.readline()
            time.sleep(moments.uniform(0, 0.03))
            child.send_signal(signal.SIGKILL)
        taken = snapshot.current(here, "alpha")  # it tidies up, and verifies
        one, two = taken.files
        assert one.read_bytes() == two.read_bytes()
        assert list((here.raw / ".incoming").iterdir()) == []


def test_the_leftovers_of_a_killed_fetch_are_removed(here, taken):
    (snapshot.open_candidate(here, "alpha") / "half.csv").write_text("a\n")
    assert snapshot.current(here, "alpha") == taken
    assert list((here.raw / ".incoming").iterdir()) == []


def test_a_candidate_carries_files_over_without_a_copy(here, taken):
    folder = snapshot.open_candidate(here, "alpha")
    snapshot.carry_over(taken.folder / "one.csv", folder)
    assert (folder / "one.csv").samefile(taken.folder / "one.csv")


def test_a_candidate_carries_files_over_where_links_are_not_possible(here, taken, monkeypatch):
    def refuse(*names):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(snapshot.os, "link", refuse)
    folder = snapshot.open_candidate(here, "alpha")
    snapshot.carry_over(taken.folder / "one.csv", folder)
    assert (folder / "one.csv").read_bytes() == BODIES["one.csv"]


def test_a_linked_raw_folder_is_refused(here, tmp_path):
    here.data_dir.mkdir()
    (tmp_path / "elsewhere").mkdir()
    here.raw.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="is a link"):
        snapshot.open_candidate(here, "alpha")


# Quarantine


def test_the_newest_refused_are_kept(here, tmp_path):
    for number in range(12):
        (tmp_path / "refused").write_text(str(number))
        snapshot.refuse(here, "alpha", tmp_path / "refused")
    kept = sorted((here.quarantine / "alpha").iterdir())
    assert [path.read_text() for path in kept] == ["7", "8", "9", "10", "11"]


def test_a_rejected_folder_that_is_too_large_or_empty_is_not_kept(here, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "REFUSED_BYTES", 10)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "file").write_text("x" * 11)
    (tmp_path / "empty").mkdir()
    for name in ("large", "empty", "not there"):
        assert snapshot.refuse(here, "alpha", tmp_path / name) is None
        assert not (tmp_path / name).exists()
    assert not (here.quarantine / "alpha").exists()


def test_a_link_is_moved_to_quarantine_and_its_target_stays(here, tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    snapshot.refuse(here, "alpha", tmp_path / "link")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "victim" / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (".alpha.csv.new", "000001-alpha.csv"),
        ("alpha", "000001-alpha"),
        ("a.new.csv", "000001-a.new.csv"),
    ],
)
def test_a_rejected_file_is_visible_under_its_final_name(here, tmp_path, name, kept):
    (tmp_path / name).write_text("x")
    assert snapshot.refuse(here, "alpha", tmp_path / name).name == kept
    assert snapshot.refuse(here, "alpha", tmp_path / name) is None


def test_foreign_files_in_quarantine_do_no_harm(here, tmp_path):
    (here.quarantine / "alpha").mkdir(parents=True)
    (here.quarantine / "alpha" / "notes-of-mine").write_text("mine")
    (tmp_path / "refused").write_text("x")
    assert snapshot.refuse(here, "alpha", tmp_path / "refused").name == "000001-refused"
    assert (here.quarantine / "alpha" / "notes-of-mine").exists()


# The descriptor


def assert_is_a_data_package(described: dict) -> None:
    """The rules of https://datapackage.org/standard/data-package/ and …/data-resource/, v2."""
    assert described["$schema"] == "https://datapackage.org/profiles/2.0/datapackage.json"
    assert re.fullmatch(r"[-a-z0-9._]+", described["name"])
    assert datetime.fromisoformat(described["created"]).utcoffset() is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", described["created"])
    assert re.match(r"https?://", described["homepage"])
    for entry in described["licenses"]:
        assert re.match(r"https?://", entry["path"])
    for entry in [*described["sources"], *described["licenses"]]:
        assert entry["title"]
    assert isinstance(described["title"], str)
    names = [entry["name"] for entry in described["resources"]]
    assert names
    assert len(set(names)) == len(names)
    for entry in described["resources"]:
        assert re.fullmatch(r"[-a-z0-9._]+", entry["name"])
        assert re.fullmatch(r"[^/.~\\][^/\\]*", entry["path"])
        assert ".." not in entry["path"]
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", entry["hash"])
        assert re.fullmatch(r"[^/\s]+/[^/\s]+", entry["mediatype"])
        assert re.fullmatch(r"[a-z0-9]+", entry["format"])
        assert type(entry["bytes"]) is int
        "".encode(entry["encoding"])
        assert "data" not in entry


def test_the_descriptor_is_a_data_package(taken):
    described = json.loads((taken.folder / "datapackage.json").read_bytes())
    assert_is_a_data_package(described)
    assert list(described["resources"][1].items())[:5] == [
        ("name", "two-words"),
        ("path", "two words.csv"),
        ("format", "csv"),
        ("bytes", 4),
        ("hash", f"sha256:{hashlib.sha256(BODIES['two words.csv']).hexdigest()}"),
    ]


def test_members_of_other_versions_do_no_harm(here, taken):
    redescribe(keywords=["x"], replaces=None, note="n")(taken.folder)
    again = snapshot.current(here, "alpha")
    assert (again.content, again.descriptor.replaces) == (taken.content, None)
    assert again.descriptor.note == "n"


@pytest.mark.parametrize("sent", ["", "csv", "text/csv/x", "text/ csv", "<script>/x"])
def test_an_invalid_media_type_is_replaced(tmp_path, sent):
    (tmp_path / "a.csv").write_text("a\n")
    entry = describe_file(tmp_path / "a.csv", "https://e.gov/a.csv", "0", sent, SOURCE)
    assert entry.mediatype == "text/csv"


def test_the_bytes_and_the_content_have_fingerprints_of_their_own(here):
    first, same = commit(here), commit(here)
    other = commit(here, BODIES | {"one.csv": b"a\n9\n"})
    assert first.descriptor.fingerprints == same.descriptor.fingerprints
    assert first.content != other.content


# The captures that come with the project


def test_a_bundled_capture_is_installed_manifest_and_all(here, example):
    capture = snapshot.bundled("stations")
    snapshot.install_bundled(here, capture)
    for path in capture.folder.iterdir():
        assert (here.raw / "stations" / path.name).read_bytes() == path.read_bytes()
    assert snapshot.current(here, "stations").origin == "bundled"
    shutil.rmtree(here.raw)
    assert snapshot.bundled("stations").origin == "bundled"  # the project's own stays
