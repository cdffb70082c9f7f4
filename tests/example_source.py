"""A complete source for tests that need one: `tests/example`, laid out like this project.

docs/make_it_yours.md offers it as the first source of a project that was emptied.
"""

import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from pipeline import settings
from pipeline.raw import manifest, snapshot
from pipeline.raw.descriptor import describe, describe_file
from pipeline.raw.source import Source
from pipeline.schema import declaration, drift
from pipeline.settings import ROOT
from pipeline.stages import preprocess

EXAMPLE = ROOT / "tests" / "example"
NAME = "stations"
ROWS = 1000
AS_OF = "2026-01-01"


def capture(folder: Path, source: Source, body: bytes, as_of: str = AS_OF) -> None:
    """Write a bundled snapshot of the example source, in place of the one that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{NAME}.csv"
    file.write_bytes(body)
    digest = hashlib.sha256(body).hexdigest()
    url = f"https://railways.example/{file.name}"
    entry = describe_file(file, url, digest, "text/csv", source)
    described = replace(describe(source, NAME, [entry]), origin="bundled", as_of=as_of)
    text = msgspec.json.encode(described)
    (folder / "datapackage.json").write_bytes(text)
    manifest.write(
        folder, {file.name: digest, "datapackage.json": hashlib.sha256(text).hexdigest()}
    )


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this process work in a copy of the example's folder: its source is the only one."""
    shutil.copytree(EXAMPLE, folder)
    shutil.copy(ROOT / "preprocess" / "conftest.py", folder / "preprocess")
    for module in (declaration, drift, preprocess, settings):
        monkeypatch.setattr(module, "ROOT", folder)
    monkeypatch.setattr(snapshot, "BUNDLED", folder / "data" / "bundled")
    return folder
