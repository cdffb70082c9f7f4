"""The scratch folder of a drill, under /tmp: its own data folder and embedded database.

The pipeline that is started here cannot reach the user's settings, data folder, databases and
branch `raw-data`.
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
# They would make the pipeline use other databases, or tell people of a rehearsal.
_EMPTY = ("DATABASE_URL", "PROD_DATABASE_URL", "NOTIFY_URLS", "HEARTBEAT_URL")
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

    def run(
        self, *arguments: str, stop: Callable[[], bool] = lambda: False, **variables: str
    ) -> Done:
        """Run `./run_pipeline.sh` on the scratch data; `stop` ends it early."""
        with (self.folder / "output").open("w+") as output:
            process = subprocess.Popen(
                [ROOT / "run_pipeline.sh", *arguments],
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
        """Keep a copy of the data folder, for `restore`."""
        others = shutil.ignore_patterns("dbt", "hosts")
        for folder in (self.here.raw, self.here.preprocessed, self.here.state):
            # With time stamps: the state identifies the bytes of a file by them.
            shutil.copytree(folder, self.folder / "kept" / folder.name, ignore=others)

    def restore(self, source: str) -> None:
        """Restore the files of a source, and forget the rate limits of hosts."""
        legible = preprocess.output_of(self.here, source)
        for path in (self.here.raw / source, legible, self.here.state / f"{source}.json"):
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
    """The scratch folder of a drill, removed at the end with its server unless `keep` is set.

    here: the user's settings.
    """
    folder = Path(tempfile.mkdtemp(prefix="pipeline-drill-"))
    if os.geteuid() == 0:
        folder.chmod(0o711)  # for the user that PostgreSQL runs as
    own = replace(here, data_dir=folder / "data", database_url="", stash="off", mirrors={})
    own.data_dir.mkdir()
    try:
        yield Scratch(folder, own)
    finally:
        server = layout.find(own)
        embedded.stop(own)
        if not keep:
            # They are elsewhere if the server's user cannot reach the folder, or its path is long.
            for outside in {server.home, server.socket} if server else ():
                shutil.rmtree(outside, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)


def _environment(own: Settings) -> dict[str, str]:
    """The environment of the pipeline in the scratch folder, which overrides `.env`."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "PIPELINE_")) and name.lower() not in _PROXIES
    }
    variables |= {name: "" for name in _EMPTY} | {"MIRRORS": "", "STASH": "off"}
    variables["FETCH_PATIENCE"] = settings.DEFAULTS["FETCH_PATIENCE"]
    return variables | {"DATA_DIR": str(own.data_dir)}


def _wait(process: subprocess.Popen, stop: Callable[[], bool]) -> None:
    left = LONGEST
    while left > 0 and not stop():
        try:
            process.wait(timeout=0.2)
            return
        except subprocess.TimeoutExpired:
            left -= 0.2


def _end(process: subprocess.Popen) -> None:
    """Stop a command that still runs as the user would, so that it cleans up by itself."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
