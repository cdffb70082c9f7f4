"""What a source's own files declare wrongly is one sentence and 78, for that source alone."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from publisher import Answer
from test_fetch import HOST, SOURCE, URL, night

from pipeline import declaration_checks, settings, state
from pipeline.cli import night as nights
from pipeline.cli import preflight
from pipeline.connectors import socrata
from pipeline.errors import SETUP, DeclarationError, SetupError
from pipeline.formats import delimited
from pipeline.schema import declaration
from pipeline.settings import ROOT
from pipeline.stages import api

API = """
from pipeline.stages import api as fetch
from pipeline.raw.source import Source

SOURCE = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", {declared})

if __name__ == "__main__":
    fetch.run(SOURCE, lambda candidate: candidate.download("{url}"))
"""
PREPROCESS = """
from pipeline.formats import delimited
from pipeline.stages.preprocess import run

if __name__ == "__main__":
    run(lambda snapshot, output: delimited.write_csv(snapshot.file, output, {declared}))
"""


@pytest.fixture
def here(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    publisher.answers["/file.csv"] = [Answer(b"a\n1\n")]
    return settings.load()


def by_hand(here, tmp_path, text: str, stage: str) -> subprocess.CompletedProcess:
    """A script as a person starts it."""
    script = tmp_path / stage / "alpha.py"
    script.parent.mkdir()
    script.write_text(text)
    environment = os.environ | {"DATA_DIR": str(here.data_dir)}
    environment.pop("PIPELINE_RUN", None)
    command = [sys.executable, script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)


def is_one_sentence(done: subprocess.CompletedProcess, words: str) -> bool:
    said = (done.stdout + done.stderr).strip()
    return done.returncode == SETUP and words in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ('"xlsx"', "api/alpha.py declares kind='xlsx': xlsx is not one of json, geojson"),
        ('""', "declares kind=''"),
        ("None", "declares kind=None"),
        ('"CSV"', "declares kind='CSV'"),
        ('"csv", keys={"EIA": "https://api.eia.gov/"}', "which is not the name of a host"),
        ('"csv", keys={"EIA": "localhost"}', "which is not the name of a host"),
        ('"csv", keys={"EIA": ("a.gov", "b.gov")}', "which is not the name of a host"),
    ],
)
def test_a_wrong_declaration_of_an_api_script_is_reported(here, tmp_path, declared, words):
    done = by_hand(here, tmp_path, API.format(declared=declared, url=URL), "api")
    assert is_one_sentence(done, words), done.stdout + done.stderr
    assert state.read(here, "alpha")["api"]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ('delimiter=";;"', "the script in preprocess/ declares delimiter=';;'"),
        (
            'delimiter="||"',
            "declares delimiter='||', which cannot be a delimiter or a quote: each is one ASCII",
        ),
        ('delimiter=""', "declares delimiter=''"),
        ('delimiter="§"', "declares delimiter='§'"),
        ("delimiter=None", "declares delimiter=None"),
        ('delimiter="\\n"', "declares delimiter='\\n'"),
        ("quote=\"''\"", "declares quote=\"''\""),
        ('quote=""', "declares quote=''"),
        ('quote="”"', "declares quote='”'"),
        ('quote=","', "declares ',' as both delimiter and quote"),
        ('encoding="utf8-bom"', "declares encoding='utf8-bom', which Python does not support"),
        ('encoding=("utf-8", "latin1x")', "declares encoding='latin1x'"),
        ('encoding="base64"', "declares encoding='base64'"),
        ('encoding=""', "declares encoding=''"),
        ("encoding=()", "declares no encoding"),
    ],
)
def test_a_dialect_that_there_is_not_is_named(tmp_path, declared, words):
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    given = eval(f"dict({declared})")
    with pytest.raises(DeclarationError, match=re.escape(words)) as caught:
        delimited.write_csv(tmp_path / "in.csv", tmp_path / "out.csv", **given)
    assert caught.value.exit_code == SETUP
    assert not (tmp_path / "out.csv").exists()


def test_a_script_of_stage_preprocess_ends_with_78_too(here, tmp_path):
    assert night()["outcome"] == "new"
    done = by_hand(here, tmp_path, PREPROCESS.format(declared='delimiter=";;"'), "preprocess")
    assert is_one_sentence(done, "declares delimiter=';;'"), done.stdout + done.stderr


def test_every_dialect_that_there_is_passes():
    for delimiter in ",;\t|:~^ \x1f":
        for quote in ('"', "'", None):
            declaration_checks.check_dialect(delimiter, quote, "x")
    for encoding in ("utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "shift_jis", "mac-roman"):
        declaration_checks.check_encodings([encoding], "x")


def test_the_last_good_data_of_a_source_stay(here):
    first = night()
    with pytest.raises(DeclarationError):
        night(source=SOURCE.__class__(**SOURCE.__dict__ | {"kind": "xls"}))
    assert (here.raw / "alpha" / "file.csv").exists()
    assert night()["content"] == first["content"]
    candidate = SimpleNamespace(source=SimpleNamespace(kind="zip"), name="alpha")
    with pytest.raises(DeclarationError, match="declares kind='zip'"):
        socrata.fetch(candidate, "https://data.cdc.gov", "abcd-1234")
    options = SimpleNamespace(offline=False, force=False)

    def gather(candidate):
        raise DeclarationError("the script declares what there is not")

    with pytest.raises(DeclarationError):
        api.work(here, options, SOURCE, "alpha", gather)


# Files that are missing


@pytest.mark.parametrize("part", declaration_checks.PARTS)
def test_a_source_without_one_of_its_files_stops_the_run_before_it_begins(
    here, monkeypatch, tmp_path, part
):
    for each in declaration_checks.PARTS:
        (tmp_path / each.format("alpha")).parent.mkdir(exist_ok=True)
        (tmp_path / each.format("alpha")).touch()
    monkeypatch.setattr(declaration_checks, "ROOT", tmp_path)
    stages = ["api", "preprocess", "load", "transform", "publish"]
    preflight.refuse(here, ["alpha"], stages)
    (tmp_path / part.format("alpha")).unlink()
    with pytest.raises(SetupError, match=f"^source alpha has no {part.format('alpha')}") as caught:
        nights.run(stages, ["alpha"], SimpleNamespace(force=False, offline=False))
    assert caught.value.exit_code == SETUP
    needed = [stage for stage in stages if declaration_checks.missing_parts(["alpha"], [stage])]
    assert needed == [part.partition("/")[0]]
    assert not here.logs.exists()


@pytest.mark.parametrize("kind", ["missing", "folder", "latin-1"])
def test_a_declaration_of_a_table_that_cannot_be_read_is_78(here, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(declaration, "ROOT", tmp_path)
    (tmp_path / "load").mkdir()
    if kind == "folder":
        declaration.path("alpha").mkdir()
    elif kind == "latin-1":
        declaration.path("alpha").write_bytes("-- é".encode("latin-1"))
    for read in (declaration.read, declaration.text_of):
        with pytest.raises(DeclarationError, match=r"^load/alpha\.sql ") as caught:
            read("alpha")
        assert caught.value.exit_code == SETUP


def test_load_by_hand_without_its_file_is_78(here, monkeypatch, tmp_path):
    program = (
        "import sys; from pathlib import Path; from pipeline.schema import declaration;"
        "from pipeline.stages import load, loads; from pipeline import state, settings;"
        f"declaration.ROOT = Path({str(tmp_path)!r}); load.sources = lambda: ['stations'];"
        "sys.argv[1:] = ['stations'];"
        "state.update(settings.load(), 'stations', 'preprocess', sha256='x', rows=1);"
        "load.database.retry_once = lambda here, work: loads.fingerprint_of(here, 'stations');"
        "load.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert is_one_sentence(done, "load/stations.sql cannot be read: No such file"), done


# Addresses


@pytest.mark.parametrize(
    "address", ["https://[::1", "https://[::1/file.csv", f"https://{HOST}:port/x", "https://[x]/y"]
)
def test_an_invalid_address_is_reported_in_one_sentence(here, publisher, address, capsys):
    facts = night(gather=lambda candidate: candidate.download(address, "file.csv"))
    assert re.search("not a valid URL|not a valid file name", facts["reason"]), facts
    facts = night(gather=lambda candidate: candidate.download(address))
    assert re.search("not a valid URL|not a valid file name", facts["reason"]), facts
    for status in (301, 302, 303, 307, 308):
        publisher.answers["/file.csv"] = [Answer(b"", status, {"Location": address})]
        facts = night()
        assert re.search("which is not followed|Invalid IPv6 URL|not appear to be", facts["reason"])
    assert "Traceback" not in capsys.readouterr().err


def test_a_redirect_without_a_target_is_reported_in_one_sentence(here, publisher, capsys):
    from pipeline.connectors import nws

    body = {"type": "FeatureCollection", "features": [], "pagination": {"next": "https://[::1"}}
    publisher.answers["/file.csv"] = [Answer(json.dumps(body).encode())]
    source = SOURCE.__class__(**SOURCE.__dict__ | {"kind": "geojson", "may_be_empty": True})
    facts = night(source=source, gather=lambda candidate: nws.fetch(candidate, URL))
    assert "continues at https://[::1, which is not a valid URL" in facts["reason"], facts
    assert "Traceback" not in capsys.readouterr().err
