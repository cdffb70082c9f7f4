"""Whole nights with the twelve publishers, troubled in turn.

In night k of a square, unit i (a protocol, or a host with all sources on it) has trouble
(i + k) mod n: after n nights every unit had every trouble, and each night had many at once, with
at least two sources honest. Then the same night comes again without any trouble.

A few of these nights run every time, all of them with `--long`: what becomes of each fault is
decided in stage api, and `test_faults_fetch.py` goes through every one of them there.
"""

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cases
import psycopg
import pytest
from cases import ALWAYS_SENT, FEW, KEPT, PROTOCOLS, RECOVERED, TAKEN, Case, Unit, at
from clone import Clone
from publisher import Answer, serving
from test_faults_fetch import hashes
from troubled import PLACES, Troubled, always
from twelve import STORMS, twelve
from upstream import faults

from pipeline.drill.proxy import nobody

SECRETS = {"SOCRATA_APP_TOKEN": "marker-of-socrata", "CENSUS_API_KEY": "marker-of-census"}
TINY = 8  # seconds: SOURCE_TIMEOUT of a night in which publishers hang


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
    "many": Square(PROTOCOLS, cases.MANY, settings={"FETCH_PATIENCE": "0"}),
    "once more": Square(PROTOCOLS, cases.ONCE_MORE, settings={"FETCH_PATIENCE": "9"}),
    "long": Square(PROTOCOLS, cases.LONG, settings={"SOURCE_TIMEOUT": str(TINY)}),
    "hosts": Square(cases.hosts(), cases.WHOLE_HOSTS, rests=2, settings={"FETCH_PATIENCE": "1"}),
}
# The rounds of the short form: the one of many faults, and the one in which publishers hang.
SHORT = {("many", 0), ("many", 1), ("long", 0), ("long", 1)}


def mark(square: str, number: int) -> tuple:
    """The marks of a night's tests."""
    return () if (square, number) in SHORT else (pytest.mark.long,)


NIGHTS = [(square, k) for square, what in SQUARES.items() for k in range(what.nights)]
EACH = [pytest.param(square, k, marks=mark(square, k)) for square, k in NIGHTS]
ENDS = [
    pytest.param(square, k, marks=mark(square, k))
    for square, k in NIGHTS
    if SQUARES[square].round(k)[-1] == k
]
PAIRS = [
    pytest.param(square, k, unit, id=f"{case.name}-{unit}", marks=mark(square, k))
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

    def until(self, square: str, number: int) -> list[Seen]:
        """The nights of a round up to one of them."""
        during = self._round(square, tuple(SQUARES[square].round(number)))[1]
        return [seen for k, seen in during.items() if k <= number]

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
            case.does[name](self.publishers.world)
        make = case.instead.get(name) or case.make()
        for source in sources:
            self.publishers.troubles[source] = at(case.at, unit.data, make)

    def run(self, *words: str, **variables: str) -> Seen:
        """A night, or a part of it."""
        self.publishers.listen()
        began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        given = {"MIRRORS": self.publishers.mirrors, "FETCH_PATIENCE": "0"} | SECRETS | variables
        done = self.clone.run(*words, **given)
        log = done.stdout.rpartition("log: ")[2].partition("\n")[0]
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
def test_a_fault_in_a_whole_night(nights, square, number, unit):
    before, during, after = nights.troubled(square, number)
    case, sources = SQUARES[square].night(number)[unit]
    if case.route and case.route not in nights.routes:
        pytest.skip("openssl is not installed")
    expected = {case.outcome(unit)}
    if case.is_of_rows and case.outcome(unit) == KEPT:
        expected.add(TAKEN)  # by stage api; stage preprocess rejects it then
    expected |= {"failed"} if square == "long" else set()  # the runner may be first to stop it
    for source in sources:
        facts = during.facts[source]
        assert facts["outcome"] in expected, during.said
        assert after.rows[source] == before.rows[source]
        (line,) = re.findall(rf"^\S+   (api {source}: .*)$", during.log, re.MULTILINE)
        assert line.startswith(f"api {source}: {facts['outcome']}")
        if facts["outcome"] == TAKEN:
            assert during.raw[source] != before.raw[source]
        if case.outcome(unit) == TAKEN:
            continue
        assert during.rows[source] == before.rows[source]
        if facts["outcome"] == TAKEN:
            is_whole = not SQUARES[square].has_taken(number)
            assert not is_whole or said_by_preprocess(case, source, during)
            continue
        earlier = [seen.raw[source] for seen in (before, *nights.until(square, number)[:-1])]
        assert during.raw[source] == earlier[-1]
        if case.outcome(unit) == RECOVERED:
            assert facts["checked_at"] >= during.began
            continue
        assert re.search(case.cause, facts["reason"]), facts["reason"]
        assert re.search(case.cause, line)
        assert facts["remedy"], facts["reason"]
        assert facts["remedy"] in line
        assert re.search(rf"^- .*{source}.*: (kept|failed)", during.said, re.MULTILINE)


def said_by_preprocess(case: Case, source: str, seen: Seen) -> bool:
    """Whether a night says why stage preprocess rejected what stage api took, and what to do."""
    (line,) = re.findall(rf"^\S+   preprocess {source}: failed.*$", seen.log, re.MULTILINE)
    return bool(re.search(case.cause, line) and re.search(rf"^- .*{source}", seen.said, re.M))


@pytest.mark.parametrize(("square", "number"), EACH)
def test_a_night_with_faults(nights, square, number):
    _, during, _ = nights.troubled(square, number)
    troubled = SQUARES[square].night(number)
    bad = [
        during.facts[source]["outcome"]
        for unit, (case, sources) in troubled.items()
        for source in sources
        if case.outcome(unit) == KEPT
    ]
    is_whole = not SQUARES[square].has_taken(number)  # with the stages that reject what api took
    is_degraded = bool(bad) if is_whole else bool(set(bad) - {TAKEN})
    assert during.code == (2 if is_degraded else 0), during.said
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
    before, _, after = nights.troubled(square, number)
    assert after.code == 0, after.said
    assert after.rows == before.rows
    assert after.generation == before.generation
    assert "transform all models: unchanged" in after.said
    assert "dbt" not in after.log
    assert "Traceback" not in after.said + after.log
    assert not after.damaged
    for source, files in before.raw.items():
        came = {seen.facts[source]["outcome"] for seen in nights.until(square, number)}
        if TAKEN in came:  # it is back, in a manifest of its own
            assert after.facts[source]["outcome"] in (TAKEN, RECOVERED)
            continue
        assert after.facts[source]["outcome"] == "unchanged"
        assert after.raw[source] == files
        assert after.asked[source] <= FEW.get(source, 1), source
        if source not in ALWAYS_SENT:
            assert after.sent[source] < 3000, source  # listings, versions, counts


def test_the_next_night_sends_a_twentieth_of_the_first(nights):
    _, _, after = nights.troubled("long", 0)  # nothing was rejected before it
    assert sum(after.sent.values()) < sum(nights.seen[0].sent.values()) / 20
    # Two of them ask what became of earthquakes of older months: `updatedafter`, `includedeleted`.
    assert sum(after.asked.values()) <= 25 + 2


def test_data_that_changed_behind_a_fault_arrive_the_night_after(nights):
    """One source changes honestly, another while it cannot be read; nothing else moves."""
    publishers, before = nights.publishers, nights.seen[-1]
    publishers.edit("unemployment.tsv", lambda body: body.replace(b"1001\t.097", b"1001\t.098"))
    places = publishers.world.places
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
    publishers.world.answer("www.ncei.noaa.gov", STORMS + new, Answer(made))
    publishers.edit(STORMS, lambda page: page.replace(old.encode(), new.encode()))
    seen = nights.run("api", "noaa_storm_events")
    assert seen.code == 0, seen.said
    assert seen.facts["noaa_storm_events"]["outcome"] == "new"
    assert seen.asked["noaa_storm_events"] == 3, "the listing, and two years for their ETag"
    assert seen.sent["noaa_storm_events"] == len(publishers.file(STORMS))
    requests = publishers.world.publisher.requests
    assert sum(request.path.endswith(new) for request in requests) == 1


def test_no_key_is_told_or_written_and_none_goes_to_another_host(nights):
    keys = list(SECRETS.values())
    said = "".join(seen.said + seen.log for seen in nights.seen)
    assert not any(key in said for key in keys)
    for part in ("logs", "state", "raw", "preprocessed"):
        for path in filter(Path.is_file, (nights.data / part).rglob("*")):
            assert not any(key.encode() in path.read_bytes() for key in keys), path
    asked = nights.publishers.world.publisher.requests
    holders = {request.path.split("/")[1] for request in asked if keys[0] in str(request.headers)}
    assert holders <= {"data.cdc.gov"}
    assert not any(key in request.path for request in asked for key in keys)
