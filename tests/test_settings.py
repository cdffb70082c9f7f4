"""Settings: the environment, then `.env`, then the defaults; errors name the setting."""

import dataclasses
import random

import pytest

from pipeline import settings
from pipeline.errors import SetupError

REAL_ROOT = settings.ROOT


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    """Without the settings of this machine, and without a `.env`."""
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
        ("CONTACT", "me\r\nX-Injected: yes", "CONTACT contains a control character"),
        (
            "SOCRATA_APP_TOKEN",
            "a key",
            "^SOCRATA_APP_TOKEN contains a space .* in a key$",
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
    with pytest.raises(SetupError, match="may have only a-z"):
        settings.sources()


def test_settings_do_not_change_while_a_run_uses_them():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.load().stash = "off"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("CONTACT=caf\xe9\n".encode("latin-1"), r"^\.env line 1 is not UTF-8"),
        ("A=1\n\nCONTACT=\u4e2d\n".encode("shift-jis"), r"^\.env line 3 is not UTF-8"),
        ("STASH=off\n".encode("utf-16"), r"^\.env line 1 is not UTF-8"),
        ("STASH=off\n".encode("utf-16-le"), r"^\.env line 1 contains a NUL byte"),
        (b"STASH=off\nCONTACT=a\0b\n", r"^\.env line 2 contains a NUL byte"),
        (b"STASH=off\n\nFETCH_PATIENCE 7\n", r"^\.env line 3 is not NAME=value"),
        (b"STASH=off\nFETCH_PATIENCE\n", r"^\.env line 2 is not NAME=value"),
        (b"STASH=off\nCONTACT='me\n", r"^\.env line 2 is not NAME=value"),
        (b"FETCH_PATIENCE: 7\n", r"^\.env line 1 is not NAME=value"),
        (b"CONTACT=\xf0\x9f\x98\x80\n", "^CONTACT contains a character .* HTTP headers"),
        (b"DATA_DIR=~no_such_user_here/data\n", "begins with ~ and the name of a user"),
        (b"DATABASE_URL=postgresql://[::1\n", "^DATABASE_URL is not a valid connection string"),
        (
            b"PROD_DATABASE_URL=postgresql://[::1/prod\n",
            "^PROD_DATABASE_URL is not a valid",
        ),
        (b"MIRRORS=a.gov=http://[::1\n", "MIRRORS: .* is not host="),
        (b"MIRRORS=a.gov=http://h:port\n", "MIRRORS: .* is not host="),
        (b"MIRRORS=a.gov=http://h:99999\n", "MIRRORS: .* is not host="),
        (b"MIRRORS=a.gov=http://h/x?y=1\n", "MIRRORS: .* is not host="),
    ],
)
def test_a_file_that_cannot_be_read_is_78_in_one_sentence(tmp_path, data, message):
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(SetupError, match=message) as caught:
        settings.load()
    assert caught.value.exit_code == 78
    assert "\n" not in str(caught.value)
    settings.redact("an error is on its way, and must come through")


def test_a_file_with_the_mark_of_windows_is_read(tmp_path):
    (tmp_path / ".env").write_bytes("\ufeffSTASH=off\r\nCONTACT=café\r\n".encode())
    given = settings.load()
    assert (given.stash, given.contact) == ("off", "café")


def test_what_is_no_file_is_78(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(SetupError, match=r"^\.env cannot be read: Is a directory"):
        settings.load()
    (tmp_path / ".env").rmdir()
    (tmp_path / ".env").symlink_to("nowhere")
    with pytest.raises(SetupError, match=r"^\.env cannot be read: No such file"):
        settings.load()


def test_the_environment_is_decoded_too(monkeypatch):
    for name in ("CONTACT", "APP_PASSWORD", "STASH", "DATABASE_URL"):
        with monkeypatch.context() as context, pytest.raises(SetupError, match=name):
            load(context, **{name: "postgresql://\udce9"})
        settings.load.cache_clear()


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value", ["http://[::1", "http://me:p4ss/w@h:1", "http://h:port", "http://"]
)
def test_a_proxy_that_is_none_is_78(monkeypatch, name, value):
    with pytest.raises(SetupError, match=f"^{name} is not the address of a proxy") as caught:
        load(monkeypatch, **{name: value})
    assert "p4ss" not in str(caught.value)
    for usual in ("http://h:3128", "h:3128", "socks5://me:x@h", "http://me:p%2Fw@[::1]:8080/"):
        settings.load.cache_clear()
        load(monkeypatch, **{name: usual})


def test_damaged_files_are_78_or_read(tmp_path, is_long):
    """Any bytes give either settings, or one sentence and 78."""
    chance, outcomes = random.Random(35), {"read": 0, "refused": 0}
    parts = [b"STASH=off", b"=", b"\n", b"'", b'"', b"#", b"\xff", b"\0", b"export ", b"KEY_A="]
    parts += [b"abcdef", b"\\", b"\r", b"$", b"${", b"}", b" ", b"CONTACT=\xc3\xa9", b"[::1"]
    for _ in range(20_000 if is_long else 500):
        (tmp_path / ".env").write_bytes(b"".join(chance.choices(parts, k=chance.randint(0, 8))))
        settings.load.cache_clear()
        try:
            settings.load()
            outcomes["read"] += 1
        except SetupError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 30, outcomes


def test_a_team_names_the_project_in_one_file(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "_PYPROJECT", tmp_path / "pyproject.toml")
    text = '[project]\nname = "our-data"\nversion = "2"\nurls = {Home = "https://our.example/"}\n'
    (tmp_path / "pyproject.toml").write_text(text)
    settings.project.cache_clear()
    assert settings.load().user_agent == "our-data/2 (+https://our.example/)"
    assert dataclasses.replace(settings.load(), contact="me").user_agent == "our-data/2 (+me)"
    for damage in (text.replace("name", "nom"), text.replace("urls", "url"), text[:-3], "ä=1"):
        (tmp_path / "pyproject.toml").write_text(damage)
        settings.project.cache_clear()
        with pytest.raises(SetupError, match="lacks the name, version or address"):
            settings.project()
    settings.project.cache_clear()


def test_the_name_of_the_project_stands_in_one_file():
    """The code has no other: what is named after an earlier version is written as a former name."""
    name = settings.project().name
    paths = [
        path for folder in ("pipeline", "publish") for path in REAL_ROOT.glob(f"{folder}/**/*")
    ]
    found = [path for path in paths if path.suffix in (".py", ".sql") and name in path.read_text()]
    assert found == []
