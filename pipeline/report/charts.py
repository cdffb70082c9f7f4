"""Charts of the published data: Altair drawings as static SVG, drawn again only for new data.

Which charts there are is the domain's: `publish/charts.py` lists them as `CHARTS`.
"""

import hashlib
import re
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from pipeline import durable
from pipeline.database.queries import trusted
from pipeline.settings import ROOT, Settings

CHARTS_FILE = ROOT / "publish" / "charts.py"
Query = Callable[[str], list[tuple]]
# Text and axes take the colour of the page, which differs between light and dark.
THEME = {
    "background": "transparent",
    "font": "sans-serif",
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelLimit": 300},
    "header": {"labelColor": "currentColor", "titleColor": "currentColor"},
    "view": {"stroke": "transparent"},
    "geoshape": {"aria": False},
}


@dataclass(frozen=True)
class Chart:
    """One chart of the report page.

    Parameters
    ----------
    name:   letters, digits and `_`; the file name of the cached drawing.
    title:  the heading.
    text:   one or two sentences: what is shown, and what a grey or missing value means.
    tables: the published tables that it shows. It is drawn again when one of them changed.
    draw:   gets a function that runs a query in the dev database and returns its rows; returns an
            Altair chart.
    """

    name: str
    title: str
    text: str
    tables: tuple[str, ...]
    draw: Callable[[Query], Any]


@dataclass(frozen=True)
class Drawing:
    """A chart as it stands on the page: its SVG, or why there is none."""

    title: str
    text: str
    svg: str = ""
    error: str = ""


def declared() -> list[Chart]:
    """The charts of the domain; none when it has no file of charts."""
    if not CHARTS_FILE.is_file():
        return []
    return runpy.run_path(str(CHARTS_FILE))["CHARTS"]


def drawings(
    here: Settings, connection: psycopg.Connection, generations: dict[str, int | None]
) -> list[Drawing]:
    """Draw all charts, or take them from the cache.

    generations: of the published tables, by name. A chart of a table that is not published says so.
    A chart that cannot be drawn is replaced by the reason; it never ends the report.
    """
    folder = here.data_dir / "report" / "charts"
    try:
        charts = declared()
    except Exception as error:  # noqa: BLE001 - the file is the domain's, and may do anything wrong
        return [Drawing("Charts", "", error=f"publish/charts.py cannot be read: {error}")]
    drawn, wanted = [], set()
    for chart in charts:
        if missing := [name for name in chart.tables if name not in generations]:
            error = f"not published yet: {', '.join(missing)}"
            drawn.append(Drawing(chart.title, chart.text, error=error))
            continue
        path = folder / f"{chart.name}-{_key(chart, generations)}.svg"
        wanted.add(path.name)
        drawn.append(_drawn(chart, connection, path))
    for path in folder.glob("*.svg"):
        if path.name not in wanted:
            path.unlink()
    return drawn


def _drawn(chart: Chart, connection: psycopg.Connection, path: Path) -> Drawing:
    if path.is_file():
        return Drawing(chart.title, chart.text, path.read_text("utf-8"))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set transaction read only; set local statement_timeout = '60s'")
            drawing = chart.draw(lambda query: connection.execute(trusted(query)).fetchall())
        svg = _as_svg(drawing)
    except Exception as error:  # noqa: BLE001 - the drawing is the domain's, and may do anything wrong
        reason = f"it cannot be drawn: {type(error).__name__}: {error}"
        return Drawing(chart.title, chart.text, error=reason)
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write(path, svg.encode())
    return Drawing(chart.title, chart.text, svg)


def _key(chart: Chart, generations: dict[str, int | None]) -> str:
    """What a drawing depends on: the code of the charts, the libraries, the tables' generations."""
    parts = [
        CHARTS_FILE.read_text("utf-8"),
        Path(__file__).read_text("utf-8"),
        version("altair"),
        version("vl-convert-python"),
        *(f"{name} {generations[name]}" for name in chart.tables),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _as_svg(chart: Any) -> str:
    """The SVG of an Altair chart, in the colours of the page and without needless digits."""
    import vl_convert

    spec = chart.to_dict()
    spec["config"] = {**spec.get("config", {}), **THEME}
    svg = vl_convert.vegalite_to_svg(spec)
    svg = re.sub(r'(?<=[\d])(\.\d)\d+(?=[^"]*")', r"\1", svg)
    svg = svg.replace(' transform="translate(0,0)"', "")
    # The figure has its own text, and the page's policy forbids style attributes.
    svg = re.sub(r' (?:aria-[a-z]+|role|style|class)="[^"]*"', "", svg)
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    assert size  # every drawing of vl-convert has them
    return svg.replace(size[0], 'aria-hidden="true" focusable="false"', 1)
