"""Where a drill takes place: a data folder and an embedded database of its own, under /tmp.

The user's settings, data folder, databases and branch `raw-data` are out of the reach of the
pipeline that is started here.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import embedded, settings
from pipeline.embedded import layout
from pipeline.settings import ROOT, Settings
from pipeline.stages import preprocess

LONGEST = 3600.0  # seconds that a command of the pipeline may take
GRACE = 15.0  # seconds for it to end after a signal
_EMPTY = ("DATABASE_URL", "PROD_DATABASE_URL")  # what leads the pipeline elsewhere
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")  # the server of the drill is on loopback


@dataclass(frozen=True)
class Done:
    """A command of the pipeline that ended."""

    code: int
    output: str


@dataclass(frozen=True)
class Scratch:
    """The folder of one drill, and the settings of the pipeline in it."""

    folder: Path
    here: Settings

    def run(self, *words: str, stop: Callable[[], bool] = lambda: False, **variables: str) -> Done:
        """Run `./run_pipeline.sh` on the scratch data; `stop` ends it before its time."""
        with (self.folder / "output").open("w+") as output:
            process = subprocess.Popen(
                [ROOT / "run_pipeline.sh", *words],
                env=_environment(self.here) | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a signal to the drill is passed on by the drill
            )
            try:
                _wait(process, stop)
            finally:
                _end(process)
            output.seek(0)
            return Done(process.returncode, output.read())

    def keep(self) -> None:
        """Keep the data folder as it is, to come back to."""
        others = shutil.ignore_patterns("dbt", "hosts")
        for folder in (self.here.raw, self.here.preprocessed, self.here.state):
            # With time stamps: one stands for the bytes of a file in what is remembered of it.
            shutil.copytree(folder, self.folder / "kept" / folder.name, ignore=others)

    def go_back(self, source: str) -> None:
        """Let the files of a source be as they were kept, and forget what hosts asked for."""
        made = preprocess.output_of(self.here, source)
        for path in (self.here.raw / source, made, self.here.state / f"{source}.json"):
            kept = self.folder / "kept" / path.parent.name / path.name
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            if kept.is_dir():
                shutil.copytree(kept, path)
            elif kept.exists():
                shutil.copy2(kept, path)
        for folder in (self.here.state / "hosts", self.here.quarantine / source):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch(here: Settings, keep: bool) -> Generator[Scratch]:
    """A place for a drill, removed at the end with its server unless it is to be kept.

    `here` are the user's settings.
    """
    folder = Path(tempfile.mkdtemp(prefix="pipeline-drill-"))
    if os.geteuid() == 0:
        folder.chmod(0o711)  # the user that PostgreSQL runs as passes through
    own = replace(here, data_dir=folder / "data", database_url="", stash="off", mirrors={})
    own.data_dir.mkdir()
    try:
        yield Scratch(folder, own)
    finally:
        place = layout.find(own)
        embedded.stop(own)
        if not keep:
            # Where the server's user cannot reach the folder, or its path is long.
            for elsewhere in {place.home, place.socket} if place else ():
                shutil.rmtree(elsewhere, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)


def _environment(own: Settings) -> dict[str, str]:
    """The environment of the pipeline in the scratch folder, whatever `.env` and the user say."""
    known = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "PIPELINE_")) and name.lower() not in _PROXIES
    }
    known |= {name: "" for name in _EMPTY} | {"MIRRORS": "", "STASH": "off"}
    known["FETCH_PATIENCE"] = settings.DEFAULTS["FETCH_PATIENCE"]
    return known | {"DATA_DIR": str(own.data_dir)}


def _wait(process: subprocess.Popen, stop: Callable[[], bool]) -> None:
    left = LONGEST
    while left > 0 and not stop():
        try:
            process.wait(timeout=0.2)
            return
        except subprocess.TimeoutExpired:
            left -= 0.2


def _end(process: subprocess.Popen) -> None:
    """End a command that still runs as the user would: it tidies up by itself."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
