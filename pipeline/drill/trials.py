"""The faults of a drill, each as it is put before one source."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from pipeline.drill import faults
from pipeline.drill import row_faults as rows
from pipeline.drill.faults import Answer, Fault
from pipeline.drill.proxy import LOGIN, MOVED
from pipeline.http import network

RETRIES = "2.5"  # seconds of patience: it is asked once more
MENDS = "8"  # the same, when the third try is the good one
SHORT = {"FETCH_PATIENCE": "0", "SOURCE_TIMEOUT": "6"}  # seconds: for what never comes to an end
HANG = 60  # seconds
ERROR = b'{"error": {"code": 400, "message": "Unable to complete operation."}}'
HONEST = "none"


@dataclass(frozen=True)
class Trial:
    """One fault: where it sits, what it does, with which settings the pipeline meets it."""

    name: str
    fault: Callable[[str], Fault] | None = None  # made for the URL that is asked
    times: float = inf  # how many answers are bad, the first ones
    route: str = "server"  # where MIRRORS lead the source to
    settings: dict[str, str] | None = None
    # Whether the answer is a right one for a source that declares it: `may_be_empty`, …
    allowed_by: str = ""


def _always(fault: Fault) -> Callable[[str], Fault]:
    return lambda url: fault


def _moved(url: str) -> Fault:
    return faults.redirect(f"https://{MOVED}/{network.below(url)}")


def _longer(answer: Answer) -> Answer:
    return replace(answer, length=str(len(answer.body) + 10), cut=len(answer.body))


def _shorter(answer: Answer) -> Answer:
    return replace(answer, length=str(len(answer.body) // 3), cut=len(answer.body))


TRIALS = (
    Trial(HONEST),
    Trial("connection refused", route="nobody", settings={"FETCH_PATIENCE": RETRIES}),
    Trial("no network at all", route="offline"),
    Trial("a self-signed certificate", route="tls"),
    Trial("never answers", _always(faults.slow(HANG)), settings=SHORT),
    Trial("drips", _always(faults.drip(0.2)), settings=SHORT),
    Trial("500 for ever", _always(faults.status(500))),
    Trial(
        "500 twice, then well",
        _always(faults.status(500)),
        times=2,
        settings={"FETCH_PATIENCE": MENDS},
    ),
    Trial("429, wait an hour", _always(faults.status(429, retry_after="3600"))),
    Trial("503 once, wait 1 s", _always(faults.status(503, retry_after="1")), times=1),
    Trial("body cut", _always(faults.cut(0.4))),
    Trial("body cut, no length", _always(faults.cut(0.4, announced=False))),
    Trial("length too small", _always(_shorter)),
    Trial("length too large", _always(_longer)),
    Trial("two lengths", _always(faults.doubled_length(-7))),
    Trial("chunked, without its end", _always(faults.chunked(ends=False))),
    Trial("a web page with 200", _always(faults.html())),
    Trial("an error with 200", _always(faults.error_in_200(ERROR))),
    Trial("an empty answer", _always(faults.changed(lambda body: b""))),
    Trial("moved to another host", _moved),
    Trial("a login page", _always(faults.redirect(f"https://{LOGIN}/"))),
    Trial("a gzip bomb", _always(faults.gzip_bomb(64))),
    Trial("a renamed column", _always(rows.renamed_column)),
    Trial("a third of the rows", _always(rows.fewer_rows(1 / 3)), allowed_by="may_shrink"),
    Trial("no rows", _always(rows.fewer_rows(0)), allowed_by="may_be_empty"),
)


def not_for(trial: Trial, answers: list[Answer]) -> str:
    """Why a trial makes no sense for a source with these answers; empty when it does."""
    if trial.route == "tls" and not shutil.which("openssl"):
        return "openssl is not installed"
    of_rows = trial.name in ("a renamed column", "a third of the rows", "no rows")
    fault = trial.fault("") if of_rows and trial.fault else None
    if fault and all(fault(answer).body == answer.body for answer in answers):
        return "no rows are known in its answers"
    return ""
