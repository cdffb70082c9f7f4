"""Publishers' keys: sent to one host, in no file and no message, in whatever encoding."""

import base64
import json
import random
import re
import string
from dataclasses import replace
from html import escape
from itertools import cycle
from types import SimpleNamespace
from urllib.parse import quote, quote_plus

import pytest
from publisher import Answer, serving
from test_fetch import HOST, SOURCE, URL, night

from pipeline import redaction, settings
from pipeline import text as printable
from pipeline.errors import SetupError, SourceError
from pipeline.stages import script

KEY = "Ab+9/very=secret~key&x%41'\"\\<z"
OTHER = "elsewhere.example.gov"
KEYED = replace(SOURCE, keys={"EIA": HOST})
PRINTABLE = string.ascii_letters + string.digits + string.punctuation


@pytest.fixture
def other():
    with serving() as publisher:
        yield publisher


@pytest.fixture
def here(here, publisher, other, monkeypatch):
    monkeypatch.setenv("KEY_EIA", KEY)
    monkeypatch.setenv(
        "MIRRORS", f"{HOST}={publisher.url},{OTHER}={other.url},x.{HOST}={other.url}"
    )
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    return settings.load()


def percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def unicode_escapes(text: str) -> str:
    units = text.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def lower(text: str) -> str:
    return re.sub("%..", lambda found: found[0].lower(), quote(text, safe=""))


def half(text: str) -> str:
    """Like programs that encode some characters, in different ways."""
    chance = random.Random(text)
    return "".join(chance.choice([str, lower, percent])(c) for c in text)


def in_base64(before: str, after: str, encode=base64.b64encode):
    return lambda text: encode(f"{before}{text}{after}".encode()).decode()


SPELLINGS = {
    "as it is": str,
    "percent": lambda text: quote(text, safe=""),
    "percent, slash kept": quote,
    "percent, lower case": lower,
    "percent, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent, everything": percent,
    "percent, some": half,
    "plus": quote_plus,
    "json": lambda text: json.dumps(text)[1:-1],
    "json, slash escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json, everything": unicode_escapes,
    "json in json": lambda text: json.dumps(json.dumps(text))[1:-1],
    "json of percent": lambda text: json.dumps(quote_plus(text)),
    "html": escape,
    "python": repr,
    "python bytes": lambda text: repr(text.encode()),
    "sql": lambda text: text.replace("'", "''"),
    "base64": in_base64("", ""),
    "base64 of a header": in_base64("", ":"),
    "base64 of a pair": in_base64("me:", ""),
    "base64 within": in_base64("ab", "cde"),
    "base64 for URLs": in_base64("user:", "", base64.urlsafe_b64encode),
    "base64 in a URL": lambda text: quote(in_base64("a", "b")(text), safe=""),
    "base64 in json": lambda text: in_base64("", "!")(text).replace("/", "\\/"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_found_in_every_spelling(spelling, is_long):
    chance, signs = random.Random(spelling), PRINTABLE + " é€😀\t"
    # Base64 beside the secret stays, and so do quotes and a space at an end.
    most = 16 if "64" in spelling else 8
    for _ in range(2_000 if is_long else 100):
        secret = "".join(chance.choices(signs, k=chance.randint(8, 60))).strip("\\ \t")
        spelled = SPELLINGS[spelling](secret)
        for text in (spelled, f"at {spelled} end", f"?key={spelled}&x", f'{{"key": "{spelled}"}}'):
            said = redaction.redact(text, frozenset({secret}))
            assert "***" in said, (secret, text)
            assert len(said) - 3 <= len(text) - len(spelled) + most, (secret, text, said)


CUT = {name: spell for name, spell in SPELLINGS.items() if not name.startswith("python")}


@pytest.mark.parametrize("spelling", CUT)
def test_the_begin_of_a_secret_at_a_cut_end_is_no_more_shown_than_all_of_it(spelling, here):
    """An excerpt of a body may end anywhere: half a secret is removed, too."""
    spelled = CUT[spelling](KEY)
    size = {"json, everything": 20, "as it is": 4}.get(spelling, 10)  # less proves nothing
    parts = {spelled[at : at + size] for at in range(len(spelled) - size + 1)}
    for before in range(180, 202):
        whole = "." * before + spelled
        for end in range(before, len(whole) + 1):
            said = printable.start_of(whole[:end].encode())
            assert not any(part in said for part in parts), (said, end)
        said = printable.escaped(f"{whole} and so on")
        assert not any(part in said for part in parts), said


def test_what_is_no_secret_stays(is_long):
    chance = random.Random(5)
    signs = "ab%4\\u0&;#x+ /=é'\"<\n\ud800"
    for _ in range(20_000 if is_long else 1_000):
        text = "".join(chance.choices(signs, k=chance.randint(0, 40)))
        said = redaction.redact(text, frozenset({"no such secret", "another"}))
        assert said == text or "\ud800" in text


def test_large_data_is_searched_alike():
    assert redaction.holds(KEY, b"x" * 100_000 + KEY.encode())
    assert not redaction.holds(KEY, b"x" * 100_000 + KEY.encode()[:-1])
    for name, spell in SPELLINGS.items():
        if "everything" not in name and "some" not in name and "python" not in name:
            assert redaction.holds(KEY, f"[{spell(KEY)}]".encode()), name


# Keys in scripts


def ask(address=URL, headers=None, source=KEYED, **more):
    """Run one night of a source whose script sends a key."""
    return night(
        source=source,
        gather=lambda candidate: candidate.download(address, "file.csv", headers=headers),
        **more,
    )


def everything(here) -> bytes:
    """All bytes that are kept on disk."""
    return b"\n".join(
        str(path).encode() + path.read_bytes()
        for path in here.data_dir.rglob("*")
        if path.is_file()
    )


def query() -> str:
    return f"{URL}?api_key={quote(settings.key('EIA'), safe='')}"


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.key('EIA')}"}


def basic() -> dict[str, str]:
    packed = base64.b64encode(f"{settings.key('EIA')}:".encode()).decode()
    return {"Authorization": f"Basic {packed}"}


def holds_key(data: bytes | str) -> bool:
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    return redaction.finds(KEY, text)


def test_a_key_goes_into_a_query_and_a_header_and_into_no_file(here, publisher):
    publisher.answers["/file.csv"] = [Answer(b"a\n1\n", headers={"ETag": '"1"'})]
    for address, headers in ((query(), None), (URL, bearer()), (URL, basic())):
        facts = ask(address, headers, force=True)
        assert facts["outcome"] in ("new", "unchanged"), facts
        asked = publisher.requests[-1]
        assert holds_key(asked.path + str(asked.headers))
        assert not holds_key(everything(here))
    assert not holds_key(repr(here))
    assert json.loads((here.raw / "alpha/datapackage.json").read_bytes())["resources"]


@pytest.mark.parametrize("keys", [{}, {"EIA": OTHER}, {"EIA": f"x.{HOST}"}, {"OTHER": HOST}])
def test_a_key_is_not_sent_to_a_host_it_is_not_declared_for(here, publisher, keys):
    publisher.answers["/file.csv"] = [Answer(b"a\n1\n")]
    for address, headers in ((query(), None), (URL, bearer()), (URL, basic())):
        facts = ask(address, headers, source=replace(SOURCE, keys=keys))
        assert facts["outcome"] == "missing"
        assert "KEY_EIA is declared for" in facts["reason"]
        assert not holds_key(str(facts))
    assert publisher.requests == []


@pytest.mark.parametrize(
    "address",
    [
        f"https://{OTHER}/file.csv?k={{}}",
        f"https://{{}}@{OTHER}/file.csv",
        f"https://{HOST}@{OTHER}/file.csv?k={{}}",
        f"https://{OTHER}\\@{HOST}/file.csv?k={{}}",
        f"https://{HOST}:8443/file.csv?k={{}}",
        f"https://x.{HOST}/file.csv?k={{}}",
        f"http://{HOST}/file.csv?k={{}}",
    ],
)
def test_no_address_leads_a_key_elsewhere(here, publisher, other, address):
    facts = ask(address.format(quote(KEY, safe="")))
    assert "not sent" in facts["reason"], facts
    assert publisher.requests == other.requests == []


@pytest.mark.parametrize(
    ("status", "spelling"),
    list(zip(cycle([301, 302, 303, 307, 308]), SPELLINGS, strict=False)),
)
def test_no_redirect_takes_a_key_along(here, publisher, other, status, spelling):
    """Neither in a header nor in the URL, which a publisher may repeat in any encoding."""
    repeated = quote(SPELLINGS[spelling](KEY), safe="%/+=\\&;#'!:")
    other.answers["/file.csv"] = [Answer(b"a\n1\n")]
    target = f"https://{OTHER}/file.csv?k={repeated.replace('#', '%23')}"
    publisher.answers["/file.csv"] = [Answer(b"", status, {"Location": target})]
    facts = ask(query(), bearer())
    assert f"KEY_EIA is declared for {HOST} alone and was not sent to {OTHER}" in facts["reason"]
    assert not holds_key(str(facts))
    assert other.requests == []
    publisher.answers["/file.csv"] = [
        Answer(b"", status, {"Location": f"https://{OTHER}/file.csv"})
    ]
    assert ask(query(), bearer())["outcome"] == "new"
    (asked,) = other.requests
    assert not holds_key(asked.path + str(asked.headers))


@pytest.mark.parametrize(
    "spelling", ["as it is", "percent", "plus", "json", "html", "base64 within"]
)
@pytest.mark.parametrize("where", ["body", "etag", "error", "error with 200"])
def test_a_key_that_a_publisher_repeats_is_kept_nowhere(here, publisher, spelling, where):
    repeated = SPELLINGS[spelling](KEY)
    answers = {
        "body": Answer(f'a\n"{repeated}"\n'.encode()),
        "etag": Answer(b"a\n1\n", headers={"ETag": f'"{quote(repeated)}"'}),
        "error": Answer(f"bad key {repeated}".encode(), 403),
        "error with 200": Answer(json.dumps({"error": repeated}).encode()),
    }
    publisher.answers["/file.csv"] = [answers[where]]
    facts = ask(query())
    assert facts["outcome"] == "missing"
    assert not holds_key(str(facts))
    assert not holds_key(everything(here))


@pytest.mark.parametrize("spelling", ["as it is", "percent", "base64 within"])
@pytest.mark.parametrize("leads", ["a redirect", "the next file"])
def test_no_cookie_takes_a_key_along(here, publisher, other, spelling, leads):
    """A cookie is for a domain, which may be wider than the host, and for any port."""
    cookie = {"Set-Cookie": f"k={quote(SPELLINGS[spelling](KEY), safe='%')}; Path=/"}
    elsewhere = f"https://{OTHER}/file.csv"
    if leads == "a redirect":
        publisher.answers["/file.csv"] = [Answer(b"", 302, cookie | {"Location": elsewhere})]
    else:
        publisher.answers["/file.csv"] = [Answer(b"a\n1\n", headers=cookie)]
    other.answers["/file.csv"] = [Answer(b"a\n1\n")]

    def gather(candidate):
        candidate.download(query(), "file.csv")
        if leads != "a redirect":
            candidate.download(elsewhere, "other.csv")

    assert night(source=KEYED, gather=gather)["outcome"] == "new"
    (asked,) = other.requests
    assert not holds_key(asked.path + str(asked.headers))


def test_a_cookie_goes_back_to_the_host_that_set_it(here, publisher):
    first = Answer(b"", 302, {"Location": "/again.csv", "Set-Cookie": "seen=1; Path=/"})
    publisher.answers |= {"/file.csv": [first], "/again.csv": [Answer(b"a\n1\n")]}
    assert ask()["outcome"] == "new"
    assert publisher.requests[-1].headers["Cookie"] == "seen=1"


def test_no_version_takes_a_key_along(here, publisher, other, monkeypatch):
    """The rest of an interrupted file is requested by its ETag from the host that responds then."""
    monkeypatch.setenv("FETCH_PATIENCE", "5")
    settings.load.cache_clear()
    etag = {"ETag": f'"{quote(KEY, safe="")}"'}
    moved = Answer(b"", 302, {"Location": f"https://{OTHER}/file.csv"})
    cut = Answer(b"a\n1\n2\n", headers=etag, cut=4)
    publisher.answers["/file.csv"] = [cut, moved]
    other.answers["/file.csv"] = [Answer(b"a\n1\n")]
    assert ask(query())["outcome"] == "missing"
    assert len(publisher.requests) > 1
    assert not any(holds_key(asked.path + str(asked.headers)) for asked in other.requests)


def test_the_token_of_socrata_goes_to_no_other_host(here, publisher, other, monkeypatch):
    monkeypatch.setenv("SOCRATA_APP_TOKEN", "a-token-of-socrata")
    settings.load.cache_clear()
    target = f"https://{OTHER}/file.csv?$$app_token=a-token-of-socrata"
    publisher.answers["/file.csv"] = [Answer(b"", 302, {"Location": target})]
    facts = ask(f"{URL}?$$app_token=a-token-of-socrata", source=SOURCE)
    assert "SOCRATA_APP_TOKEN" in facts["reason"]
    assert other.requests == []


# The setting


def test_a_key_that_is_not_set_leaves_its_source_and_says_what_to_do(here, monkeypatch):
    monkeypatch.delenv("KEY_EIA")
    settings.load.cache_clear()
    with pytest.raises(SourceError, match=r"^KEY_EIA is not set - put .* into \.env as KEY_EIA="):
        settings.key("EIA")
    with pytest.raises(SourceError, match=r"^CENSUS_API_KEY is not set"):
        settings.key("CENSUS_API_KEY")
    facts = night(gather=lambda candidate: candidate.download(query()))
    assert (facts["outcome"], facts["reason"]) == ("missing", "KEY_EIA is not set")


def test_keys_come_from_the_file_too_and_the_environment_wins(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    (tmp_path / ".env").write_text(
        "KEY_EIA=of-the-file\nKEY_BLS_2=second\nCENSUS_API_KEY=c-e-n-s\n"
    )
    settings.load.cache_clear()
    assert settings.key("EIA") == "of-the-file"
    assert settings.key("BLS_2") == "second"
    assert settings.key("CENSUS_API_KEY") == "c-e-n-s"
    monkeypatch.setenv("KEY_EIA", "of-the-environment")
    settings.load.cache_clear()
    assert settings.key("EIA") == "of-the-environment"
    assert settings.masked("KEY_EIA", "of-the-environment") == "***"
    assert settings.values()["KEY_BLS_2"] == "second"
    assert settings.redact("of-the-environment, second, c-e-n-s") == "***, ***, ***"
    settings.load.cache_clear()


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("EIA_API_KEY=x", "KEY_EIA"),
        ("EIA_KEY=x", "KEY_EIA"),
        ("BLS_TOKEN=x", "KEY_BLS"),
        ("KEY_eia=x", "KEY_EIA"),
        ("key_eia=x", "KEY_EIA"),
        ("CENSUS_KEY=x", "CENSUS_API_KEY"),
        ("SOCRATA_TOKEN=x", "SOCRATA_APP_TOKEN"),
        ("APP_PASWORD=x", "APP_PASSWORD"),
    ],
)
def test_a_key_under_another_name_is_78_with_the_name_that_is_meant(
    monkeypatch, tmp_path, line, meant
):
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    (tmp_path / ".env").write_text(f"{line}\n")
    settings.load.cache_clear()
    with pytest.raises(SetupError, match=f"did you mean {meant}"):
        settings.load()
    settings.load.cache_clear()


@pytest.mark.parametrize("value", ["two words", "sh0rt", "née-of-some-length", "a\nX-Injected: b"])
def test_what_can_be_no_key_is_78_and_is_not_shown(here, monkeypatch, value):
    monkeypatch.setenv("KEY_EIA", value)
    settings.load.cache_clear()
    with pytest.raises(SetupError, match=r"^KEY_EIA ") as caught:
        settings.load()
    assert value not in str(caught.value)


def test_a_fault_of_a_script_prints_no_key(here, capsys):
    def gather(candidate):
        raise RuntimeError(f"cannot parse {query()}")

    facts = night(gather=gather)
    assert not holds_key(str(facts) + capsys.readouterr().err)


def test_what_is_noted_of_a_stage_has_no_key(here):
    def work(here, options):
        return {"outcome": "failed", "reason": f"at {query()}", "remedy": f"see {query()}"}

    facts, _ = script._attempt("api", "alpha", work, SimpleNamespace())
    assert not holds_key(str(facts))
    assert not holds_key(everything(here))
