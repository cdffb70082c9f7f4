"""A small dbt project under the settings and macros of the real one."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.marts import dbt_runner
from pipeline.settings import ROOT, Settings

OF_THE_REAL_ONE = (
    "dbt_project.yml",
    "profiles.yml",
    "engine/macros/generate_schema_name.sql",
    "engine/macros/keys.sql",
)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files of a project by their paths in it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@contextmanager
def use(folder: Path, files: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let stage transform of this process use a project; then forget what dbt was given."""
    before = dict(os.environ)
    write(folder, {name: (ROOT / "transform" / name).read_text() for name in OF_THE_REAL_ONE})
    write(folder, files)
    monkeypatch.setattr(dbt_runner, "PROJECT", folder)
    say_no_source_of_flags(monkeypatch)
    yield folder
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def say_no_source_of_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dbt not look through the stack for who declares its flags.

    It reads the source of every module on it, 19 times a run: half of the CPU of a small build
    below the deep stack of a test (measured: 0.50 s, 0.25 without), for the text of a warning.
    """
    from dbt_common.behavior_flags import BehaviorFlagRendered

    monkeypatch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))


@contextmanager
def parsed_once(here: Settings, memory: Path) -> Iterator[None]:
    """Let dbt know what it parsed in an earlier test of the module: it reads what differs alone.

    As on every night but the first; tests of the first one do without.
    """
    remembered = here.state / "dbt" / "partial_parse.msgpack"
    if memory.exists():
        remembered.parent.mkdir(parents=True)
        shutil.copy(memory, remembered)
    yield
    if remembered.exists() and not memory.exists():
        shutil.copy(remembered, memory)
