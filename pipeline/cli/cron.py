"""`./run_pipeline.sh cron`: the crontab lines for this clone; for `doctor`: whether cron runs them.

Another scheduler may start the nights: what is missing here is a note, and stops nothing.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pipeline import errors, settings
from pipeline.settings import ROOT, Settings

PROGRAM = "run_pipeline.sh"
TABLES = (Path("/etc/crontab"), Path("/etc/cron.d"))  # in addition to the user's own
PROCESSES = Path("/proc")
NAMES = {"cron", "crond", "fcron", "dcron", "anacron", "cronie"}
_SECONDS = 10
_HINT = "./run_pipeline.sh cron prints it, crontab -e adds it"
_KEEP_UP = "db start"  # in the line that keeps the embedded server up


def show() -> int:
    """Print the lines of `crontab` for this clone, to be added to the user's own jobs."""
    here = settings.load()
    text = (ROOT / "crontab").read_text("utf-8")
    if here.database_url:  # the administrator of that server keeps it up
        text = "\n\n".join(part for part in text.split("\n\n") if _KEEP_UP not in part) + "\n"
    paths = {"@ROOT@": ROOT, "@LOGS@": here.logs, "@POSTGRES@": here.postgres}
    for placeholder, path in paths.items():
        # Quoted for the shell; cron reads an unescaped `%` as a line end.
        text = text.replace(placeholder, shlex.quote(str(path)).replace("%", r"\%"))
    print(text.rstrip())
    return errors.OK


def facts(here: Settings) -> tuple[dict[str, str], list[str]]:
    """Whether cron has the lines of this clone and runs: facts to show, and notes."""
    lines = [line for line in _lines() if _is_ours(line)]
    keep_up = [line for line in lines if _KEEP_UP in line]
    nightly = [line for line in lines if _KEEP_UP not in line and not line.startswith("@reboot")]
    running = _is_running()
    shown = {
        "the night": nightly[0] if nightly else "no crontab line starts it",
        "cron": {True: "running", False: "not running", None: "unknown"}[running],
    }
    notes = []
    if not nightly:
        notes.append(f"no crontab line that this user can read starts the night: {_HINT}")
    if not here.database_url:
        shown["the server"] = keep_up[0] if keep_up else "no crontab line keeps it up"
        if nightly and not keep_up:
            notes.append(f"no crontab line restarts the server after a failure: {_HINT}")
    if running is False:
        notes.append("cron is not running, so no crontab line has an effect: service cron start")
    return shown, notes


def _lines() -> Iterator[str]:
    """The lines of all crontabs that can be read, without comments."""
    texts = [_own()]
    for path in TABLES:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            try:
                texts.append(file.read_text("utf-8", "replace"))
            except OSError:
                continue
    lines = (line.strip() for text in texts for line in text.splitlines())
    return (line for line in lines if line and not line.startswith("#"))


def _own() -> str:
    """This user's crontab; empty if there is none, or no cron."""
    program = shutil.which("crontab")
    if not program:
        return ""
    try:
        done = subprocess.run(
            [program, "-l"], capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _is_ours(line: str) -> bool:
    """Whether a line starts the program of this clone, by whatever path."""
    if PROGRAM not in line and "-m pipeline" not in line:
        return False
    lexer = shlex.shlex(line.replace(r"\%", "%"), posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        paths = [Path(os.path.expandvars(token)).expanduser() for token in lexer]
    except (ValueError, RuntimeError):  # an unclosed quote, an unknown user's home
        return str(ROOT) in line
    paths = [path.parent if path.name == PROGRAM else path for path in paths]
    return any(path.is_absolute() and _is_root(path) for path in paths)


def _is_root(path: Path) -> bool:
    try:
        return path.samefile(ROOT)
    except (OSError, ValueError):
        return False


def _is_running() -> bool | None:
    """Whether a cron runs; None where the system does not show its processes (macOS)."""
    if not (PROCESSES / "self").exists():
        return None
    for name in PROCESSES.glob("[0-9]*/comm"):
        try:
            if name.read_text().strip() in NAMES:
                return True
        except OSError:
            continue
    return False
