"""Connection strings: no message contains what libpq, or a person, takes for a password."""

import random
import re
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pipeline import database, dsn, settings
from pipeline.errors import PipelineError, SetupError

SIGNS = "#?/@[]:&=%+;,'\"\\<>$!*()|~^{} é€😀"
LETTERS = "bcdfghjkmnpqrstvwxz23456789"  # no word of a message has five of these in a row
URLS = ("DATABASE_URL", "PROD_DATABASE_URL")


@pytest.fixture
def put(here, monkeypatch):
    def put(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        settings.load.cache_clear()

    return put


def made(chance: random.Random) -> str:
    """A password whose runs of letters occur in no message."""
    runs = ["".join(chance.choices(LETTERS, k=chance.randint(5, 9))) for _ in range(3)]
    signs = ["".join(chance.choices(SIGNS, k=chance.randint(1, 3))) for _ in range(4)]
    if chance.random() < 0.7:
        signs[0] = signs[3] = ""
    return signs[0] + runs[0] + signs[1] + runs[1] + signs[2] + runs[2] + signs[3]


def spelled(chance: random.Random, password: str) -> str:
    """A password as people write it: encoded, half encoded, or not encoded."""
    ways = [lambda c: quote(c, safe=""), lambda c: quote(c, safe="/:@?#[]&=+;,"), lambda c: c]
    way = chance.choice(ways)
    return "".join(map(way, password))


SHAPES = (
    "postgresql://me:{}@127.0.0.1:9/dev",
    "postgres://me:{}@127.0.0.1/dev?connect_timeout=2",
    "postgresql://:{}@127.0.0.1:9",
    "postgresql://me:{}@[::1]:9/dev",
    "postgresql://127.0.0.1:9/dev?password={}",
    "postgresql://127.0.0.1?password={}",
    "postgresql://me@127.0.0.1:9/dev?sslpassword={}&user=you",
    "postgresql:///dev?host=/nowhere&password={}",
    "postgresql://me:{0}@h1:1,h2:2/dev?sslpassword={0}",
    "postgresql://me:{}@/dev",
    "postgresql://me:{}@127.0.0.1:port/dev",
    "postgresql://me:{}@[::1/dev",
    "postgresql://me:{}@h/dev?nonsense=1",
    "{}",
)


def cases(number: int, shapes: tuple[str, ...]):
    chance = random.Random(20261127)
    for _ in range(number):
        password = made(chance)
        yield password, chance.choice(shapes).format(spelled(chance, password))


def runs_in(password: str, text: str) -> list[str]:
    return [run for run in re.findall(f"[{LETTERS}]{{5,}}", password) if run in text]


def test_no_part_of_any_password_is_printed(put, is_long):
    accepted = 0
    for password, value in cases(30_000 if is_long else 1_500, SHAPES):
        for name in URLS:
            put("DATABASE_URL", "")
            put(name, value)
            said = settings.masked(name, value)
            try:
                given = settings.load()
            except SetupError as error:
                said += str(error)
            else:
                accepted += 1
                known = conninfo_to_dict(value)
                assert password in (known.get("password"), known.get("sslpassword")), value
                said += repr(given) + settings.redact(f"at {value}: {password}")
            assert not runs_in(password, said), (value, said)
    assert accepted > 500


def test_no_part_of_a_password_is_in_what_libpq_says(put):
    given_away = 0
    for password, value in cases(150, SHAPES[:-1]):
        value = value.replace("h1:1,h2:2", "127.0.0.1:9")
        put("DATABASE_URL", value)
        with pytest.raises(PipelineError) as caught:
            database.connect_to(value, "DATABASE_URL", -1)
        assert not runs_in(password, str(caught.value)), value
        with pytest.raises(psycopg.Error) as said:
            psycopg.connect(value, connect_timeout=2)
        if runs_in(password, str(said.value)):
            given_away += 1
            assert not dsn.is_clear(value)
    assert given_away > 10, "nothing would have been printed"


MIRRORS = (
    "a.gov=https://me:{}@mirror.org/x",
    "*=http://me:{}@127.0.0.1:9",
    "b.gov=https://c.org,a.gov=https://me:{}@mirror.org",
    "a.gov=https://me:{}@[::1",
    "a.gov=ftp://me:{}@mirror.org",
    "me:{}@mirror.org",
)


def test_a_token_instead_of_a_user_is_a_secret_too(put):
    put("MIRRORS", "a.gov=https://t0ken-7f3k9@mirror.org/x")
    assert settings.masked("MIRRORS", "a.gov=https://t0ken-7f3k9@mirror.org/x") == (
        "a.gov=https://***@mirror.org/x"
    )
    assert settings.redact("t0ken-7f3k9") == "***"


@pytest.mark.parametrize(
    "login", ["me%3Ayou:s3cr3t-7f3k9", "me:s3cr3t-7f3k9%0A", "m%00e:s3cr3t-7f3k9", "@", ":@", ""]
)
def test_a_login_that_cannot_be_sent_to_a_mirror_is_refused(put, login):
    put("MIRRORS", f"b.gov=https://m.org,a.gov=https://{login.removesuffix('@')}@mirror.org/x")
    with pytest.raises(SetupError, match="MIRRORS: user and password of entry 2 cannot") as caught:
        settings.load()
    assert "7f3k9" not in str(caught.value)


def test_no_part_of_a_password_in_mirrors_is_printed(put, is_long):
    accepted = 0
    for password, value in cases(10_000 if is_long else 800, MIRRORS):
        put("MIRRORS", value)
        said = settings.masked("MIRRORS", value)
        try:
            given = settings.load()
            accepted += 1
            assert not runs_in(password, repr(given))
            assert not runs_in(password, settings.redact(f"at {password} {value}")), value
        except SetupError as error:
            said += str(error)
        assert not runs_in(password, said), (value, said)
    assert accepted > 80


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://[::1",
        "postgresql://[::1/dev",
        "postgresql://me:a/b@h/dev",
        "postgresql://me:a@b@h/dev",
        "postgresql://me:12/34@h/dev",
        "postgresql://me:12/w?host=x@h/dev",
        "postgresql://h?password=a@b",
        "postgresql://h/d?sslmode=a@b",
        "postgresql://me:a%zz@h/dev",
        "postgresql://me:a b@h/dev",
        "postgresql://h:port/dev",
        "postgresql://h/dev?sslmod=require",
        "postgresql://h/dev?password=a=b",
        "postgresql://h/dev?user",
        "postgresql://me:\udce9@h/dev",
    ],
)
@pytest.mark.parametrize("name", URLS)
def test_an_ambiguous_address_is_78_with_the_remedy(put, name, value):
    put(name, value)
    with pytest.raises(SetupError, match=f"^{name} is (not|ambiguous)") as caught:
        settings.load()
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://",
        "postgresql:///dev",
        "postgresql://h",
        "postgres://me@h:5432/dev",
        "postgresql://me:p%40ss@h/dev",
        "postgresql://me%40server:p@h/dev",
        "postgresql://me:p#?[]&=w@h/dev",
        "postgresql://h1:1,h2:2/dev?target_session_attrs=read-write",
        "postgresql://[::1]:5432/dev",
        "postgresql:///dev?host=/var/run/postgresql&port=5433",
        "postgresql://%2Fvar%2Frun/dev",
        "postgresql://h/dev?password=a@b",
        "postgresql://h/a%40b?options=-c%20search_path%3Dx",
    ],
)
def test_an_unambiguous_address_is_accepted(put, value):
    put("DATABASE_URL", value)
    assert settings.load().database_url == value
    other = dsn.with_database(value, "prod")
    expected = conninfo_to_dict(value) | {"dbname": "prod"}
    assert conninfo_to_dict(other) == expected
    put("PROD_DATABASE_URL", other)
    assert settings.load().prod_database_url == other


def test_another_database_on_the_same_server_by_any_address():
    for value in ("host=h password='a b' dbname=dev", "postgresql://h/dev?dbname=other", ""):
        assert conninfo_to_dict(dsn.with_database(value, "prod"))["dbname"] == "prod"
    for password, value in cases(300, SHAPES[:10]):
        if dsn.is_clear(value):
            known = conninfo_to_dict(dsn.with_database(value, "prod"))
            assert known == conninfo_to_dict(value) | {"dbname": "prod"}
            assert password in known.values()
