"""The report page: one HTML file that makes no requests and needs no JavaScript."""

import base64
import functools
import hashlib
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pipeline import durable
from pipeline.report import facts as report_facts
from pipeline.report.charts import Drawing
from pipeline.report.facts import Facts
from pipeline.settings import Settings
from pipeline.text import escaped

TEMPLATE = Path(__file__).with_name("page.html")
LATE = timedelta(hours=27)  # a nightly run and three hours of grace
STATES = {"fresh": "good", "held": "bad", "unknown": "bad"}  # all others: a warning
CODES = {0: ("good", "fresh"), 2: ("stale", "degraded")}


def path(here: Settings) -> Path:
    """Where the page is written."""
    return here.data_dir / "report" / "index.html"


def write(here: Settings, facts: Facts, drawings: list[Drawing]) -> Path:
    """Write the page in one step; readers of the file see the old one or the new one."""
    page = path(here)
    page.parent.mkdir(parents=True, exist_ok=True)
    durable.write(page, render(facts, drawings).encode())
    return page


def render(facts: Facts, drawings: list[Drawing]) -> str:
    """The page as HTML; every text of a publisher is escaped."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "number": _number,
        "size": _size,
        "day": _day,
        "moment": _moment,
        "age": functools.partial(_age, facts.made_at),
        "plain": lambda text: escaped(str(text), 600),
        "is_web": _is_web,
    }
    html = environment.from_string(TEMPLATE.read_text("utf-8")).render(
        facts=facts,
        drawings=drawings,
        summary=report_facts.summary(facts),
        late_hours=int(LATE.total_seconds() // 3600),
        sparkline=sparkline,
        state_class=lambda state: STATES.get(state, "stale"),
        code_class=lambda code: CODES.get(code, ("bad", "failed"))[0],
        code_word=_code_word,
        weeks=_weeks(facts),
        longest=max((stage.elapsed for stage in facts.stages), default=0),
    )
    return html.replace("{policy}", _policy(html))


def sparkline(values: list[int]) -> str:
    """A line of numbers as a small SVG; empty when there are fewer than two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    height = max(high - low, 1)
    step = 96 / (len(values) - 1)
    points = " ".join(
        f"{2 + index * step:.1f},{18 - 16 * (value - low) / height:.1f}"
        for index, value in enumerate(values)
    )
    text = f"{len(values)} values, from {values[0]:,} to {values[-1]:,}"
    return (
        f'<svg class="spark" viewBox="0 0 100 20" width="100" height="20" role="img">'
        f'<title>{text}</title><polyline points="{points}"/></svg>'
    )


def _policy(html: str) -> str:
    """A content security policy that allows the page's own style and script and nothing else."""

    def hashes(tag: str) -> str:
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digests = [hashlib.sha256(body.encode()).digest() for body in bodies]
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; style-src {hashes('style')}; script-src {hashes('script')}; "
        "base-uri 'none'; form-action 'none'"
    )


def _weeks(facts: Facts) -> list[list[report_facts.Night | None]]:
    """The nights in rows of seven days from Monday on; None before the first and after the last."""
    if not facts.nights:
        return []
    before = facts.nights[0].day.weekday()
    cells = [None] * before + list(facts.nights)
    cells += [None] * (-len(cells) % 7)
    return [cells[at : at + 7] for at in range(0, len(cells), 7)]


def _code_word(code: int | None) -> str:
    if code is None:
        return "no night ended"
    return CODES.get(code, ("", f"failed, code {code}"))[1]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _size(value: int | None) -> str:
    if value is None:
        return "-"
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return ""


def _day(value: datetime | date | None) -> str:
    return "-" if value is None else f"{value:%Y-%m-%d}"


def _moment(value: datetime | None) -> str:
    return "-" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _is_web(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _age(now: datetime, value: datetime | None) -> str:
    if value is None:
        return "-"
    hours = (now - value).total_seconds() / 3600
    for unit, length in (("years", 8766), ("days", 24), ("hours", 1)):
        if hours >= 2 * length:
            return f"{hours / length:.0f} {unit}"
    return "under 2 hours"
