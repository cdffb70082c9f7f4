"""Series of faults: a step, what is counted in it, and what is checked after each point.

After every point the step, or a complete night, runs again without a fault and without help; the
invariants are checked before and after that. `settle` is a complete night at the end.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from upstream import faults

from injection import injector, invariants, proxy
from injection.readers import Readers
from injection.scene import MARTS, PAGED, PASSWORD, PLAIN, SECRETS, Scene

ANSWERS: dict[str, faults.Fault] = {
    "500": faults.status(500),
    "cut": faults.cut(),
    "closed": lambda answer: faults.Answer(send=lambda file: None),
    "html": faults.html(),
}
ALLOWED = "--allow-older"  # of two alternating versions one is older
KINDS = {"calls": tuple(injector.KINDS), "sql": proxy.KINDS, "http": tuple(ANSWERS)}
WELL, REFUSED = "well", "refused"  # the names of saved states of the disk


@dataclass(frozen=True)
class Step:
    """A step of the night: how it is prepared, run, and repeated by the next night."""

    words: tuple[str, ...]
    prepare: Callable[[Scene], object]
    next_night: Callable[[Scene], object]
    is_whole: bool = False  # whether that is a complete night, after which nothing may be left
    says: str = ""  # how its own line begins, if its output contains dbt's log
    is_of_prod: bool = False  # whether it publishes to prod; otherwise to dev, if at all


@dataclass
class Tally:
    """The points that were tested, and the violations found."""

    points: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0

    def __str__(self) -> str:
        return f"{self.points} fault points, {len(self.violations)} violations"


def newer(scene: Scene) -> None:
    """Give the publishers a newer version."""
    scene.publishers.tell(scene.publishers.version + 1)


def fetched(scene: Scene) -> None:
    """Fetch a newer version, which is not yet preprocessed."""
    newer(scene)
    scene.run_without_fault(f"api/{PLAIN}.py")


def legible(scene: Scene, other_than: str = f"source.{PLAIN}") -> None:
    """Preprocess another version than a table has: one of two that alternate."""
    _take_turns(scene)
    query = f"select rate::numeric * 1000000 from {other_than} where id = '1001'"
    if scene.connection.execute(query).fetchone()[0] == scene.publishers.version:
        _take_turns(scene)


def _take_turns(scene: Scene) -> None:
    scene.turns = (scene.turns + 1) % 2
    name = f"version {scene.turns}"
    if (scene.saved / name).exists():
        scene.rewind(name)
        scene.publishers.tell(scene.versions[name])
        return
    newer(scene)
    scene.run_without_fault("pipeline.__main__", "api")
    scene.run_without_fault("pipeline.__main__", "preprocess")
    scene.save(name)
    scene.versions[name] = scene.publishers.version


def loaded(scene: Scene) -> None:
    """Load another version, which is not yet published."""
    legible(scene, other_than="transformed.rates")
    for source in (PLAIN, PAGED):
        scene.run_without_fault("pipeline.stages.load", source, ALLOWED)


def published(scene: Scene) -> None:
    """Publish another version in dev, which is not yet in prod."""
    loaded(scene)
    scene.run_without_fault("pipeline.stages.transform")


def refused(scene: Scene) -> None:
    """Let a version with few rows be rejected, so that it can be accepted."""
    scene.publishers.few = True
    if not (scene.saved / REFUSED).exists():
        scene.save(WELL)
        newer(scene)
        scene.run_without_fault(f"api/{PLAIN}.py")
        scene.run_without_fault(f"preprocess/{PLAIN}.py", codes=(2,))
        scene.save(REFUSED)
    scene.rewind(REFUSED)


def _again(*words: str) -> Callable[[Scene], object]:
    return lambda scene: scene.run_without_fault(*words)


def _fetch_file(scene: Scene) -> None:
    scene.run_without_fault(f"api/{PLAIN}.py")
    raw = scene.data / "raw" / PLAIN / "unemployment.tsv"
    assert raw.read_bytes() == scene.publishers.rates(), "the honest night has other bytes"


def _fetch_pages(scene: Scene) -> None:
    scene.run_without_fault(f"api/{PAGED}.py")
    raw = b"".join(path.read_bytes() for path in (scene.data / "raw" / PAGED).glob("*.csv"))
    assert b"FLOOD %d" % scene.publishers.version in raw, "the honest night has other rows"


def _accept_again(scene: Scene) -> None:
    scene.run_without_fault("pipeline.__main__", "accept", PLAIN, codes=(0, 64))
    scene.run_without_fault(f"preprocess/{PLAIN}.py")
    _fetch_file(scene)


def _publish_again(scene: Scene) -> None:
    scene.run_without_fault("pipeline.stages.publish")
    here, there = map(invariants.published, (scene.connection, scene.prod))
    assert here == there, "the honest night left prod behind"


def _night(scene: Scene) -> None:
    scene.night()
    version = scene.publishers.version
    rate = scene.connection.execute("select rate from transformed.rates where id = '1001'")
    assert rate.fetchone()[0] * 1_000_000 == version, "the honest night published another version"


STEPS = {
    "api, a file": Step((f"api/{PLAIN}.py",), newer, _fetch_file),
    "api, pages": Step((f"api/{PAGED}.py",), newer, _fetch_pages),
    "preprocess": Step((f"preprocess/{PLAIN}.py",), fetched, _again(f"preprocess/{PLAIN}.py")),
    "load": Step(
        ("pipeline.stages.load", PLAIN, ALLOWED),
        legible,
        _again("pipeline.stages.load", PLAIN, ALLOWED),
    ),
    "transform": Step(("pipeline.stages.transform",), loaded, _night, True, "all models: "),
    "publish": Step(("pipeline.stages.publish",), published, _publish_again, is_of_prod=True),
    "accept": Step(("pipeline.__main__", "accept", PLAIN), refused, _accept_again),
    "night": Step(("pipeline.__main__", "night"), newer, _night, is_whole=True),
}


def count(scene: Scene, step: Step, where: str) -> int:
    """The number of points of a step, which runs once without a fault."""
    step.prepare(scene)
    _arm(scene, where)
    scene.run_without_fault(*step.words, are_calls_counted=where == "calls")
    points, _ = _disarm(scene, where)
    step.next_night(scene)
    return points


def points(total: int, where: str, sample: int, seed: str) -> Iterator[tuple[int, str]]:
    """A sample of n and kinds; for 0 every n with every kind, for -1 every n with one in turn."""
    kinds = KINDS[where]
    if sample == 0:
        return ((n, kind) for n in range(1, total + 1) for kind in kinds)
    if sample < 0:
        return ((n, kinds[n % len(kinds)]) for n in range(1, total + 1))
    chosen = random.Random(seed)
    return ((chosen.randint(1, total), kinds[i % len(kinds)]) for i in range(sample))


def run(scene: Scene, name: str, where: str, sample: int) -> Tally:
    """Test the points of a step."""
    step, tally, started = STEPS[name], Tally(), time.monotonic()
    total = count(scene, step, where)
    public, readers = _public(scene, step)
    if step.is_whole or step.is_of_prod:  # it publishes
        readers.start()
    for n, kind in points(total, where, sample, f"{name} {where}"):
        what, wrong = _pass(scene, step, where, n, kind)
        tally.points += bool(what)  # a retry, or another order of threads, may need fewer
        at = f"{name}, {where} {n} of {total}, {kind}: {what}"
        tally.violations += [f"{at}: {text}" for text in wrong]
    readers.stop()
    if step.is_whole or step.is_of_prod:  # what they saw last does not belong to the next series
        last = readers.take(invariants.published(public))
        tally.violations += [f"{name}, {where}, after the last point: {text}" for text in last]
    if scene.publishers.few:  # they were accepted, so that all rows would be too many now
        scene.publishers.few = False
        scene.rewind(WELL)
    tally.seconds = time.monotonic() - started
    return tally


def _public(scene: Scene, step: Step) -> tuple[psycopg.Connection, Readers]:
    """Where a step publishes to, and who reads there."""
    if step.is_of_prod:
        return scene.prod, scene.readers_of_prod
    return scene.connection, scene.readers


def settle(scene: Scene) -> list[str]:
    """A complete night with a newer version and without a fault; returns what is wrong after it."""
    newer(scene)
    _night(scene)
    return _check(scene, "", settled=True)


def _pass(scene: Scene, step: Step, where: str, n: int, kind: str) -> tuple[str, list[str]]:
    """One point: the fault, the checks, the next night, the checks again."""
    step.prepare(scene)
    scene.record_files()
    public, readers = _public(scene, step)
    tip, before = invariants.tip_of(scene.root), invariants.published(public)
    noted = _steps_noted(scene)
    _arm(scene, where, n, kind)
    done = scene.run(*step.words, are_calls_counted=where == "calls")
    _, what = _disarm(scene, where)
    killed_by = int(injector.KINDS[kind][1]) if what and kind.startswith("SIG") else 0
    wrong = invariants.of_exit(done, killed_by, step.says)
    wrong += _check(scene, tip, settled=False)
    between = invariants.published(public)
    held, made = set(), {}
    if not step.is_of_prod:  # which is replaced as a whole
        held, made = invariants.held(public), invariants.made_of_kept(public, MARTS)
    try:
        step.next_night(scene)
    except AssertionError as error:
        return what, [*wrong, f"the next night: {error}"]
    wrong += _check(scene, tip, settled=step.is_whole)
    after = invariants.published(public)
    wrong += invariants.of_generations(before, between, held, after, made)
    wrong += readers.take(before, between, after)
    if _steps_noted(scene) < noted:
        wrong.append("the ledger lost rows")
    return what, wrong


def _check(scene: Scene, tip: str, *, settled: bool) -> list[str]:
    scene.record_files()
    connection, outputs = scene.connection, list(scene.outputs)
    scene.outputs.clear()
    wrong = invariants.of_leftovers(scene.data, scene.root, scene.page, connection, settled=settled)
    wrong += invariants.of_files(scene.data)
    wrong += invariants.of_git(scene.root, tip)
    wrong += invariants.of_sources(connection, scene.files)
    wrong += invariants.of_status(connection, settled=settled)
    wrong += invariants.of_prod(scene.prod)
    folders = [scene.data / name for name in ("raw", "state", "quarantine", "logs")]
    markers = [*SECRETS.values(), PASSWORD]
    return wrong + invariants.of_secrets(markers, folders if settled else folders[:2], outputs)


def _steps_noted(scene: Scene) -> int:
    return scene.connection.execute("select count(*) from pipeline.steps").fetchone()[0]


def _arm(scene: Scene, where: str, n: int = 0, kind: str = "") -> None:
    if where == "calls":
        scene.page.arm(n, kind)
    elif where == "sql":
        scene.proxy.arm(n, kind)
    else:
        scene.publishers.arm(n, ANSWERS.get(kind))


def _disarm(scene: Scene, where: str) -> tuple[int, str]:
    """The points counted since, and the one with the fault; '' when it was not reached."""
    if where == "calls":
        return scene.page.disarm()
    if where == "sql":
        return scene.proxy.disarm()
    asked, at = scene.publishers.count, scene.publishers.at
    scene.publishers.arm()
    return asked, "an answer" if 0 < at <= asked else ""
