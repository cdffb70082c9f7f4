"""The report page: what it says, what it shows of the ledger, and how a browser finds it."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import psycopg
import pytest

from pipeline import database, report, settings
from pipeline.database import ledger
from pipeline.marts import data_status
from pipeline.marts.freshness import Row
from pipeline.report import charts, facts, page, reading
from pipeline.report.charts import Chart, Drawing
from pipeline.report.facts import Facts, Night, Size, Source, Stage, Table, Uncastable

NOW = datetime(2026, 11, 28, 2, 14, tzinfo=UTC)
EVIL = "<script>alert('x')</script> & \"quotes\" \x1b[31m"
PACKAGES = ("playwright-core@1.64.1", "axe-core@4.11.0")
LOOK = """
const { chromium } = require('playwright-core')
const axe = require.resolve('axe-core/axe.min.js')
const [, , file, script] = process.argv
;(async () => {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'] })
  const result = { requests: [], problems: [], violations: [], age: [] }
  for (const scheme of ['light', 'dark']) {
    for (const width of [360, 1280]) {
      const context = await browser.newContext({ colorScheme: scheme,
        viewport: { width, height: 800 }, javaScriptEnabled: script === 'yes', bypassCSP: false })
      const view = await context.newPage()
      view.on('request', request => result.requests.push(request.url()))
      view.on('console', message => result.problems.push(message.text()))
      view.on('pageerror', error => result.problems.push(String(error)))
      await view.goto('file://' + file)
      result.age.push(await view.locator('#age').textContent())
      result.overflow = await view.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth')
      if (script === 'yes') {
        // evaluate() is not subject to the page's policy, a script element would be
        await view.evaluate(require('fs').readFileSync(axe, 'utf8'))
        const found = await view.evaluate('axe.run()')
        result.violations.push(...found.violations.map(v => `${scheme} ${width} ${v.id}: ` +
          v.nodes.map(n => n.html.slice(0, 200)).join(' | ')))
      }
      await context.close()
    }
  }
  await browser.close()
  console.log(JSON.stringify(result))
})()
"""


def source(name: str, state: str = "fresh", **more) -> Source:
    return replace(
        Source(
            name=name,
            state=state,
            as_of=NOW,
            reason="",
            is_overdue=False,
            rows=1200,
            rows_before=[1000, 1100, 1200],
            bytes=34_000,
            seconds=1.5,
            title=f"The {name}",
            publisher="A publisher",
            page="https://publisher.example/",
            licence="Public domain",
            licence_page="https://licence.example/",
            completeness="1,200 of 1,200 rows",
            fixes={},
        ),
        **more,
    )


def table(name: str, state: str = "fresh", **more) -> Table:
    return replace(
        Table(name, state, NOW, "", False, [], 500, [400, 500], 3, NOW),
        **more,
    )


FULL = Facts(
    made_at=NOW,
    sources=[
        source("gauges"),
        source("rivers", "kept", reason="the publisher answers 503", is_overdue=True),
        source("lakes", "missing", rows=None, rows_before=[], bytes=None, as_of=None),
        source("wells", fixes={"longitudes moved": 5}),
    ],
    tables=[table("levels"), table("floods", "held", reason="not_null_floods_id failed")],
    nights=[
        Night(date(2026, 11, 25), 0, ""),
        Night(date(2026, 11, 26), 2, "rivers are kept"),
        Night(date(2026, 11, 27), None, ""),
        Night(date(2026, 11, 28), 1, "the disk is full"),
    ],
    stages=[Stage("api", 12.0, 30.0), Stage("load", 1.0, 1.0)],
    changes=["source gauges: 1,200 rows, 100 more"],
    sizes=[Size("raw", [1_000, 2_000]), Size("stash", [0])],
    uncastable=[Uncastable("rivers", "level", "double precision", 2, "high")],
    warnings={"levels_are_positive": "3 rows"},
    failed={"stg_lakes": "the view cannot be made"},
)


class Text(HTMLParser):
    """The visible text of a page, and the addresses it links to."""

    def __init__(self, html: str):
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.hidden = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.hidden += tag in ("style", "script")
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "script")

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


# The first sentence


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Facts(NOW), "Nothing is published yet."),
        (
            Facts(NOW, [source("a"), source("b")], [table("t")]),
            "All 2 sources are fresh as of 02:14 UTC; no table is held.",
        ),
        (
            Facts(NOW, [source("a"), source("b", "kept")], [table("t")]),
            "Of 2 sources, 1 is kept; no table is held.",
        ),
        (
            Facts(
                NOW,
                [source("a", "kept"), source("b", "kept"), source("c", "missing")],
                [table("t", "held"), table("u"), table("v", "held")],
            ),
            "Of 3 sources, 2 are kept and 1 is missing; readers see older rows of t and v.",
        ),
        (
            Facts(NOW, [source("a", "unknown")], database_error="connection refused"),
            "The database cannot be read: connection refused.",
        ),
    ],
)
def test_the_page_begins_with_one_sentence_on_everything(found, sentence):
    assert facts.summary(found) == sentence
    assert sentence in Text(page.render(found, [])).text


# What is on it


def test_everything_that_needs_attention_is_named():
    text = Text(page.render(FULL, [])).text
    section = text[text.index("Needs attention Sources") :]
    attention = section[: section.index("One row per source")]
    for sentence in (
        "rivers (kept) : the publisher answers 503",
        "Table floods is held: not_null_floods_id failed",
        "stg_lakes failed: the view cannot be made",
        "Warning of levels_are_positive: 3 rows",
        "2 values of rivers.level are not double precision",
    ):
        assert sentence.replace(" :", ":") in attention.replace(" :", ":")
    assert "gauges" not in attention


def test_one_reason_of_many_sources_is_said_once():
    many = [source(f"s{n}", "kept", reason="no network") for n in range(5)]
    text = Text(page.render(Facts(NOW, many, [table("t")]), [])).text
    assert text.count("no network") == 1


def test_a_night_without_trouble_needs_no_attention():
    quiet = Facts(NOW, [source("gauges")], [table("levels")])
    assert "Needs attention Nothing." in Text(page.render(quiet, [])).text


def test_a_pipeline_without_sources_has_a_page():
    text = Text(page.render(Facts(NOW), [])).text
    assert "There is no source yet." in text
    assert "No night has run yet." in text


def test_the_calendar_begins_on_a_monday_and_shows_every_day():
    weeks = page._weeks(FULL)
    assert [[night and night.day.day for night in week] for week in weeks] == [
        [None, None, 25, 26, 27, 28, None]
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2_500_000_000_000, "2500.0 GB")],
)
def test_sizes_are_readable(value, shown):
    assert page._size(value) == shown


@pytest.mark.parametrize("values", [[], [7]])
def test_a_line_needs_two_values(values):
    assert page.sparkline(values) == ""


@pytest.mark.parametrize("values", [[0, 0], [5, 5, 5], [0, 10**12], list(range(60))])
def test_a_line_stays_within_its_box(values):
    points = re.search(r'points="([^"]*)"', page.sparkline(values))[1].split()
    assert len(points) == len(values)
    for point in points:
        across, down = map(float, point.split(","))
        assert 0 <= across <= 100
        assert 0 <= down <= 20


# Safety


def test_no_text_of_others_becomes_markup():
    evil = source("gauges", "kept", reason=EVIL, title=EVIL, publisher=EVIL, licence=EVIL)
    evil = replace(
        evil, page="javascript:alert(1)", licence_page="data:text/html,x", fixes={EVIL: 1}
    )
    found = replace(
        FULL,
        sources=[evil],
        tables=[table("t", "held", reason=EVIL)],
        changes=[EVIL],
        warnings={EVIL: EVIL},
        failed={EVIL: EVIL},
        uncastable=[Uncastable("s", "c", "t", 1, EVIL)],
    )
    html = page.render(found, [Drawing("T", "t", error=EVIL)])
    parsed = Text(html)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert not [link for link in parsed.links if not link.startswith("#")]
    assert "\x1b" not in html


def test_the_page_asks_for_nothing_and_its_policy_says_so():
    drawing = Drawing("T", "t", '<svg viewBox="0 0 1 1"><path d="M0,0"/></svg>')
    html = page.render(FULL, [drawing])
    parsed = Text(html)
    for tag, attributes in parsed.tags:
        assert not {"src", "srcset", "style", "onclick", "onload"} & attributes.keys(), tag
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
    assert "url(" not in html
    assert "@import" not in html
    (policy,) = [a["content"] for _, a in parsed.tags if "http-equiv" in a]
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


# From the ledger


@pytest.fixture
def connection(here, database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        database.prepare(connection)
        connection.execute("create schema if not exists transformed")
        yield connection


def night(connection, number: int, code: int | None = 0, **rows: int) -> str:
    """A night that loaded and published these numbers of rows, as many days ago."""
    began = datetime.now(UTC) - timedelta(days=number)
    run_id = f"{began:%Y-%m-%dT%H-%M-%SZ}-{number}"
    ledger.begin(connection, run_id, "night", began.isoformat())
    for name, count in rows.items():
        step = {"outcome": "new", "rows": count, "seconds": 2, "started_at": began.isoformat()}
        ledger.note(connection, run_id, "load", name, step, "f")
        step |= {"outcome": "published", "generation": 10 - number}
        ledger.note(connection, run_id, "transform", f"{name}_mart", step, "f")
    whole = {
        "outcome": "published",
        "generation": 10 - number,
        "started_at": began.isoformat(),
        "tables": [f"{name}_mart" for name in rows],
        "uncastable": [
            {"source": "gauges", "column": "level", "type": "integer", "count": 3, "example": "x"}
        ],
        "warnings": {"a_test": "2 rows"},
    }
    ledger.note(connection, run_id, "transform", ledger.ALL_MODELS, whole, "f")
    if code is not None:
        ledger.end(connection, run_id, code, f"ended with {code}")
    return run_id


def test_the_page_shows_what_the_ledger_and_the_status_say(here, connection):
    night(connection, 2, 0, gauges=100)
    night(connection, 1, 2, gauges=130)
    status = [
        Row("source", "gauges", "kept", as_of=NOW, reason="the publisher answers 503"),
        Row("table", "gauges_mart", "held", published_at=NOW, generation=8, reason="a test failed"),
    ]
    data_status.prepare(connection)
    data_status.write(connection, status)
    found = reading.read(here, connection, ["gauges"])
    (gauges,) = found.sources
    assert (gauges.state, gauges.rows, gauges.rows_before) == ("kept", 130, [100, 130])
    assert gauges.reason == "the publisher answers 503"
    (mart,) = found.tables
    assert (mart.name, mart.state, mart.rows_before) == ("gauges_mart", "held", [100, 130])
    assert [night.exit_code for night in found.nights] == [0, 2, None]
    assert found.changes == [
        "source gauges: 130 rows, 30 more",
        "table gauges_mart: 130 rows, 30 more",
    ]
    assert found.uncastable == [Uncastable("gauges", "level", "integer", 3, "x")]
    assert found.warnings == {"a_test": "2 rows"}
    assert [stage.name for stage in found.stages] == ["load", "transform"]
    assert "gauges_mart" in page.render(found, [])


def test_a_stage_lasts_from_the_end_of_the_one_before(connection):
    began = datetime.now(UTC)
    run_id = "2026-11-28T02-14-00Z-1"
    ledger.begin(connection, run_id, "night", began.isoformat())
    for stage, name, start, seconds in (
        ("api", "gauges", 1, 4),
        ("api", "rivers", 2, 8),  # until 10
        ("load", "gauges", 11, 2),  # until 13
        ("transform", "all models", 40, None),  # recorded at its end
    ):
        started_at = (began + timedelta(seconds=start)).isoformat()
        step = {"outcome": "new", "started_at": started_at, "seconds": seconds}
        ledger.note(connection, run_id, stage, name, step)
    stages = reading._stages(connection, reading._last_night(connection))
    assert [(s.name, round(s.elapsed), s.work) for s in stages] == [
        ("api", 10, 12),
        ("load", 3, 2),
        ("transform", 27, 0),
    ]


def test_sizes_are_recorded_once_a_day(here, connection):
    here.raw.mkdir(parents=True)
    for day, size in ((1, 10), (2, 30), (2, 20)):
        (here.raw / "file").write_bytes(b"x" * size)
        sizes = reading._sizes(here, connection, date(2026, 11, day))
    assert sizes[0] == Size("raw", [10, 20])
    assert {size.name for size in sizes} >= {"stash", "database dev", "exports"}


def test_the_worst_night_of_a_day_counts(connection):
    for number, code in ((1, 0), (1.01, 2), (1.02, None)):
        night(connection, number, code)
    assert reading._nights(connection, datetime.now(UTC).date())[0].exit_code is None


def test_a_database_without_a_ledger_gives_a_page(here, database_url):
    with psycopg.connect(database_url) as connection:
        found = reading.read(here, connection, ["gauges"])
    assert [source.state for source in found.sources] == ["unknown"]
    assert "Nothing is published yet." in page.render(found, [])


def test_without_a_database_the_page_says_so(here, monkeypatch):
    monkeypatch.setattr(settings, "sources", lambda: ["gauges"])
    here = replace(here, database_url="postgresql://nobody:secret@127.0.0.1:1/none")
    report.write(here, *report.collect(here))
    text = Text(page.path(here).read_text()).text
    assert "The database cannot be read" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "descriptor",
    [
        "",
        "{",
        "[]",
        '{"sources": [{"title": "A"}, {"title": "B"}], "licenses": [{}, {}]}',
        '{"sources": [], "licenses": [], "completeness": null}',
    ],
)
def test_a_page_is_written_whatever_the_descriptor_of_a_snapshot_says(here, descriptor):
    (here.raw / "gauges").mkdir(parents=True)
    (here.raw / "gauges" / "datapackage.json").write_text(descriptor)
    found = reading.without_database(here, ["gauges"], "it does not respond")
    assert "gauges" in Text(page.render(found, [])).text


# Charts


@pytest.fixture
def declared(monkeypatch):
    """The charts of the page, as a test wants them."""
    found: list[Chart] = []
    monkeypatch.setattr(charts, "declared", lambda: found)
    return found


def bars(query):
    """An Altair chart of one query."""
    import altair

    values = [{"n": n} for (n,) in query("select generate_series(1, 3)")]
    return altair.Chart(altair.Data(values=values)).mark_bar().encode(x="n:O", y="n:Q")


def chart(name: str, draw=bars, tables=("levels",)) -> Chart:
    return Chart(name, f"Title of {name}", "A text.", tables, draw)


def test_a_chart_is_drawn_once_for_each_generation(here, connection, declared):
    calls = []

    def counted(query):
        calls.append(1)
        return bars(query)

    declared.append(chart("bars", counted))
    first, again = (charts.drawings(here, connection, {"levels": 3}) for _ in range(2))
    assert len(calls) == 1
    assert first == again
    assert first[0].svg.startswith("<svg")
    assert "currentColor" in first[0].svg
    assert not re.search(r"style=|<script|href|width=\"\d+\" height=\"\d+\" viewBox", first[0].svg)
    charts.drawings(here, connection, {"levels": 4})
    assert len(calls) == 2
    assert len(list((here.data_dir / "report" / "charts").iterdir())) == 1


def test_a_chart_that_cannot_be_drawn_says_why_and_others_stand(here, connection, declared):
    def broken(query):
        return query("select 1/0")

    def changes(query):
        query("create table public.made (n integer)")
        return bars(query)

    declared += [chart("broken", broken), chart("bars"), chart("absent", tables=("gone",))]
    declared.append(chart("changes", changes))
    found = charts.drawings(here, connection, {"levels": 1})
    assert [bool(drawing.svg) for drawing in found] == [False, True, False, False]
    assert "division by zero" in found[0].error
    assert found[2].error == "not published yet: gone"
    assert "read-only transaction" in found[3].error


@pytest.mark.parametrize(
    "text", ["CHARTS = [", "import nothing_like_this", "raise ValueError(1)", ""]
)
def test_a_wrong_file_of_charts_leaves_the_page(here, connection, tmp_path, monkeypatch, text):
    path = tmp_path / "charts.py"
    path.write_text(text)
    monkeypatch.setattr(charts, "CHARTS_FILE", path)
    (drawing,) = charts.drawings(here, connection, {})
    assert drawing.error.startswith("publish/charts.py cannot be read: ")


def test_a_domain_without_charts_has_a_page(here, connection, tmp_path, monkeypatch):
    monkeypatch.setattr(charts, "CHARTS_FILE", tmp_path / "absent.py")
    assert charts.drawings(here, connection, {}) == []


# In a browser


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """Opens a page in Chromium, light and dark, narrow and wide; returns what it met."""
    if not (shutil.which("npm") and shutil.which("node") and shutil.which("chromium")):
        pytest.skip("npm, node and chromium are not installed")
    folder = tmp_path_factory.mktemp("browser")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", *PACKAGES],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"npm could not install {' and '.join(PACKAGES)}: {done.stderr[-300:]}")
    (folder / "look.js").write_text(LOOK)

    def opened(path: Path, script: bool) -> dict:
        done = subprocess.run(
            ["node", "look.js", str(path), "yes" if script else "no"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"HOME": str(folder)},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return opened


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_browser_finds_nothing_wrong(look, tmp_path, script):
    path = tmp_path / "index.html"
    drawing = Drawing("T", "t", '<svg viewBox="0 0 9 9" aria-hidden="true"><path d="M0,0"/></svg>')
    path.write_text(page.render(FULL, [drawing, Drawing("U", "u", error="not published yet")]))
    found = look(path, script)
    assert set(found["requests"]) == {f"file://{path}"}
    assert found["problems"] == []
    assert found["violations"] == []
    assert found["overflow"] <= 0


def test_an_old_page_says_that_the_pipeline_may_be_down(look, tmp_path):
    path = tmp_path / "index.html"
    for made_at, sentence in (
        (datetime.now(UTC) - timedelta(days=3), ", 3 days ago: the pipeline may be down."),
        (datetime.now(UTC), ", less than an hour ago."),
    ):
        path.write_text(page.render(replace(FULL, made_at=made_at), []))
        assert set(look(path, True)["age"]) == {sentence}
    assert set(look(path, False)["age"]) == {
        ". If that is more than 27 hours ago, the pipeline may be down."
    }
