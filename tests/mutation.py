"""The mutation check: break a line of what protects the data, and a test must fail.

    .venv/bin/python tests/mutation.py [MODULE | MODULE:LINE ...]

Every mutant (`mutants.py`) is tried by the tests that run through its lines, the quickest first,
until one fails. Mutants exist in memory alone: each in a process forked from one that has collected
the tests and started the server they share, so that no file changes, whoever is killed. A mutant
counts as killed when a test fails that passes without the mutation right after, or gets nowhere:
no line of the checked modules is run for many times as long as without the mutation, or many times
as many lines.

Ends with 1 when a mutant survives that is not in `mutation_equivalent.txt`, or one in it does not.
"""

import ctypes
import gc
import json
import mmap
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType, SimpleNamespace

import mutants
import psycopg
import pytest
from mutants import Mutant

from pipeline import embedded
from pipeline.settings import ROOT

# The tests of each module. Those of other files go through it too, but for less of the time.
MODULES = {
    "raw.volume": ["test_volume"],
    "stages.guards": ["test_guards", "test_volume"],
    "schema.drift": ["test_drift"],
    "formats.csv_scan": ["test_delimited"],
    "formats.records": ["test_delimited", "test_csv_column"],
    "formats.dialect": ["test_delimited"],
    "formats.raw_table": ["test_delimited"],
    "formats.delimited": ["test_delimited"],
    "marts.publication": ["test_publication"],
    "prod.permissions": ["test_permissions"],
}
PATHS = {name: ROOT / "pipeline" / f"{name.replace('.', '/')}.py" for name in MODULES}
EQUIVALENT = Path(__file__).with_name("mutation_equivalent.txt")
# Tests that are left out: by fixture, or by name.
LEFT_OUT = {
    # They run the pipeline in other processes, which know nothing of a mutant.
    "clone",
    "small",
    "test_killed_at_any_moment_it_leaves_the_old_or_the_new",
    # They try random files for seconds; a line is to be held by a test that says what it is for.
    "test_random_files_agree_with_a_reader_that_goes_by_character",
    "test_random_tables_go_through_and_one_damage_is_refused",
}
WORKERS = 2
TICK = 0.1  # seconds between two looks at a mutant
# A test gets nowhere after so many times its usual lines, or when it ran none of them for so many
# times its usual time, and this much more.
TIMES_LINES, MORE_LINES = 10, 2_000
TIMES_SECONDS, MORE_SECONDS = 3, 30


class Lines:
    """The lines of the checked modules that this process runs; their number is shared."""

    def __init__(self):
        self.count = memoryview(mmap.mmap(-1, 8)).cast("Q")
        self.seen: set[tuple[str, int]] = set()
        self._names = {str(path): name for name, path in PATHS.items()}

    def watch(self) -> None:
        sys.settrace(self._called)
        threading.settrace(self._called)

    def _called(self, frame: FrameType, event: str, _) -> Callable | None:
        return self._stepped if frame.f_code.co_filename in self._names else None

    def _stepped(self, frame: FrameType, event: str, _) -> Callable:
        if event == "line":
            self.count[0] += 1
            self.seen.add((self._names[frame.f_code.co_filename], frame.f_lineno))
        return self._stepped


class Check:
    """In place of pytest's loop over the tests: the loop over the mutants."""

    def __init__(self, wanted: list[str], share: int, tell: Callable[[dict], None]):
        self.wanted, self.share, self.tell = wanted, share, tell
        self.modules = modules_of(wanted)
        self.lines = Lines()
        self.failed = False
        self.killers: dict[str, list[str]] = defaultdict(list)  # function -> tests
        self.known: dict[str, dict] = {}  # test -> its lines, their number, its seconds

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request) -> Iterator:
        value = yield
        if fixturedef.argname == "server_settings":
            self.server = value
        return value

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {
            item.nodeid: item
            for item in session.items
            if not LEFT_OUT & {*item.fixturenames, item.originalname}
        }
        self.keep_server(session)
        gc.freeze()  # so that those forked share more of the memory
        rest = list(self.items)
        while rest:
            for facts in self.forked(None, rest):
                self.known[facts["test"]] = facts
            rest = [test for test in rest if test not in self.known]
        noisy = [test for test, facts in self.known.items() if facts["failed"]]
        self.tell({"noisy": noisy})
        for module in self.modules:
            every = [m for m in mutants.of(module, PATHS[module]) if self.is_wanted(m)]
            for mutant in every[self.share :: WORKERS]:
                if os.getppid() == 1:
                    pytest.exit("nobody waits for the verdicts any more")
                verdict = self.verdict(mutant, [t for t in self.known if t not in noisy])
                self.tell({"mutant": mutant.name, "line": mutant.first, "module": module} | verdict)
        return True

    def is_wanted(self, mutant: Mutant) -> bool:
        return not {mutant.module, f"{mutant.module}:{mutant.first}"}.isdisjoint(self.wanted)

    def keep_server(self, session: pytest.Session) -> None:
        """Start the server in this process, so that those forked from it share one."""
        kept = [
            n for n in session.items[0].listchain() if isinstance(n, pytest.Session | pytest.Dir)
        ]
        self.kept = SimpleNamespace(listchain=lambda: kept)
        item = next((i for test, i in self.items.items() if self.shares_server(test)), None)
        if item is None:
            return
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=self.kept)
        assert not self.failed, item.nodeid
        self.tidy()

    def verdict(self, mutant: Mutant, tests: list[str]) -> dict:
        """Whether a mutant is killed, and by which test."""
        near = [test for test in tests if mutant.last is None or self.runs(test, mutant)]
        before = self.killers[mutant.module + mutant.function]
        kills = Counter(killer for killers in self.killers.values() for killer in killers)
        near.sort(key=lambda t: (t not in before, -kills[t], self.known[t]["seconds"]))
        while near:
            for facts in self.forked(mutant, near):
                if facts["failed"]:
                    break
            else:
                break
            test = facts["test"]
            if not self.shares_server(test) or not self.fails_anyway(test):
                before.append(test)
                return {"killed": True, "by": test, "how": facts["failed"]}
            near = near[near.index(test) + 1 :]  # it fails whatever we do: it says nothing
        return {"killed": False, "by": "", "how": ""}

    def runs(self, test: str, mutant: Mutant) -> bool:
        lines = range(mutant.first, mutant.last + 1)
        return any(m == mutant.module and n in lines for m, n in self.known[test]["seen"])

    def shares_server(self, test: str) -> bool:
        return "server_settings" in self.items[test].fixturenames

    def fails_anyway(self, test: str) -> bool:
        (facts,) = self.forked(None, [test])
        return bool(facts["failed"])

    def forked(self, mutant: Mutant | None, tests: list[str]) -> Iterator[dict]:
        """Run tests in a process of their own until one fails; what became of each."""
        ours, theirs = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(ours)
            self.run(mutant, tests, theirs)
        os.close(theirs)
        rest = list(tests)
        try:
            with os.fdopen(ours) as told:
                while rest:
                    facts = self.wait(told, rest[0] if mutant else "")
                    if facts is None:
                        self.end(pid)
                        facts = {"failed": "got nowhere", "test": rest[0]}
                    rest = [] if facts["failed"] else rest[1:]
                    yield facts
        finally:  # also when nobody asks for the rest
            os.waitpid(pid, 0)
            if any(self.shares_server(test) for test in tests):
                self.tidy()

    def wait(self, told, test: str) -> dict | None:
        """What the other process tells of a test; None when it gets nowhere."""
        self.lines.count[0] = seen = idle = 0
        usual = self.known.get(test)
        while not select.select([told], [], [], TICK)[0]:
            idle = idle + 1 if self.lines.count[0] == seen else 0
            seen = self.lines.count[0]
            most = (usual["count"], usual["seconds"]) if usual else (10**9, 10**9)
            if seen > TIMES_LINES * most[0] + MORE_LINES:
                return None
            if idle * TICK > TIMES_SECONDS * most[1] + MORE_SECONDS:
                return None
        line = told.readline()
        return json.loads(line) if line else {"failed": "the process died", "test": test}

    @staticmethod
    def end(pid: int) -> None:
        """Let it tidy up, which a test that gets nowhere may not be able to."""
        os.kill(pid, signal.SIGINT)
        for _ in range(50):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            time.sleep(TICK)
        os.kill(pid, signal.SIGKILL)

    def run(self, mutant: Mutant | None, tests: list[str], told: int) -> None:
        """In the forked process."""
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        try:
            if mutant:
                apply(mutant)
            self.lines.watch()
            items = [self.items[test] for test in tests]
            for item, following in zip(items, [*items[1:], self.kept], strict=True):
                self.lines.seen, self.failed, began = set(), False, time.monotonic()
                self.lines.count[0] = 0
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                facts = {
                    "test": item.nodeid,
                    "failed": "failed" if self.failed else "",
                    "seconds": time.monotonic() - began,
                    "count": self.lines.count[0],
                    "seen": [] if mutant else sorted(self.lines.seen),
                }
                os.write(told, json.dumps(facts).encode() + b"\n")
                if self.failed:
                    break
            item.session._setupstate.teardown_exact(self.kept)
        except BaseException as error:  # noqa: BLE001 - a mutant may raise anything
            facts = {"test": tests[0], "failed": repr(error)}
            os.write(told, json.dumps(facts).encode() + b"\n")
        finally:
            os._exit(0)

    def tidy(self) -> None:
        """Take away what a test left that a mutant kept from tidying up."""
        with psycopg.connect(embedded.url(self.server), autocommit=True) as connection:
            databases = "select datname from pg_database where oid >= 16384 and datname <> 'dev'"
            for (name,) in connection.execute(databases).fetchall():
                connection.execute(f'drop database "{name}" with (force)')
            roles = "select quote_ident(rolname) from pg_roles where oid >= 16384"
            for (name,) in connection.execute(roles).fetchall():
                connection.execute(f"drop role {name}")
        ours = self.server.data_dir
        for folder in set(ours.parent.iterdir()) - {ours}:
            embedded.stop(replace(self.server, data_dir=folder))
            shutil.rmtree(folder)


def apply(mutant: Mutant) -> None:
    """Run the mutant in place of its module, and hand what it defines to who imported that."""
    module = sys.modules[f"pipeline.{mutant.module}"]
    before = {k: v for k, v in vars(module).items() if not k.startswith("__")}
    exec(mutant.code, vars(module))
    for other in list(sys.modules.values()):
        for name, value in before.items():
            if vars(other).get(name) is value and other is not module:
                setattr(other, name, getattr(module, name))


def modules_of(wanted: list[str]) -> list[str]:
    return list(dict.fromkeys(each.partition(":")[0] for each in wanted))


def work(wanted: list[str], share: int) -> int:
    """One of the processes that share the mutants: a verdict a line."""
    files = {file: None for module in modules_of(wanted) for file in MODULES[module]}
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    check = Check(wanted, share, lambda facts: print(json.dumps(facts), file=out))
    quiet = [
        "-q",
        "-s",
        "--tb=native",
        "-p",
        "no:timeout",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    paths = [str(ROOT / "tests" / f"{file}.py") for file in files]
    return pytest.main([f"--rootdir={ROOT}", *quiet, *paths], plugins=[check])


def main(wanted: list[str]) -> int:
    """Print the figure of each module, and each survivor. Returns the exit code."""
    command = [sys.executable, __file__, "--work"]
    workers = [
        subprocess.Popen([*command, str(n), *wanted], stdout=subprocess.PIPE, text=True)
        for n in range(WORKERS)
    ]
    verdicts = defaultdict(list)
    readers = [threading.Thread(target=read, args=(w.stdout, verdicts)) for w in workers]
    for each in readers:
        each.start()
    for each in readers:
        each.join()
    if any(worker.wait() for worker in workers):
        print("the check did not end: see above")
        return 1
    return report(modules_of(wanted), verdicts)


def read(lines, verdicts: dict) -> None:
    for line in lines:
        facts = json.loads(line)
        if "noisy" in facts:
            print("fails without any mutation:", facts["noisy"]) if facts["noisy"] else None
            continue
        verdicts[facts["module"]].append(facts)
        log = os.environ.get("MUTATION_LOG")
        if log:
            with Path(log).open("a") as file:
                file.write(line)


def report(modules: list[str], verdicts: dict) -> int:
    listed = dict(
        line.split("  # ", 1) for line in EQUIVALENT.read_text().splitlines() if "  # " in line
    )
    bad = 0
    for module in modules:
        found = sorted(verdicts[module], key=lambda facts: facts["line"])
        survived = [facts for facts in found if not facts["killed"]]
        equal = [facts for facts in survived if facts["mutant"] in listed]
        killed = len(found) - len(survived)
        share = 100 * killed / len(found)
        print(f"{module}: {killed} of {len(found)} killed ({share:.1f} %), {len(equal)} equivalent")
        for facts in survived:
            if facts not in equal:
                bad += 1
                where = f"{PATHS[module].relative_to(ROOT)}:{facts['line']}"
                print(f"  survived: {where}: {facts['mutant']}")
        names = {facts["mutant"] for facts in survived}
        for name in listed:
            if name.startswith(f"{module} ") and name not in names:
                bad += 1
                print(f"  is not among the survivors: {name}")
    return bool(bad)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        code = work(sys.argv[3:], int(sys.argv[2]))
        os._exit(code)  # at once: what libraries say at the end of a process is of no interest
    sys.exit(main(sys.argv[1:] or list(MODULES)))
