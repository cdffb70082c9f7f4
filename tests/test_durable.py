"""Files and folders are complete or absent, whenever the machine stops."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from pipeline import durable

# Replaces, for ever, a folder of two files that have the same generation.
SWAPPING = """
import itertools, sys
from pathlib import Path
from pipeline import durable
if sys.argv[2] == "no exchange":
    durable._exchange = lambda one, other: False
root = Path(sys.argv[1])
aside, folder = root / "aside", root / "folder"
for generation in itertools.count():
    durable.repair_folder(aside, folder)
    aside.mkdir()
    for name in ("one", "two"):
        (aside / name).write_text(str(generation))
    durable.replace_folder(aside, folder)
    if generation == 0:
        print("swapping", flush=True)
"""


def make_folder(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


@pytest.mark.parametrize("way", ["exchange", "no exchange"])
def test_a_swap_killed_at_any_moment_leaves_the_old_or_the_new_folder_whole(tmp_path, way):
    moments = random.Random(7)
    for _ in range(15):
        command = [sys.executable, "-c", SWAPPING, str(tmp_path), way]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(moments.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
        if way == "exchange":  # it always exists, even before a repair
            assert (tmp_path / "folder").is_dir()
        durable.repair_folder(tmp_path / "aside", tmp_path / "folder")
        generations = {path.name: path.read_text() for path in (tmp_path / "folder").iterdir()}
        assert set(generations) == {"one", "two"}
        assert len(set(generations.values())) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_takes_the_place_of_another(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(durable, "_exchange", lambda one, other: False)
    old, new = make_folder(tmp_path / "old", "old"), make_folder(tmp_path / "new", "new")
    durable.replace_folder(new, old)
    assert (old / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_takes_a_place_that_was_free(tmp_path):
    durable.replace_folder(make_folder(tmp_path / "new", "new"), tmp_path / "folder")
    assert (tmp_path / "folder" / "file").read_text() == "new"
    assert not (tmp_path / "new").exists()


def test_everything_is_flushed_before_its_name_changes(tmp_path, monkeypatch):
    order = []
    exchange = durable._exchange
    monkeypatch.setattr(durable, "flush", lambda path: order.append(path.name))
    monkeypatch.setattr(
        durable, "_exchange", lambda one, other: order.append("swap") or exchange(one, other)
    )
    folder = make_folder(tmp_path / "folder", "old")
    durable.replace_folder(make_folder(tmp_path / "aside", "new"), folder)
    assert order[: order.index("swap")] == ["file", "aside"]
    assert tmp_path.name in order[order.index("swap") :]


@pytest.mark.parametrize("way", ["written", "replaced"])
def test_a_file_is_flushed_before_its_name_changes_and_the_name_after(tmp_path, monkeypatch, way):
    order = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda file: order.append(os.fstat(file).st_ino))
    monkeypatch.setattr(os, "replace", lambda *names: order.append("name") or replace(*names))
    path = tmp_path / "file"
    if way == "written":
        durable.write(path, b"new")
    else:
        (tmp_path / "aside").write_text("new")
        durable.replace_file(tmp_path / "aside", path)
    assert order == [path.stat().st_ino, "name", tmp_path.stat().st_ino]


@pytest.mark.parametrize("moment", ["old aside", "new in place"])
def test_repair_mends_a_swap_without_exchange_that_was_cut_short(tmp_path, moment):
    aside, folder, old = (tmp_path / name for name in ("aside", "folder", "aside.old"))
    make_folder(old, "old")
    make_folder(aside if moment == "old aside" else folder, "new")
    durable.repair_folder(aside, folder)
    expected = "old" if moment == "old aside" else "new"
    assert (folder / "file").read_text() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_repair_of_what_is_in_order_changes_nothing(tmp_path):
    folder = make_folder(tmp_path / "folder", "good")
    durable.repair_folder(tmp_path / "aside", folder)
    assert (folder / "file").read_text() == "good"


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    durable.write_json(path, {"night": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        durable.write_json(path, {"night": 2})
    assert json.loads(path.read_bytes()) == {"night": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_file_is_replaced_in_one_step(tmp_path):
    path, aside = tmp_path / "file", tmp_path / ".file.new"
    path.write_text("old")
    aside.write_text("new")
    durable.replace_file(aside, path)
    assert path.read_text() == "new"
    assert not aside.exists()
