"""Settings: the environment, then `.env`, then the defaults; what is wrong is named."""

import dataclasses

import pytest

from pipeline import settings
from pipeline.errors import SetupError


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    """No setting of the machine, no `.env` of the clone."""
    for name in settings.DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    settings.load.cache_clear()
    yield
    settings.load.cache_clear()


def load(monkeypatch, **given):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return settings.load()


def test_the_defaults(tmp_path):
    given = settings.load()
    assert given.data_dir == tmp_path / "data"
    assert given.stash == "git"
    assert given.mirrors == {}
    assert given.database_url == ""
    assert (given.fetch_patience, given.source_timeout, given.publish_patience) == (20, 1800, 300)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("STASH=off\nFETCH_PATIENCE=7  # seconds\nSOURCE_TIMEOUT=\n")
    given = load(monkeypatch, STASH="git+push")
    assert (given.stash, given.fetch_patience, given.source_timeout) == ("git+push", 7, 1800)


def test_every_folder_stands_in_the_data_folder(monkeypatch, tmp_path):
    given = load(monkeypatch, DATA_DIR="elsewhere")
    folders = (given.raw, given.preprocessed, given.state, given.quarantine, given.logs)
    assert {folder.parent for folder in folders} == {tmp_path / "elsewhere"}
    settings.load.cache_clear()
    assert load(monkeypatch, DATA_DIR="/an/absolute one").raw.as_posix() == "/an/absolute one/raw"


def test_mirrors_are_pairs(monkeypatch):
    given = load(monkeypatch, MIRRORS=" A.gov=http://127.0.0.1:1/x/ ,b.gov=https://mirror.org,")
    assert given.mirrors == {"a.gov": "http://127.0.0.1:1/x", "b.gov": "https://mirror.org"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STASH", "s4", "STASH='s4' is not one of git, git"),
        ("MIRRORS", "a.gov", "MIRRORS: 'a.gov' is not host="),
        ("MIRRORS", "=http://b", "is not host="),
        ("MIRRORS", "a.gov=http://", "is not host="),
        ("MIRRORS", "a.gov=ftp://b", "is not host="),
        ("MIRRORS", "a.gov=/etc", "is not host="),
        ("FETCH_PATIENCE", "long", "FETCH_PATIENCE='long' is not a number"),
        ("FETCH_PATIENCE", "-1", "out of range"),
        ("SOURCE_TIMEOUT", "nan", "out of range"),
        ("SOURCE_TIMEOUT", "inf", "out of range"),
        ("PUBLISH_PATIENCE", "1e9", "out of range"),
        ("SOURCE_MEMORY_MB", "4 GB", "not a number"),
        ("DATABASE_URL", "mysql://h/d", "does not begin with postgresql"),
        ("CONTACT", "me\r\nX-Injected: yes", "CONTACT has a control character"),
        (
            "SOCRATA_APP_TOKEN",
            "a key",
            "^SOCRATA_APP_TOKEN has a blank .* no key has$",
        ),
    ],
)
def test_a_value_that_is_not_understood_is_named(monkeypatch, name, value, message):
    with pytest.raises(SetupError, match=message) as caught:
        load(monkeypatch, **{name: value})
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("url", ["postgres://u:p%40ss@h/d", "postgresql://u:p%40ss@h/d"])
def test_a_password_is_masked_in_every_form(monkeypatch, url):
    load(monkeypatch, DATABASE_URL=url)
    assert settings.masked("DATABASE_URL", url) == url.replace("p%40ss", "***")
    assert settings.redact("failed for p@ss and p%40ss") == "failed for *** and ***"
    assert settings.masked("CONTACT", "me") == "me"


def test_a_key_is_shown_nowhere(monkeypatch):
    key = "a/secret+key"
    here = load(monkeypatch, SOCRATA_APP_TOKEN=key)
    assert here.socrata_app_token == key
    assert settings.masked("SOCRATA_APP_TOKEN", key) == "***"
    assert settings.redact(f"?$$app_token=a%2Fsecret%2Bkey&x={key}") == "?$$app_token=***&x=***"
    assert key not in repr(here)


def test_sources_are_the_scripts_of_the_api_folder(tmp_path):
    (tmp_path / "api").mkdir()
    for name in ("b_two", "a_one", "conftest"):
        (tmp_path / "api" / f"{name}.py").touch()
    assert settings.sources() == ["a_one", "b_two"]


@pytest.mark.parametrize("stem", ["Upper", "1st", "a-b", 'a"; drop table x; --', "a" * 64])
def test_a_script_whose_name_can_be_no_tables_name_is_named(tmp_path, stem):
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / f"{stem}.py").touch()
    with pytest.raises(SetupError, match="a source is named in lower case"):
        settings.sources()


def test_settings_do_not_change_while_a_run_uses_them():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.load().stash = "off"
