"""The nights of a drill: the normal one, and one for each source and each fault."""

import runpy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from psycopg import Connection

from pipeline import errors, state
from pipeline.cli.console import RunConsole
from pipeline.drill import proxy, trials
from pipeline.drill.proxy import Server
from pipeline.drill.readers import Readers, Seen, Tables, published
from pipeline.drill.scratch import Done, Scratch
from pipeline.drill.trials import ONE_RETRY, Night, Trial, Verdict
from pipeline.errors import PipelineError, SetupError, SourceError
from pipeline.raw import snapshot
from pipeline.settings import ROOT
from pipeline.text import escaped

LATER_STAGES = ("preprocess", "load", "transform")
LONGEST_LINE = 1500


@dataclass(frozen=True)
class Result:
    """The result of one source and one fault."""

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
        did = f"{self.verdict.outcome}, code {self.code}"
        did += f", {self.reason}" if self.reason else ""
        wrong = "".join(f" VIOLATED: {violation}." for violation in self.verdict.violations)
        line = f"  {self.source}, {self.trial}: {did} ({self.seconds:.1f} s).{wrong}"
        return escaped(line, LONGEST_LINE)


@dataclass
class Drill:
    """What a drill works with, and its results so far."""

    scratch: Scratch
    server: Server
    console: RunConsole
    routes: dict[str, str]  # base URLs for MIRRORS, by the name of a route
    requested: dict[str, list[str]] = field(default_factory=dict)  # URLs of the normal fetch
    addresses: dict[str, set[str]] = field(default_factory=dict)  # whose replies get the faults
    content: dict[str, str] = field(default_factory=dict)  # fingerprint of the correct snapshot
    left_out: dict[str, str] = field(default_factory=dict)  # sources not recorded, and why
    tables: Tables = field(default_factory=dict)  # published by the normal night
    results: list[Result] = field(default_factory=list)

    @property
    def last_left_out(self) -> str:
        """The source left out last, and why."""
        return ": ".join(list(self.left_out.items())[-1])


def record(drill: Drill, names: list[str]) -> None:
    """The normal night: fetch each source, then build and publish all of them.

    Raises SetupError if no source could be fetched, PipelineError if none could be published.
    """
    for source in names:
        drill.server.listen(recording=True)
        _run(drill, "recording", "api", source, stop=lambda: drill.server.is_offline)
        if drill.server.is_offline:
            raise SetupError(
                "the normal night could not be recorded: no publisher can be reached",
                "check the network, or name a mirror in MIRRORS",
            )
        facts = state.read(drill.scratch.here, source).get("api", {})
        is_new = facts.get("outcome") == state.Outcome.NEW
        fetched = is_new and snapshot.current(drill.scratch.here, source)
        if not fetched:
            _leave_out(drill, source, facts.get("reason") or "its script recorded nothing")
        elif not drill.server.requested:
            _leave_out(drill, source, "its script does not fetch through its Candidate")
        else:
            files = [resource.url for resource in fetched.descriptor.resources]
            drill.requested[source] = drill.server.requested
            drill.addresses[source] = drill.server.addresses_of(drill.server.requested, files)
            drill.content[source] = fetched.content
    if not drill.content:
        raise SetupError("the normal night could not be recorded: " + drill.last_left_out)
    drill.server.listen(recording=False)
    _publish(drill)


def _publish(drill: Drill) -> None:
    """Publish the fetched sources; those that fail on the way are left out."""
    _run(drill, "recording", "preprocess", *drill.content)
    _run(drill, "recording", "load")  # also creates empty tables for the sources left out
    done = _run(drill, "recording", "transform")
    for source in list(drill.content):
        if why := _reason(drill, source):
            _leave_out(drill, source, why)
    if done.code not in (errors.OK, errors.DEGRADED) or not drill.content:
        raise PipelineError(
            "the normal night failed: "
            + (drill.last_left_out if drill.left_out else _last_lines(done)),
            "a drill needs sources without problems: fix them first",
        )
    if done.code == errors.DEGRADED:
        drill.console.say(f"  the normal night is degraded: {_last_lines(done)}")


def _leave_out(drill: Drill, source: str, why: str) -> None:
    drill.content.pop(source, None)
    drill.left_out[source] = why
    drill.console.say(escaped(f"  {source}: left out: {why}", LONGEST_LINE))


def _arguments(stage: str, source: str) -> list[str]:
    return [stage] if stage == "transform" else [stage, source]


def _run(
    drill: Drill,
    what: str,
    *arguments: str,
    stop: Callable[[], bool] = lambda: False,
    variables: Mapping[str, str] | None = None,
) -> Done:
    """Run a command of the pipeline in the scratch folder, redirected to the drill's server."""
    variables = {"MIRRORS": f"*={drill.routes['server']}"} | dict(variables or {})
    name = " ".join(arguments[:2])
    drill.console.start(what, name)
    try:
        done = drill.scratch.run(*arguments, stop=stop, **variables)
    finally:
        drill.console.end(what, name)
    drill.console.log(f"{' '.join(arguments)}: code {done.code}\n{done.output}")
    return done


def attempt(
    drill: Drill, source: str, trial: Trial, connection: Connection, readers: Readers
) -> None:
    """Expose a source to a fault, judge the result, and restore the correct data."""
    addresses = drill.addresses[source]
    if why := trials.why_not(trial, drill.server.recorded(addresses)):
        drill.console.say(f"  {source}, {trial.name}: left out, {why}")
        return
    drill.server.listen(recording=False)
    if trial.fault:
        drill.server.switch_on(trial.fault, addresses, trial.times)
    readers.take(drill.tables, drill.tables)
    started = time.monotonic()
    done = [_fetch(drill, source, trial)]
    is_same_raw = _is_correct(drill, source)
    if not is_same_raw:
        done += [_run(drill, trial.name, *_arguments(stage, source)) for stage in LATER_STAGES]
    seconds = time.monotonic() - started
    tables = published(connection)
    seen = readers.take(drill.tables, tables)
    code = trials.worst([ended.code for ended in done])
    reason = _reason(drill, source) if code else ""
    if code and not reason and len(done) > 1:  # the reason of a model, for example
        reason = _last_lines(done[-1])
    is_met = drill.server.faults_sent > 0 or not trial.fault
    night = Night(code, reason, is_met, is_same_raw, tables == drill.tables)
    may_accept = bool(trial.allowed_by) and getattr(_declaration(source), trial.allowed_by)
    verdict = trials.verdict(night, seen, may_accept)
    result = Result(source, trial.name, code, reason, seconds, seen, verdict)
    drill.results.append(result)
    drill.console.say(result.line)
    _restore(drill, source, connection, is_same_raw)


def _fetch(drill: Drill, source: str, trial: Trial) -> Done:
    """Fetch all of a source again while its fault is on."""
    routes, all_others = drill.routes, f"*={drill.routes['server']}"
    if trial.route == "offline":
        mirrors = f"*={routes['nobody']}"
    elif trial.route == "server":
        mirrors = all_others
    else:
        hosts = proxy.hosts(drill.requested[source])
        own = (f"{host}={routes[trial.route]}/{host}" for host in hosts)
        mirrors = ",".join([*own, all_others])
    variables = {"FETCH_PATIENCE": ONE_RETRY} | (trial.settings or {}) | {"MIRRORS": mirrors}
    return _run(drill, trial.name, "api", source, "--force", variables=variables)


def _is_correct(drill: Drill, source: str) -> bool:
    """Whether the raw snapshot is intact and still the correct one."""
    try:
        current = snapshot.current(drill.scratch.here, source)
    except SourceError:
        return False
    return current is not None and current.content == drill.content[source]


def _restore(drill: Drill, source: str, connection: Connection, is_same_raw: bool) -> None:
    """Restore the correct data; the pipeline itself does it if the database has other ones."""
    drill.server.listen(recording=False)
    drill.scratch.restore(source)
    if is_same_raw:
        return
    for stage in LATER_STAGES[1:]:
        consent = ["--allow-older"] * (stage == "load")
        _run(drill, "restoring", *_arguments(stage, source), *consent)
    if published(connection) != drill.tables:
        raise PipelineError(
            f"{source}: the correct data could not be published again after a fault",
            "the drill ends here; --keep keeps its logs",
        )


def _reason(drill: Drill, source: str) -> str:
    """Why a night was degraded, as its stages recorded it."""
    stages = state.read(drill.scratch.here, source)
    steps = [stages.get(stage, {}) for stage in ("api", *LATER_STAGES)]
    reasons = [f.get("reason") for f in steps if f.get("outcome") in state.DEGRADED_OUTCOMES]
    return "; ".join(filter(None, reasons))


def _declaration(source: str):
    """The `Source` that the script of a source declares."""
    return runpy.run_path(str(ROOT / "api" / f"{source}.py"))["SOURCE"]


def _last_lines(done: Done) -> str:
    lines = [line for line in done.output.splitlines() if line.strip()]
    return escaped(" ".join(lines[-2:]), 1000) or "it printed nothing"
