"""Every fault on every protocol: whole nights with the twelve publishers, troubled in turn.

In night k of a square, unit i (a protocol, or a host with all sources on it) has trouble
(i + k) mod n: after n nights every unit had every trouble, and each night had many at once, with
at least two sources honest. Then the same night comes again without any trouble.
"""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psycopg
import pytest
from clone import Clone
from publisher import Answer, Request, serving
from upstream import faults, fdsn
from upstream.troubled import LOGIN, MOVED, PLACES, Trouble, Troubled, always, first
from upstream.twelve import STORMS, Twelve, twelve

from pipeline.drill_rows import fewer_rows
from pipeline.drill_server import nobody

SECRETS = {"SOCRATA_APP_TOKEN": "marker-of-socrata", "CENSUS_API_KEY": "marker-of-census"}
KEPT, RECOVERED, TAKEN = "kept", "unchanged", "new"
BOMB = faults.gzip_bomb(32)
# Requests of a source on a night without news, where there is more than one.
FEW = {"nifc_wildfires": 2, "usgs_earthquakes": 6, "noaa_storm_events": 4, "census_population": 5}
# Their publishers tell no version: they are sent whole, of the earthquakes the newest two months.
ALWAYS_SENT = ("fema_disasters", "nws_alerts", "usgs_earthquakes")
TINY = 8  # seconds: SOURCE_TIMEOUT of a night in which publishers hang


@dataclass(frozen=True)
class Unit:
    """What has one trouble at a time; of several sources on one host, one a night or all."""

    sources: tuple[str, ...]
    data: str = ""  # a pattern for addresses of data; the others are of counts and versions
    at_once: bool = False


PLAIN = ("faa_airports", "bls_unemployment", "faa_wildlife_strikes", "census_counties")
PROTOCOLS = {
    "plain": Unit(PLAIN),
    "bulk": Unit(("fema_disasters",)),
    "openfema": Unit(("fema_disaster_declarations",), r"\$format=csv"),
    "arcgis": Unit(("nifc_wildfires",), "f=geojson"),
    "socrata": Unit(("cdc_places",), r"\.csv\?"),
    "fdsn": Unit(("usgs_earthquakes",), "/query"),
    "nws": Unit(("nws_alerts",)),
    "gzip-listing": Unit(("noaa_storm_events",), r"\.gz$"),
    "csv-listing": Unit(("census_population",), r"\.csv$"),
}
FILES = ("plain", "bulk", "gzip-listing", "csv-listing")


def hosts() -> dict[str, Unit]:
    """Every host with all sources on it."""
    found: dict[str, Unit] = {}
    for place, source in PLACES.items():
        host = place.split("/")[1]
        known = found.get(host, Unit((), at_once=True))
        found[host] = replace(known, sources=(*known.sources, source))
    return found


@dataclass(frozen=True)
class Case:
    """A trouble: what goes wrong, what must be said of it, what must come of it."""

    name: str
    cause: str  # a pattern for the reason
    make: Callable[[], Trouble] = lambda: always(lambda answer: answer)
    at: str = "data"  # which answers: of "data", of the "rest", or "all"
    route: str = ""  # where MIRRORS lead a host to
    does: dict[str, Callable[[Twelve], object]] = field(default_factory=dict)  # by unit
    instead: dict[str, Trouble] = field(default_factory=dict)  # of `make`, by unit
    ends: str = KEPT
    # Where something else is right: the outcome, empty where it makes no sense; and the reason.
    but: dict[str, tuple[str, str]] = field(default_factory=dict)

    def outcome(self, unit: str) -> str:
        return self.but.get(unit, (self.ends, ""))[0]


def no_sense(units: tuple[str, ...], why: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(units, ("", why))


def simple(fault: faults.Fault) -> Callable[[], Trouble]:
    return lambda: always(fault)


def echo(request: Request, answer: Answer) -> Answer:
    """A refusal that repeats what it was sent, keys and all."""
    return Answer(str(request.headers).encode(), 403)


def to(place: str) -> Trouble:
    """A redirect to the same path below a place."""
    return lambda request, answer: faults.redirect(f"{place}{request.path}")(answer)


def silent(answer: Answer) -> Answer:
    """The connection is closed without a word."""
    return Answer(send=lambda file: None)


def resized(factor: float) -> faults.Fault:
    """The body with a length that is wrong, and the end of the connection after it."""

    def fault(answer: Answer) -> Answer:
        size = len(answer.body)
        return replace(answer, length=str(int(size * factor)), cut=size)

    return fault


def features(change: Callable[[list], list]) -> Trouble:
    """The features of a document as a function makes them, and its count with them."""

    def edit(body: bytes) -> bytes:
        document = json.loads(body)
        return json.dumps(document | {"features": change(document["features"])}).encode()

    return always(faults.changed(edit))


def and_more(body: bytes) -> bytes:
    """A page of features without any, that says more are to come."""
    return json.dumps(
        {"type": "FeatureCollection", "exceededTransferLimit": True, "features": []}
    ).encode()


def error_of(body: bytes) -> Trouble:
    return always(faults.error_in_200(body))


def grow_rows(name: str) -> Callable[[Twelve], None]:
    """Let a data set have one more row whenever a page of it is asked for."""

    def grow(known: Twelve) -> None:
        data = getattr(known, name)

        def more(what: str, asked: dict) -> None:
            if what == "page":
                data.rows = [*data.rows, [f"{value}+" for value in data.rows[-1]]]

        data.before = more

    return grow


def grow_features(known: Twelve) -> None:
    """Let a layer have one more feature whenever a page of it is asked for."""
    layer = known.wildfires

    def more(what: str, asked: dict) -> None:
        if what == "page":
            last = layer.features[-1]
            added = last["properties"] | {"OBJECTID": last["properties"]["OBJECTID"] + 1}
            layer.features = [*layer.features, last | {"properties": added}]

    layer.before = more


def grow_events(known: Twelve) -> None:
    """Let a window have one more event whenever it is asked for."""
    service = known.earthquakes

    def more(what: str, asked: dict) -> None:
        if what == "query":
            when = datetime.fromisoformat(asked["starttime"]).replace(tzinfo=UTC)
            added = fdsn.event(f"late{len(service.asked)}", when, -100, 40)
            service.events = [*service.events, added]

    service.before = more


def pages_of(rows: int, **does: object) -> dict[str, Callable[[Twelve], None]]:
    """OpenFEMA and Socrata with so many rows a page, fewer than asked for, doing something."""
    made = {"real_cap": rows} | does
    return {
        "openfema": lambda known: vars(known.declarations).update(made),
        "socrata": lambda known: vars(known.places).update(made),
    }


def third(name: str, member: str) -> Callable[[Twelve], None]:
    """Let a data set have a third of what it had, in its counts too."""

    def cut(known: Twelve) -> None:
        data = getattr(known, name)
        whole = getattr(data, member)
        setattr(data, member, whole[-len(whole) // 3 :])

    return cut


FILE = "one answer is all there is: nothing is cut into pages or read for long"
NOT_PAGED = no_sense(FILES, FILE)
MANY = (  # a protocol each; what does not help is not asked for again
    Case("500", "answered 500", simple(faults.status(500)), "all"),
    Case("404", "answered 404", simple(faults.status(404)), "all"),
    Case("403 with our keys", "answered 403", lambda: echo, "all"),
    Case("silence", "without response|[Cc]losed|aborted", simple(silent), "all"),
    Case("cut", "cut after|bytes came of", simple(faults.cut(0.4))),
    Case(
        "cut without a length",
        "no end|has no end|are usual|came where",
        simple(faults.cut(0.4, announced=False)),
    ),
    Case(
        "cut at a line",
        "are usual|no row|came where",
        simple(faults.cut_at_a_line(0.3)),
        but=no_sense(("arcgis", "fdsn", "nws"), "a document of one line")
        | no_sense(("gzip-listing",), "what is packed has no lines on its way"),
    ),
    Case("chunked without end", "cut after", simple(faults.chunked(ends=False))),
    Case("length too small", "no end|are usual|no row|came where", simple(resized(0.3))),
    Case("length too large", "cut after|bytes came of", simple(resized(1.5))),
    Case("two lengths", "Content-Length", simple(faults.doubled_length(-7))),
    Case("web page", "a web page came", simple(faults.html())),
    Case(
        "error in 200",
        "an error came with status 200|JSON came instead|no gzip came|no FeatureCollection came",
        lambda: error_of(b'{"error": {"code": 400, "message": "Unable to complete operation."}}'),
        instead={
            "socrata": error_of(b'{"code": "query.execution", "error": true, "message": "no"}'),
            "nws": error_of(b'{"type": "about:blank", "title": "Bad Request", "status": 400}'),
        },
    ),
    Case("empty answer", "the answer is empty", simple(faults.changed(lambda body: b""))),
    Case(
        "no rows",
        "no row in it|came where",
        simple(fewer_rows(0)),
        but={"nws": (TAKEN, "no alert is an answer")},
    ),
    Case(
        "a third of the rows",
        "are usual|no row in it",
        does={
            "openfema": third("declarations", "rows"),
            "arcgis": third("wildfires", "features"),
            "socrata": third("places", "rows"),
            "fdsn": third("earthquakes", "events"),
            "nws": third("alerts", "alerts"),
        },
        instead=dict.fromkeys(FILES, always(fewer_rows(1 / 3))),
        but=dict.fromkeys(("arcgis", "nws"), (TAKEN, "declared to shrink")),
    ),
    Case(
        "rows again",
        "came where|came twice",
        does=pages_of(5, repeats=1),
        instead=dict.fromkeys(("arcgis", "fdsn", "nws"), features(lambda all: [*all, all[0]])),
        but=NOT_PAGED,
    ),
    Case(
        "rows left out",
        "came where",
        does=pages_of(5, skips=1),
        instead=dict.fromkeys(("arcgis", "fdsn"), features(lambda all: all[1:])),
        but=NOT_PAGED | no_sense(("nws",), "nothing counts the alerts"),
    ),
    Case(
        "growing while read",
        "changed while reading|came where|answered 404",
        does={
            "openfema": grow_rows("declarations"),
            "socrata": grow_rows("places"),
            "arcgis": grow_features,
            "fdsn": grow_events,
        },
        but=no_sense(("plain", "bulk", "nws"), FILE),
        instead={
            "gzip-listing": always(faults.status(404)),
            "csv-listing": always(faults.status(404)),
        },
    ),
    Case(
        "a smaller page than told",
        "",
        does=pages_of(5) | {"arcgis": lambda known: vars(known.wildfires).update(real_cap=2)},
        ends=RECOVERED,
        but=NOT_PAGED | no_sense(("fdsn", "nws"), "the service is not asked for pages"),
    ),
    Case(
        "pages without end",
        "came where|which was read already|came cut",
        does={
            "openfema": lambda known: vars(known.declarations).update(
                real_cap=5, ignores_skip=True
            ),
            "socrata": lambda known: vars(known.places).update(real_cap=5, repeats=10**6),
            "nws": lambda known: vars(known.alerts).update(
                next_is="https://api.weather.gov/alerts/active"
            ),
        },
        instead={"arcgis": always(faults.changed(and_more))},
        but=NOT_PAGED | no_sense(("fdsn",), "a window is one answer"),
    ),
    Case("a login page", "a web page came", simple(faults.redirect(f"https://{LOGIN}/"))),
    Case("moved", "", lambda: to(f"https://{MOVED}"), ends=RECOVERED),
    Case("moved to http", "is not followed", lambda: to("http://127.0.0.1"), "all"),
    Case("gzip bomb", "expands without end", simple(BOMB)),
    Case(
        "nonsense about the data",
        "not the answer|no object id|not a count|nothing listed|none of that name",
        lambda: error_of(b"{}"),
        "rest",
        but=no_sense(("plain", "bulk", "nws"), "nothing is asked before the data"),
    ),
)

ONCE_MORE = (  # it helps to ask again
    Case("500 twice", "", lambda: first(2, faults.status(500)), "all", ends=RECOVERED),
    Case(
        "429, wait 1 s",
        "",
        lambda: first(1, faults.status(429, retry_after="1")),
        "all",
        ends=RECOVERED,
    ),
    Case("cut once", "", lambda: first(1, faults.cut(0.4)), ends=RECOVERED),
    Case("silent once", "", lambda: first(1, silent), "all", ends=RECOVERED),
    Case("late", "", lambda: first(2, faults.slow(1)), "all", ends=RECOVERED),
)
LONG = (  # what never comes to an end
    Case("hang", "took longer than|stopped after", simple(faults.slow(20)), "all"),
    Case("drip", "took longer than|stopped after", simple(faults.drip(0.5)), "all"),
)
WHOLE_HOSTS = (
    Case("refused", "[Rr]efused", route="nobody"),
    Case("self-signed", "certificate was refused", route="tls"),
    Case(
        "503, wait an hour",
        "answered 503|asked to be left alone",
        simple(faults.status(503, retry_after="3600")),
        "all",
    ),
    Case(
        "429, wait until",
        "answered 429|asked to be left alone",
        simple(faults.status(429, retry_after=3600.0)),
        "all",
    ),
)


@dataclass(frozen=True)
class Square:
    """Cases by units; `rests` is how many further nights each unit is honest in."""

    units: dict[str, Unit]
    cases: tuple[Case, ...]
    rests: int = 0
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def nights(self) -> int:
        return len(self.cases) + self.rests

    def night(self, number: int) -> dict[str, tuple[Case, tuple[str, ...]]]:
        """Which unit has which case in a night, and with which sources."""
        found = {}
        for place, (name, unit) in enumerate(self.units.items()):
            turn = (place + number) % self.nights
            case = self.cases[turn] if turn < len(self.cases) else None
            if case and case.outcome(name):
                one = unit.sources[number % len(unit.sources)]
                found[name] = case, unit.sources if unit.at_once else (one,)
        return found

    def has_taken(self, number: int) -> bool:
        """Whether an answer of a night is right, though it is a fault elsewhere."""
        return TAKEN in {case.outcome(unit) for unit, (case, _) in self.night(number).items()}

    def round(self, number: int) -> list[int]:
        """The nights between two without troubles that a night is one of: two, as a rule."""
        ends = [k for k in range(self.nights) if k % 2 or self.has_taken(k)]
        end = min((k for k in ends if k >= number), default=self.nights - 1)
        begin = max((k + 1 for k in ends if k < number), default=0)
        return list(range(begin, end + 1))


SQUARES = {
    "many": Square(PROTOCOLS, MANY, settings={"FETCH_PATIENCE": "0"}),
    "once more": Square(PROTOCOLS, ONCE_MORE, settings={"FETCH_PATIENCE": "9"}),
    "long": Square(PROTOCOLS, LONG, settings={"SOURCE_TIMEOUT": str(TINY)}),
    "hosts": Square(hosts(), WHOLE_HOSTS, rests=2, settings={"FETCH_PATIENCE": "1"}),
}
NIGHTS = [(square, k) for square, what in SQUARES.items() for k in range(what.nights)]
ENDS = [(square, k) for square, k in NIGHTS if SQUARES[square].round(k)[-1] == k]
PAIRS = [
    pytest.param(square, k, unit, id=f"{case.name}-{unit}")
    for square, k in NIGHTS
    for unit, (case, _) in SQUARES[square].night(k).items()
]


@dataclass
class Seen:
    """What can be seen of a night after it ended."""

    began: str
    code: int
    said: str  # all output
    log: str
    facts: dict[str, dict]  # of stage api, by source
    raw: dict[str, dict[str, str]]  # hash by file, by source
    damaged: str  # what sha256sum says against the snapshots
    rows: dict[str, str]  # of the tables, a hash each
    generation: int
    asked: dict[str, int]
    sent: dict[str, int]


class Nights:
    """The clone's nights, each run when it is first asked for."""

    def __init__(self, clone: Clone, publishers: Troubled, routes: dict[str, str]):
        self.clone, self.publishers, self.routes = clone, publishers, routes
        self.data = clone.folder / "data"
        self.seen: list[Seen] = []
        self.run()

    def troubled(self, square: str, number: int) -> tuple[Seen, Seen, Seen]:
        """The last night without troubles, one with them, and the next without."""
        before, during, after = self._round(square, tuple(SQUARES[square].round(number)))
        return before, during[number], after

    @cache  # noqa: B019 - it lives as long as the module's tests
    def _round(self, square: str, numbers: tuple[int, ...]) -> tuple[Seen, dict[int, Seen], Seen]:
        what, before = SQUARES[square], self.seen[-1]
        during = {}
        for number in numbers:
            self.publishers.refresh()
            for name, (case, sources) in what.night(number).items():
                self._switch_on(case, name, what.units[name], sources)
            # What is taken need not reach the marts: the next night takes it back.
            words = ("api",) if what.has_taken(number) else ()
            during[number] = self.run(*words, **what.settings)
            self.calm()
        return before, during, self.run()

    def calm(self) -> None:
        """End all troubles, the hour of quiet included that a host asked for."""
        self.publishers.calm()
        for noted in (self.data / "state" / "hosts").glob("*.json"):
            noted.unlink()

    def _switch_on(self, case: Case, name: str, unit: Unit, sources: tuple[str, ...]) -> None:
        if case.route in self.routes:
            self.publishers.routes[name] = self.routes[case.route]
        if name in case.does:
            case.does[name](self.publishers.known)
        make = case.instead.get(name) or case.make()
        for source in sources:
            self.publishers.troubles[source] = at(case.at, unit.data, make)

    def run(self, *words: str, **variables: str) -> Seen:
        """A night, or a part of it."""
        self.publishers.listen()
        began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        given = {"MIRRORS": self.publishers.mirrors, "FETCH_PATIENCE": "0"} | SECRETS | variables
        done = self.clone.run(*words, **given)
        log = done.stdout.rpartition("log: ")[2].strip()
        with psycopg.connect(self._url(), autocommit=True) as connection:
            rows = {source: rows_of(connection, source) for source in PLACES.values()}
            generation = connection.execute(
                "select max((facts->>'generation')::int) from pipeline.steps"
            ).fetchone()[0]
        seen = Seen(
            began,
            done.returncode,
            done.stdout + done.stderr,
            Path(log).read_text(),
            {source: self._facts(source) for source in PLACES.values()},
            {source: hashes(self.data / "raw" / source) for source in PLACES.values()},
            self._damaged(),
            rows,
            generation,
            dict(self.publishers.asked),
            dict(self.publishers.sent),
        )
        self.seen.append(seen)
        return seen

    @cache  # noqa: B019
    def _url(self) -> str:
        return self.clone.run("db", "url").stdout.strip()

    def _damaged(self) -> str:
        check = 'for s in */; do (cd "$s" && sha256sum -c --quiet SHA256SUMS) || echo "$s"; done'
        words = {"cwd": self.data / "raw", "stderr": subprocess.STDOUT, "text": True}
        return subprocess.check_output(["sh", "-c", check], **words)

    def _facts(self, source: str) -> dict:
        return json.loads((self.data / "state" / f"{source}.json").read_bytes())["api"]


def at(which: str, data: str, trouble: Trouble) -> Trouble:
    """A trouble in some answers of a source alone."""

    def chosen(request: Request, answer: Answer) -> Answer:
        kind = "data" if re.search(data, request.path) else "rest"
        return trouble(request, answer) if which in ("all", kind) else answer

    return chosen


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def rows_of(connection: psycopg.Connection, source: str) -> str:
    """One hash of all rows of a table in schema source."""
    statement = f"select md5(string_agg(r::text, '' order by r::text)) from source.{source} r"
    return connection.execute(statement).fetchone()[0]


@pytest.fixture(scope="module")
def nights(clone: Clone, open_folder: Path) -> Iterator[Nights]:
    """A clone after one honest night, before twelve publishers that can be troubled."""
    with ExitStack() as stack:
        publishers = Troubled(stack.enter_context(twelve()))
        routes = {"nobody": stack.enter_context(nobody())}
        if shutil.which("openssl"):
            routes["tls"] = stack.enter_context(serving(faults.self_signed(open_folder))).url
        yield Nights(clone, publishers, routes)


def test_the_first_night_takes_all_twelve_to_marts(nights):
    seen = nights.seen[0]
    assert seen.code == 0, seen.said
    assert {facts["outcome"] for facts in seen.facts.values()} == {"new"}
    assert all(seen.rows.values())


@pytest.mark.parametrize(("square", "number", "unit"), PAIRS)
def test_every_fault_on_every_protocol(nights, square, number, unit):
    before, during, after = nights.troubled(square, number)
    case, sources = SQUARES[square].night(number)[unit]
    if case.route and case.route not in nights.routes:
        pytest.skip("openssl is not installed")
    expected = {case.outcome(unit)}
    expected |= {"failed"} if square == "long" else set()  # the runner may be first to stop it
    for source in sources:
        facts = during.facts[source]
        assert facts["outcome"] in expected, during.said
        assert after.rows[source] == before.rows[source]
        (line,) = re.findall(rf"^  api {source}: .*$", during.said, re.MULTILINE)
        assert line.startswith(f"  api {source}: {facts['outcome']}")
        if case.outcome(unit) == TAKEN:
            assert during.raw[source] != before.raw[source]
            continue
        assert during.raw[source] == before.raw[source]
        assert during.rows[source] == before.rows[source]
        if case.outcome(unit) == RECOVERED:
            assert facts["checked_at"] >= during.began
            continue
        assert re.search(case.cause, facts["reason"]), facts["reason"]
        assert re.search(case.cause, line)
        assert facts["remedy"], facts["reason"]
        assert facts["remedy"] in line
        assert re.search(rf"^- .*{source}.*: (kept|failed)", during.said, re.MULTILINE)


@pytest.mark.parametrize(("square", "number"), NIGHTS)
def test_a_night_with_faults(nights, square, number):
    _, during, _ = nights.troubled(square, number)
    troubled = SQUARES[square].night(number)
    outcomes = {case.outcome(unit) for unit, (case, _) in troubled.items()}
    assert during.code == (2 if KEPT in outcomes else 0), during.said
    honest = set(PLACES.values()) - {s for _, sources in troubled.values() for s in sources}
    assert len(honest) >= 2
    for source in honest:
        facts = during.facts[source]
        assert facts["outcome"] in ("new", "unchanged"), facts
        assert facts["checked_at"] >= during.began
    assert not during.damaged
    assert "Traceback" not in during.said + during.log


@pytest.mark.parametrize(("square", "number"), ENDS)
def test_the_next_night_without_them(nights, square, number):
    before, during, after = nights.troubled(square, number)
    assert after.code == 0, after.said
    assert after.rows == before.rows
    assert after.generation == before.generation
    assert "transform all models: unchanged" in after.said
    assert "dbt" not in after.log
    assert "Traceback" not in after.said + after.log
    assert not after.damaged
    for source, hashes in before.raw.items():
        if during.facts[source]["outcome"] == TAKEN:  # it is back, in a manifest of its own
            continue
        assert after.facts[source]["outcome"] == "unchanged"
        assert after.raw[source] == hashes
        assert after.asked[source] <= FEW.get(source, 1), source
        if source not in ALWAYS_SENT:
            assert after.sent[source] < 3000, source  # listings, versions, counts


def test_the_next_night_sends_a_twentieth_of_the_first(nights):
    _, _, after = nights.troubled("many", 0)
    assert sum(after.sent.values()) < sum(nights.seen[0].sent.values()) / 20
    assert sum(after.asked.values()) <= 25


def test_data_that_changed_behind_a_fault_arrive_the_night_after(nights):
    """One source changes honestly, another while it cannot be read; nothing else moves."""
    publishers, before = nights.publishers, nights.seen[-1]
    publishers.edit("unemployment.tsv", lambda body: body.replace(b"1001\t.097", b"1001\t.098"))
    places = publishers.known.places
    value = places.header.index("data_value") + 1
    places.rows = [[*r[:value], "99.5", *r[value + 1 :]] for r in places.rows]
    places.updated += 1_000_000
    publishers.troubles["cdc_places"] = always(faults.status(503))
    during = nights.run()
    assert during.code == 2, during.said
    assert during.facts["cdc_places"]["outcome"] == "kept"
    assert changed(before, during) == {"bls_unemployment"}
    assert during.generation == before.generation + 1
    del publishers.troubles["cdc_places"]
    after = nights.run()
    assert after.code == 0, after.said
    assert changed(during, after) == {"cdc_places"}
    assert after.generation == during.generation + 1


def changed(one: Seen, other: Seen) -> set[str]:
    """The sources whose tables differ."""
    return {source for source in one.rows if one.rows[source] != other.rows[source]}


def test_only_a_year_of_storms_that_was_made_anew_is_fetched_again(nights):
    publishers = nights.publishers
    old = "StormEvents_details-ftp_v1.0_d2024_c20260323.csv.gz"
    new = "StormEvents_details-ftp_v1.0_d2024_c20260424.csv.gz"
    made = gzip.compress(gzip.decompress(publishers.file(old)).replace(b"Hail", b"Wind"))
    publishers.known.answer("www.ncei.noaa.gov", STORMS + new, Answer(made))
    publishers.edit(STORMS, lambda page: page.replace(old.encode(), new.encode()))
    seen = nights.run("api", "noaa_storm_events")
    assert seen.code == 0, seen.said
    assert seen.facts["noaa_storm_events"]["outcome"] == "new"
    assert seen.asked["noaa_storm_events"] == 3, "the listing, and two years for their ETag"
    assert seen.sent["noaa_storm_events"] == len(publishers.file(STORMS))
    requests = publishers.known.publisher.requests
    assert sum(request.path.endswith(new) for request in requests) == 1


def test_no_key_is_told_or_written_and_none_goes_to_another_host(nights):
    keys = list(SECRETS.values())
    said = "".join(seen.said + seen.log for seen in nights.seen)
    assert not any(key in said for key in keys)
    for part in ("logs", "state", "raw", "preprocessed"):
        for path in filter(Path.is_file, (nights.data / part).rglob("*")):
            assert not any(key.encode() in path.read_bytes() for key in keys), path
    asked = nights.publishers.known.publisher.requests
    holders = {request.path.split("/")[1] for request in asked if keys[0] in str(request.headers)}
    assert holders <= {"data.cdc.gov"}
    assert not any(key in request.path for request in asked for key in keys)
