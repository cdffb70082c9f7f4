"""An older snapshot, or the bundled capture, does not replace rows of a newer one."""

import hashlib
import json
import random
import runpy
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import psycopg
import pytest
from msgspec.structs import replace as changed
from test_data_status import loaded as loaded_facts
from test_data_status import stages, told
from test_fetch import HOST, night, serve
from test_ledger_versions import value

from pipeline import database, settings, state
from pipeline.__main__ import _parser, _refuse_misplaced
from pipeline.cli import night as nights
from pipeline.cli import report
from pipeline.database import ledger, ledger_versions
from pipeline.marts import freshness
from pipeline.raw import order
from pipeline.raw.order import Version
from pipeline.raw.source import Source
from pipeline.schema import declaration
from pipeline.settings import Settings
from pipeline.stages import api, load, preprocess

DAYS = [f"2026-03-0{day}T04:20:00Z" for day in range(1, 8)]


def made(content, replaces=None, fetched=None, **more) -> Version:
    """A version of a live snapshot."""
    members = {"origin": "live", "fetched_at": fetched and DAYS[fetched]} | more
    return Version(content, replaces, **members)


A, B, C = made("a", None, 1), made("b", "a", 2), made("c", "b", 3)
CAPTURE = made("capture", origin="bundled")


@pytest.mark.parametrize(
    ("ours", "loads", "is_refused"),
    [
        pytest.param(A, [], False, id="nothing is loaded"),
        pytest.param(CAPTURE, [], False, id="bundled, and nothing is loaded"),
        pytest.param(A, [A], False, id="the same"),
        pytest.param(made("a", "x", 0), [A], False, id="the same content, fetched earlier"),
        pytest.param(A, [Version()], False, id="a load of which nothing is known"),
        pytest.param(Version(), [A], False, id="a file of which nothing is known"),
        pytest.param(CAPTURE, [A], True, id="bundled over live"),
        pytest.param(CAPTURE, [B, CAPTURE], True, id="bundled over what replaced it"),
        pytest.param(A, [CAPTURE], False, id="live over bundled"),
        pytest.param(made("capture2", origin="bundled"), [CAPTURE], False, id="another capture"),
        pytest.param(B, [A], False, id="the next"),
        pytest.param(made("b", "a", 0), [A], False, id="the next, by a clock that went back"),
        pytest.param(A, [B], True, id="the one before"),
        pytest.param(made("a", None, 6), [B], True, id="the one before, by a clock ahead"),
        pytest.param(A, [C, B, A], True, id="one long before"),
        pytest.param(A, [made("c", "x", 3), B], True, id="one that a load before replaced"),
        pytest.param(made("a", None, 1, is_confirmed=True), [B], True, id="a mirror that lags"),
        pytest.param(C, [A], False, id="two later"),
        pytest.param(made("x", "a", 3), [B, A], False, id="another one's next, later"),
        pytest.param(made("x", "a", 1), [B, A], True, id="another one's next, earlier"),
        pytest.param(made("x", None, 3), [B], False, id="no predecessor, later"),
        pytest.param(made("x", None, 1), [B], True, id="no predecessor, earlier"),
        pytest.param(made("x", None, 1, checked_at=DAYS[5]), [B], False, id="still so later"),
        pytest.param(
            made("x", None, 3), [changed(B, checked_at=DAYS[5])], True, id="theirs still so later"
        ),
        pytest.param(
            made("x", None, 1, is_confirmed=True), [B], False, id="from the publisher now"
        ),
        pytest.param(made("x"), [B], False, id="no time known"),
        pytest.param(B, [changed(A, is_overruled=True), B], False, id="back from an overruled one"),
        pytest.param(A, [changed(A, is_overruled=True), B], False, id="the overruled one again"),
        pytest.param(C, [changed(B, is_overruled=True), made("d"), C], False, id="after overruled"),
        pytest.param(A, [changed(CAPTURE, is_overruled=True), B, A], True, id="one before both"),
        pytest.param(
            C, [changed(A, is_overruled=True), B], False, id="newer than an overruled one"
        ),
        pytest.param(made("a", "b", 3), [B, A], False, id="the publisher went back"),
        pytest.param(made("a", "b", 1), [made("b", "a", 5), A], True, id="back and forth, earlier"),
        pytest.param(
            made("a", "b", 1, is_confirmed=True),
            [made("b", "a", 5), A],
            False,
            id="back and forth, from the publisher now",
        ),
    ],
)
def test_which_snapshot_may_replace_which(ours, loads, is_refused):
    reason = order.refusal(ours, loads)
    assert bool(reason) == is_refused, reason
    if reason:
        assert "older than the rows that are loaded, fetched 2026-03-0" in reason


class Machine:
    """A machine with its own disk and clock, on the database of all."""

    def __init__(self, loads: list[Version], clock: timedelta):
        self.loads, self.clock, self.disk = loads, clock, None

    def night(self, at: int, content: str | None, reaches_database: bool) -> bool:
        """One night; without a content it is offline. Returns whether it was loaded."""
        now = (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=at) + self.clock).isoformat()
        if content and (self.disk is None or self.disk.content != content):
            line = [self.disk.content, *self.disk.line] if self.disk else []
            before = self.disk.content if self.disk else None
            self.disk = made(content, before, line=line[: order.LONGEST_LINE], fetched_at=now)
        if content:
            self.disk = changed(self.disk, checked_at=now)
        ours = changed(self.disk or CAPTURE, is_confirmed=bool(content))
        if not reaches_database:
            return False
        if self.loads and self.loads[0].content == ours.content:
            newest = max(self.loads[0].checked_at or "", ours.checked_at or "")
            self.loads[0] = changed(self.loads[0], checked_at=newest or None)
        elif order.refusal(ours, self.loads):
            return False
        else:
            self.loads.insert(0, ours)
        return True


@pytest.mark.parametrize("are_clocks_right", [True, False])
def test_machines_in_any_order_never_load_older_rows(are_clocks_right, is_long):
    """Clocks decide only about what was never in the database."""
    for seed in range(5000 if is_long else 300):
        chance = random.Random(seed)
        loads: list[Version] = []
        off = 0 if are_clocks_right else 400
        machines = [Machine(loads, timedelta(chance.uniform(-off, off))) for _ in range(3)]
        content, before = 0, "capture"
        for at in range(30):
            content += chance.random() < 0.5
            is_online, reaches = chance.random() < 0.6, chance.random() < 0.8
            there = {load.content for load in loads}
            was_let_in = chance.choice(machines).night(
                at, f"{content:03}" if is_online else None, reaches
            )
            now = loads[0].content if loads else "capture"
            if is_online and reaches and are_clocks_right:
                assert was_let_in and now == f"{content:03}", seed
            if are_clocks_right or now in there:
                assert before == "capture" or (now != "capture" and now >= before), seed
            before = now


def test_one_machine_alone_is_never_refused(is_long):
    """Whatever its clock does, and wherever its publisher goes back to."""
    for seed in range(5000 if is_long else 300):
        chance = random.Random(seed)
        loads: list[Version] = []
        machine = Machine(loads, timedelta())
        for at in range(30):
            machine.clock = timedelta(chance.choice([0, 0, 0, -1, 365, -700]))
            content = chance.choice("abc")
            reaches = chance.random() < 0.8
            assert machine.night(at, content, reaches) or not reaches, seed
            if reaches:
                assert loads[0].content == content, seed


# What the manifest names


@pytest.fixture
def published(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()

    def give_out(number, rows=4):
        serve(publisher, b"a,b\n" + b"%d,2\n" % number * rows)
        return night()

    return give_out


def manifest(here) -> dict:
    return json.loads((here.raw / "alpha" / "datapackage.json").read_bytes())


def test_a_manifest_names_what_its_snapshot_replaced(here, published):
    first = published(1)
    assert "replaces" not in manifest(here)
    second = published(2)
    assert (manifest(here)["replaces"], second["replaces"]) == (first["content"],) * 2
    assert published(2)["outcome"] == "unchanged"
    assert manifest(here)["replaces"] == first["content"]
    published(1)
    assert manifest(here)["replaces"] == second["content"]


@pytest.mark.parametrize("lost", ["a byte", "the snapshot"])
def test_it_does_so_where_the_snapshot_was_lost(here, published, lost):
    first, second = published(1), published(2)
    if lost == "a byte":
        (here.raw / "alpha" / "file.csv").write_bytes(b"a,b\n")
    else:
        shutil.rmtree(here.raw / "alpha")
    assert published(2)["outcome"] == "new"  # the same content replaces what that one replaced
    assert manifest(here)["replaces"] == first["content"]
    shutil.rmtree(here.raw / "alpha")
    published(3)
    assert manifest(here)["replaces"] == second["content"]


def test_it_does_so_where_what_came_between_was_rejected(here, published):
    first = published(1, rows=100)
    second = published(2, rows=2)
    state.replace(here, "alpha", rejected={"content": second["content"], "overrule": {}})
    assert manifest(here)["replaces"] == first["content"]
    published(3, rows=100)
    assert manifest(here)["replaces"] == second["content"]


# Two machines and one database


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        database.prepare(connection)
        yield connection


@pytest.fixture
def machines(here, tmp_path, database_url, owner, monkeypatch):
    """Settings of two machines that share a database, with a source of one column."""
    declared = tmp_path / "alpha.sql"
    declared.write_text('create table if not exists source.alpha ("a" text);')
    monkeypatch.setattr(declaration, "path", lambda source: declared)
    monkeypatch.delenv("PIPELINE_RUN", raising=False)
    found = [replace(here, data_dir=tmp_path / name, database_url=database_url) for name in "AB"]
    for machine in found:
        machine.preprocessed.mkdir(parents=True)
        machine.state.mkdir()
    return found


def has(machine: Settings, snapshot: Version, run="another", outcome="new") -> None:
    """Let stages api and preprocess of a machine have come to a snapshot."""
    output = preprocess.output_of(machine, "alpha")
    output.write_text(f"a\n{snapshot.content}\n")
    members = msgspec.to_builtins(snapshot)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    legible = {"sha256": digest, "rows": 1, "columns": ["a"], "bytes": 4}
    fetched = {"outcome": outcome, "run": run, "started_at": DAYS[0]} | members
    state.update(machine, "alpha", "api", **fetched)
    preprocessed = legible | {"outcome": "new", "input": snapshot.content, "run": run}
    state.update(machine, "alpha", "preprocess", snapshot=members, **preprocessed)


def rows(owner) -> list[str]:
    return [content for (content,) in owner.execute("select a from source.alpha")]


def test_the_machine_that_has_yesterdays_file_does_not_load_it(machines, owner):
    one, other = machines
    has(one, A)
    assert load.run(one, "alpha")["outcome"] == "new"
    has(other, A)
    has(one, B)
    assert load.run(one, "alpha")["outcome"] == "new"
    facts = load.run(other, "alpha")
    assert (facts["outcome"], facts["rows"], rows(owner)) == ("kept", 1, ["b"])
    assert facts["reason"] == (
        f"not loaded: its snapshot, fetched {DAYS[1]}, is older than the rows that are loaded, "
        f"fetched {DAYS[2]}, and they replaced it"
    )
    assert "load alpha --allow-older" in facts["remedy"]
    assert load.run(other, "alpha", force=True)["outcome"] == "kept"  # --force is no consent
    assert load.run(other, "alpha", allow_older=True)["outcome"] == "new"
    assert rows(owner) == ["a"]
    assert load.run(one, "alpha")["outcome"] == "new"  # the consent was to that one load
    assert rows(owner) == ["b"]
    assert load.run(other, "alpha")["outcome"] == "kept"


def test_the_ledger_has_the_order(machines, owner):
    one, _ = machines
    for snapshot in (A, B):
        has(one, snapshot)
        load.run(one, "alpha")
    found = msgspec.convert(ledger.loads(owner, "alpha"), list[Version])
    assert [(load.content, load.replaces) for load in found] == [("b", "a"), ("a", None)]
    assert found[0].fetched_at == B.fetched_at


def test_the_ledger_has_the_later_confirmation(machines, owner):
    """A machine that found the loaded rows still right is newer than another one's file."""
    one, other = machines
    has(one, A)
    load.run(one, "alpha")
    for day, run in ((2, "second"), (5, "fifth")):
        ledger.begin(owner, run, "api", DAYS[day])
        facts = {"outcome": "unchanged", "content": "a", "checked_at": DAYS[day]}
        ledger.note(owner, run, "api", "alpha", facts, "a")
    has(other, made("x", None, 3))
    assert load.run(other, "alpha")["outcome"] == "kept"
    has(other, made("x", None, 6))
    assert load.run(other, "alpha")["outcome"] == "new"


def test_a_confirmation_in_this_run_needs_no_clock(machines, owner, monkeypatch):
    one, other = machines
    has(one, made("a", None, 6))
    load.run(one, "alpha")
    has(other, made("x", None, 1), run="tonight")
    assert load.run(other, "alpha")["outcome"] == "kept"
    monkeypatch.setenv("PIPELINE_RUN", "tonight")
    has(other, made("x", None, 1), run="tonight", outcome="kept")
    assert load.run(other, "alpha")["outcome"] == "kept"
    has(other, made("x", None, 1), run="tonight", outcome="unchanged")
    assert load.run(other, "alpha")["outcome"] == "new"


# The ledger of earlier versions


def test_the_migration_records_the_snapshot_of_each_load(owner):
    def note(run, stage, outcome="new", **facts):
        ledger.begin(owner, run, stage, DAYS[int(run[1])])
        facts |= {"outcome": outcome, "started_at": DAYS[int(run[1])]}
        ledger.note(owner, run, stage, "alpha", facts, facts.get("content"))

    for number, known in enumerate((A, B)):
        note(
            f"n{number}",
            "api",
            **{name: getattr(known, name) for name in ("content", "origin", "fetched_at")},
        )
        note(f"n{number}", "preprocess", input=known.content)
        note(f"n{number}", "load")
    note("n3", "api", content="c", origin="live", fetched_at=DAYS[3])
    note("n3", "preprocess", "failed", input="b")
    note("n3", "load", "failed")
    owner.execute("update pipeline.ledger_version set version = 2")
    with owner.transaction():
        ledger_versions.migrate(owner)
    found = msgspec.convert(ledger.loads(owner, "alpha"), list[Version])
    assert [(load.content, load.fetched_at) for load in found] == [
        ("b", DAYS[2]),
        ("a", DAYS[1]),
    ]
    assert order.refusal(A, found) and order.refusal(CAPTURE, found)
    assert not order.refusal(C, found)


# What people and readers are told


def test_readers_see_the_status_of_the_rows_they_have():
    older = stages(
        "bundled", content="capture", origin="bundled", checked_at=None, as_of="2018-02-07"
    )
    older["load"] = {"outcome": "kept", "reason": "not loaded: it is older", "rows": 5}
    row = told(usgs=older, usgs_loaded=loaded_facts())["usgs"]
    assert (row.state, row.as_of) == ("kept", row.checked_at)
    assert row.checked_at == freshness._instant(loaded_facts()["checked_at"])
    assert "not loaded: it is older" in row.reason


def test_a_later_check_of_another_machine_counts():
    older = stages("kept", "no network", content="c0", checked_at=DAYS[1])
    older["load"] = {"outcome": "kept", "reason": "not loaded: it is older", "rows": 5}
    row = told(usgs=older, usgs_loaded=loaded_facts())["usgs"]
    assert row.checked_at == freshness._instant(loaded_facts()["checked_at"])


def test_the_report_shows_the_rows_that_are_loaded():
    older = stages("bundled", "never reached", origin="bundled", as_of="2018-02-07")
    kept = {"outcome": "kept", "reason": "not loaded: older", "remedy": "the rows stay", "rows": 5}
    older["load"] = kept | {"kept": msgspec.to_builtins(made("live", None, 2))}
    assert report.summary(older) == ("kept", "never reached; not loaded: older", "the rows stay")
    as_of = report._source_row("usgs", older)["Data as of"]
    assert as_of == DAYS[2][:10]


@pytest.mark.parametrize("command", ["api", "transform", "publish", "status", "accept"])
def test_the_option_belongs_to_the_night_and_to_load(command, capsys):
    parser = _parser(["api", "load", "transform", "publish"])
    options = parser.parse_args([command, "--allow-older"])
    with pytest.raises(SystemExit) as ended:
        parser.error = lambda text: (_ for _ in ()).throw(SystemExit(text))
        _refuse_misplaced(parser, options)
    assert str(ended.value) == "--allow-older is an option of night or load"


def test_the_night_hands_the_consent_to_stage_load_alone(here, monkeypatch):
    handed_on = []
    options = SimpleNamespace(force=False, offline=False, allow_older=True)
    whole = nights.Night(here, ["alpha"], options, SimpleNamespace(log=print), "run")
    whole.record = SimpleNamespace(connect=lambda: None, copy_steps=lambda connection: None)
    monkeypatch.setattr(nights.loads, "pending", lambda *words: ["alpha"])
    monkeypatch.setattr(whole.runner, "run", handed_on.extend)
    monkeypatch.setattr(nights.ledger, "newest", lambda *words: {})
    whole._api()
    whole._load()
    assert [job.command[-1] == "--allow-older" for job in handed_on] == [False, True]


def test_two_machines_through_the_commands(small, tmp_path):
    """From the publisher to the exit codes; the machine that was behind is well by its next run."""
    address = small.url()
    other = {"DATA_DIR": str(tmp_path / "other"), "DATABASE_URL": address, "STASH": "off"}

    def there(*stages) -> list[int]:
        return [small.run(stage, "left", **other).returncode for stage in stages]

    small.something_new()
    assert there("api", "preprocess") == [0, 0]
    time.sleep(1.1)  # instants are noted to the second
    small.well_again()
    done = small.run("load", "left", **other)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "older than the rows that are loaded" in done.stdout
    with psycopg.connect(address) as connection:
        assert connection.execute("select distinct night from source.left").fetchall() == [
            (str(small.newest),)
        ]
        facts = "select state, reason from transformed.data_status where name = 'left'"
        known, reason = connection.execute(facts).fetchone()
    assert known == "kept" and "not loaded" in reason
    for stage in ("api", "load"):  # the other one's refusal is not this machine's
        done = small.run(stage, "left")
        assert done.returncode == 0, done.stdout + done.stderr
    done = small.run("status")
    assert "not loaded" not in done.stdout and done.returncode == 0, done.stdout
    assert there("api", "preprocess", "load") == [0, 0, 0]


def test_a_fresh_offline_clone_does_not_replace_live_rows_by_the_bundled_capture(
    here, database_url, owner, example
):
    """With the scripts of the example source: fetched, made legible, not loaded."""
    name = "stations"
    here = replace(here, database_url=database_url)
    assert declaration.path(name).exists()
    live = {"rows": 7, "snapshot": msgspec.to_builtins(made("live", None, 2))}
    with owner.transaction():
        owner.execute(declaration.text_of(name))
        owner.execute("insert into source.stations (ident) values ('AAA')")
        ledger.begin(owner, "a night", "night", DAYS[2])
        ledger.note(owner, "a night", "load", name, live | {"outcome": "new"}, "of live")
    options = SimpleNamespace(offline=True, force=False)
    page = "https://e.gov/"
    source = Source("stations", "a publisher", page, "none", page, kind="csv")
    fetched = api.work(here, options, source, name, None)
    assert fetched["outcome"] == "bundled"
    state.update(here, name, "api", **fetched, run="a clone")
    script = runpy.run_path(str(example / "preprocess" / f"{name}.py"))
    legible = preprocess.work(here, options, name, script["make_legible"])
    state.update(here, name, "preprocess", **legible, run="a clone")
    facts = load.run(here, name)
    assert (facts["outcome"], facts["rows"]) == ("kept", 7)
    assert "the bundled capture is older than the rows that are loaded" in facts["reason"]
    assert value(owner, "select count(*) from source.stations") == 1
    assert load.run(here, name, allow_older=True)["outcome"] == "new"
    assert value(owner, "select count(*) from source.stations") == 1000
