"""Keys and passwords appear in no message, in whatever encoding."""

import base64
from urllib.parse import quote, quote_plus

import pytest
from publisher import Answer
from test_fetch import HOST, URL, night, on_disk

from pipeline import settings
from pipeline.text import shown

PASSWORD = "p@ss/w:rd 20%?é"
TOKEN = "Ab+9/very=secret~token"


@pytest.fixture
def here(here, publisher, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{quote(PASSWORD, safe='')}@db.gov/dev")
    monkeypatch.setenv("SOCRATA_APP_TOKEN", TOKEN)
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    return settings.load()


def spellings(secret):
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    for before in ("", "a", "me", "me:", "user:"):
        for after in ("", "!", "@db"):
            packed = f"{before}{secret}{after}".encode()
            yield base64.b64encode(packed).decode()
            yield base64.urlsafe_b64encode(packed).decode()


@pytest.mark.parametrize("secret", [PASSWORD, TOKEN])
def test_no_spelling_of_a_secret_is_left(here, secret):
    for spelling in spellings(secret):
        text = settings.redact(f"begin {spelling} end")
        assert "***" in text, spelling
        assert spelling not in text
        assert text.startswith("begin ")
        assert text.endswith(" end")


def test_every_secret_setting_is_redacted(here, monkeypatch):
    for name in settings.KEYS:
        monkeypatch.setenv(name, f"the-value-of-{name}")
        assert settings.redact(f"x the-value-of-{name} y") == "x *** y"
        assert settings.masked(name, f"the-value-of-{name}") == "***"


def test_what_is_no_secret_stays(here):
    text = "Ab+9/very secret token, base64 QWIrOQ=="
    assert settings.redact(text) == text
    assert "db.gov" in settings.masked(
        "DATABASE_URL", f"postgresql://me:{quote(PASSWORD)}@db.gov/d"
    )


def test_a_short_password_does_not_eat_the_text(here, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:x9@db.gov/dev")
    assert settings.redact("eDk= eDk=, x9") == "eDk= eDk=, ***"


def test_a_secret_in_an_address_is_in_no_manifest(here, publisher):
    publisher.answers["/file.csv"] = [Answer(b"a\n1\n")]
    address = f"{URL}?$$app_token={quote(TOKEN, safe='')}"
    facts = night(gather=lambda candidate: candidate.download(address))
    assert facts["outcome"] == "new"
    kept = b"".join(on_disk(here).values()) + (here.state / "alpha.json").read_bytes()
    for spelling in spellings(TOKEN):
        assert spelling.encode() not in kept
    assert shown(address).endswith("app_token=***")
    # The address itself was requested.
    assert quote(TOKEN, safe="") in publisher.requests[-1].path


def test_a_publisher_that_echoes_a_key_does_not_spread_it(here, publisher):
    body = f'{{"error": "bad token {TOKEN}"}}'.encode()
    publisher.answers["/file.csv"] = [Answer(body, 403)]
    facts = night()
    assert "bad token ***" in facts["reason"]
    assert TOKEN not in str(facts)
