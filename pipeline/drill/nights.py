"""The nights of a drill: the honest one, and one for each source and each fault."""

import runpy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from psycopg import Connection

from pipeline import errors, state
from pipeline.cli.console import Screen
from pipeline.drill import proxy, trials
from pipeline.drill import verdict as drill_verdict
from pipeline.drill.proxy import Server
from pipeline.drill.readers import Readers, Seen, Tables, published
from pipeline.drill.scratch import Done, Scratch
from pipeline.drill.trials import RETRIES, Trial
from pipeline.drill.verdict import Night, Verdict
from pipeline.errors import PipelineError, SetupError, SourceError
from pipeline.raw import snapshot
from pipeline.settings import ROOT
from pipeline.state import Outcome
from pipeline.text import escaped

REST = ("preprocess", "load", "transform")  # the stages after `api`


@dataclass(frozen=True)
class Row:
    """One source and one fault: what came of it."""

    source: str
    trial: str
    code: int
    reason: str
    seconds: float
    seen: Seen
    verdict: Verdict

    @property
    def line(self) -> str:
        """One plain line, with the whole reason."""
        did = f"{self.verdict.did}, code {self.code}" + (f", {self.reason}" if self.reason else "")
        wrong = "".join(f" VIOLATED: {violation}." for violation in self.verdict.violations)
        told = f"  {self.source}, {self.trial}: {did} ({self.seconds:.1f} s).{wrong}"
        return escaped(told, 1500)


@dataclass
class Drill:
    """What a drill works with, and what came of it so far."""

    scratch: Scratch
    server: Server
    screen: Screen
    routes: dict[str, str]  # base URLs for MIRRORS, by the name of a route
    asked: dict[str, list[str]] = field(default_factory=dict)  # URLs of a source's honest fetch
    addresses: dict[str, set[str]] = field(default_factory=dict)  # where its faults of answers are
    content: dict[str, str] = field(default_factory=dict)  # fingerprint of its honest snapshot
    unread: dict[str, str] = field(default_factory=dict)  # sources not recorded, and why
    tables: Tables = field(default_factory=dict)  # what is published after the honest night
    rows: list[Row] = field(default_factory=list)

    @property
    def last_unread(self) -> str:
        """The source left out last, and why."""
        return ": ".join(list(self.unread.items())[-1])


def record(drill: Drill, names: list[str]) -> None:
    """The honest night: fetch each source, then build and publish all of them.

    Raises SetupError when no source could be fetched, PipelineError when none comes through.
    """
    for source in names:
        drill.server.listen(recording=True)
        _run(drill, "recording", "api", source, stop=lambda: drill.server.is_offline)
        if drill.server.is_offline:
            raise SetupError(
                "the honest night could not be recorded: no publisher can be reached",
                "see to the network, or lead to a mirror with MIRRORS",
            )
        facts = state.read(drill.scratch.here, source).get("api", {})
        taken = facts.get("outcome") == Outcome.NEW and snapshot.current(drill.scratch.here, source)
        if not taken:
            _leave_out(drill, source, facts.get("reason") or "its script told nothing")
        elif not drill.server.asked:
            _leave_out(drill, source, "its script does not ask by its Candidate")
        else:
            files = [resource.url for resource in taken.descriptor.resources]
            drill.asked[source] = drill.server.asked
            drill.addresses[source] = drill.server.addresses_of(drill.server.asked, files)
            drill.content[source] = taken.content
    if not drill.content:
        raise SetupError("the honest night could not be recorded: " + drill.last_unread)
    drill.server.listen(recording=False)
    _build(drill)


def _build(drill: Drill) -> None:
    """Bring the fetched sources to published tables; what does not come through is left out."""
    _run(drill, "recording", "preprocess", *drill.content)
    _run(drill, "recording", "load")  # tables of the sources left out are made too, and stay empty
    done = _run(drill, "recording", "transform")
    for source in list(drill.content):
        if why := _reason(drill, source):
            _leave_out(drill, source, why)
    if done.code not in (errors.OK, errors.DEGRADED) or not drill.content:
        raise PipelineError(
            "the honest night does not come through: "
            + (drill.last_unread if drill.unread else _last_words(done)),
            "a drill begins with sources that are well: see to them first",
        )
    if done.code == errors.DEGRADED:
        drill.screen.say(f"  the honest night is not wholly well: {_last_words(done)}")


def _leave_out(drill: Drill, source: str, why: str) -> None:
    """Note that a source cannot be drilled."""
    drill.content.pop(source, None)
    drill.unread[source] = why
    drill.screen.say(escaped(f"  {source}: left out: {why}", 1500))


def _words(stage: str, sources: list[str]) -> list[str]:
    return [stage] if stage == "transform" else [stage, *sources]


def _run(
    drill: Drill,
    what: str,
    *words: str,
    stop: Callable[[], bool] = lambda: False,
    variables: Mapping[str, str] | None = None,
) -> Done:
    """Run a command of the pipeline in the scratch folder, led to the server of the drill."""
    variables = {"MIRRORS": f"*={drill.routes['server']}"} | dict(variables or {})
    name = " ".join(words[:2])
    drill.screen.start(what, name)
    try:
        done = drill.scratch.run(*words, stop=stop, **variables)
    finally:
        drill.screen.end(what, name)
    drill.screen.log(f"{' '.join(words)}: code {done.code}\n{done.output}")
    return done


def meet(drill: Drill, source: str, trial: Trial, connection: Connection, readers: Readers) -> None:
    """Let a source meet a fault, judge what came of it, and go back to the honest data."""
    addresses = drill.addresses[source]
    if why := trials.not_for(trial, drill.server.recorded(addresses)):
        drill.screen.say(f"  {source}, {trial.name}: left out, {why}")
        return
    drill.server.listen(recording=False)
    if trial.fault:
        drill.server.switch_on(trial.fault, addresses, trial.times)
    readers.take(drill.tables, drill.tables)
    started = time.monotonic()
    done = [_api(drill, source, trial)]
    is_same_raw = _is_honest(drill, source)
    if not is_same_raw:
        done += [_run(drill, trial.name, *_words(stage, [source])) for stage in REST]
    seconds = time.monotonic() - started
    tables = published(connection)
    seen = readers.take(drill.tables, tables)
    code = drill_verdict.worst([ended.code for ended in done])
    reason = _reason(drill, source) if code else ""
    if code and not reason and len(done) > 1:  # of a model, say
        reason = _last_words(done[-1])
    is_met = drill.server.met > 0 or not trial.fault
    night = Night(code, reason, is_met, is_same_raw, tables == drill.tables)
    may_take = bool(trial.allowed_by) and getattr(_declared(source), trial.allowed_by)
    judged = drill_verdict.verdict(night, seen, may_take)
    row = Row(source, trial.name, code, reason, seconds, seen, judged)
    drill.rows.append(row)
    drill.screen.say(row.line)
    _go_back(drill, source, connection, is_same_raw)


def _api(drill: Drill, source: str, trial: Trial) -> Done:
    """Fetch a source while its fault is on; all of it, whatever is known of it."""
    routes, others = drill.routes, f"*={drill.routes['server']}"
    if trial.route == "offline":
        mirrors = f"*={routes['nobody']}"
    elif trial.route == "server":
        mirrors = others
    else:
        led = (f"{h}={routes[trial.route]}/{h}" for h in proxy.hosts(drill.asked[source]))
        mirrors = ",".join([*led, others])
    given = {"FETCH_PATIENCE": RETRIES} | (trial.settings or {}) | {"MIRRORS": mirrors}
    return _run(drill, trial.name, "api", source, "--force", variables=given)


def _is_honest(drill: Drill, source: str) -> bool:
    """Whether the raw snapshot is whole and still the honest one."""
    try:
        current = snapshot.current(drill.scratch.here, source)
    except SourceError:
        return False
    return current is not None and current.content == drill.content[source]


def _go_back(drill: Drill, source: str, connection: Connection, is_same_raw: bool) -> None:
    """The honest data again, by the pipeline itself where the database has others."""
    drill.server.listen(recording=False)
    drill.scratch.go_back(source)
    if is_same_raw:
        return
    for stage in REST[1:]:
        consent = ["--allow-older"] * (stage == "load")
        _run(drill, "going back", *_words(stage, [source]), *consent)
    if published(connection) != drill.tables:
        raise PipelineError(
            f"{source}: the honest data could not be published again after a fault",
            "the drill ends here; --keep leaves its logs",
        )


def _reason(drill: Drill, source: str) -> str:
    """Why a night was not well, as it is noted for people."""
    here = drill.scratch.here
    stages = state.read(here, source)
    told = [stages.get(stage, {}) for stage in ("api", *REST)]
    reasons = [f.get("reason") for f in told if f.get("outcome") in state.DEGRADED_OUTCOMES]
    return "; ".join(filter(None, reasons))


def _declared(source: str):
    """What the script of a source declares of it."""
    return runpy.run_path(str(ROOT / "api" / f"{source}.py"))["SOURCE"]


def _last_words(done: Done) -> str:
    lines = [line for line in done.output.splitlines() if line.strip()]
    return escaped(" ".join(lines[-2:]), 1000) or "it printed nothing"
