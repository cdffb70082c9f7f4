"""What a night costs in which one source changed: `.venv/bin/python bench/domain/one_source.py`.

An embedded PostgreSQL in a temporary folder (4 GB must be free there), the four bundled sources
and the other eight at about their real size, and the real dbt project. Stage transform, a process
of its own as in the night, after all twelve sources changed and after one did; beside it dbt's own
start-up: Python, dbt's import, the parse of the project and a build of nothing. Runs alternate;
times are wall clock, medians. "share" is what one changed source costs beyond the start-up, of
what all of them cost beyond it: it has to be under a third.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/domain")]

import lifeline  # noqa: E402

from pipeline import database, embedded, settings  # noqa: E402
from pipeline.database import ledger  # noqa: E402

LARGEST_SHARE = 1 / 3
ONE = ("nws_alerts", "faa_airports", "usgs_earthquakes")
START_UP = """
from pipeline import database, settings
from pipeline.marts.dbt_runner import Dbt
here = settings.load()
with database.connect(here) as connection:
    Dbt(here, connection).build(["no_such_model"])
"""
# How many rows of each source, and a row: `n` is its number, `fips` the code of a county. Columns
# that are not named are null.
ROWS = {
    "usgs_earthquakes": (
        60_000,
        """'us' || n as feature_id, round((2.5 + random() * 4)::numeric, 1) as mag,
        'somewhere' as place, (1700000000000 + n * 1000000)::text as time,
        (1700000000000 + n * 1000000)::text as updated, 'https://earthquake.usgs.gov/' || n as url,
        'reviewed' as status, 0 as tsunami, 100 as sig, 'us' as net, 'ml' as "magType",
        'earthquake' as type, 'M 3.0 - somewhere' as title,
        format('{"type":"Point","coordinates":[%s,%s,10]}',
            -180 + random() * 110, 20 + random() * 50) as geometry""",
    ),
    "fema_disaster_declarations": (
        70_000,
        """format('DR-%s-XX', n / 20 + 1) as "femaDeclarationString", n / 20 + 1 as
        "disasterNumber", 'DR' as "declarationType", '2024-03-01T00:00:00.000Z' as
        "declarationDate", 'Flood' as "incidentType", 'FLOODS' as "declarationTitle",
        '2024-03-01T00:00:00.000Z' as "incidentBeginDate", 0 as "tribalRequest",
        left(fips, 2) as "fipsStateCode", right(fips, 3) as "fipsCountyCode",
        '99' || right(fips, 3) as "placeCode", 'A county' as "designatedArea",
        'XX' as state, n as id, n as hash, 1 as "ihProgramDeclared", 1 as "iaProgramDeclared",
        1 as "paProgramDeclared", 1 as "hmProgramDeclared\"""",
    ),
    "fema_disasters": (
        5_000,
        """n as "disasterNumber", '2024-03-01T00:00:00.000Z' as "declarationDate",
        'FLOODS' as "disasterName", '2024-03-01T00:00:00.000Z' as "incidentBeginDate",
        'Major Disaster' as "declarationType", 'AL' as "stateCode", 'Alabama' as "stateName",
        'Flood' as "incidentType", n as id, n as hash""",
    ),
    "nifc_wildfires": (
        5_000,
        """n as "OBJECTID", format('{%s}', gen_random_uuid()) as "IrwinID", 'Fire ' || n as
        "IncidentName", 'WF' as "IncidentTypeCategory", fips as "POOFips", 'US-CA' as "POOState",
        (1772000000000 + n)::text as "FireDiscoveryDateTime",
        (1772000000000 + n)::text as "ModifiedOnDateTime_dt", 12.5 as "IncidentSize",
        '{"type":"Point","coordinates":[-100.5,40.5]}' as geometry""",
    ),
    "nws_alerts": (
        1_000,
        """'urn:' || n as feature_id, 'https://api.weather.gov/alerts/' || n as "@id",
        'urn:' || n as id, 'A county' as "areaDesc",
        format('{"SAME": ["0%s"], "UGC": []}', fips) as geocode,
        '2026-03-02T03:14:00-06:00' as sent, '2026-03-02T03:14:00-06:00' as effective,
        'Actual' as status, 'Alert' as "messageType", 'Moderate' as severity,
        'Flood Warning' as event, 'Flood Warning issued' as headline""",
    ),
    "noaa_storm_events": (
        200_000,
        """'202403' as "BEGIN_YEARMONTH", 1 + n % 28 as "BEGIN_DAY", '930' as "BEGIN_TIME",
        '202403' as "END_YEARMONTH", 1 + n % 28 as "END_DAY", '1000' as "END_TIME",
        n / 5 as "EPISODE_ID", n as "EVENT_ID", 'ALABAMA' as "STATE", 'Hail' as "EVENT_TYPE",
        case when n % 2 = 0 then 'C' else 'Z' end as "CZ_TYPE", 1 + n % 67 * 2 as "CZ_FIPS",
        'A PLACE' as "CZ_NAME", 'CST-6' as "CZ_TIMEZONE", 0 as "INJURIES_DIRECT",
        0 as "INJURIES_INDIRECT", 0 as "DEATHS_DIRECT", 0 as "DEATHS_INDIRECT",
        '10.00K' as "DAMAGE_PROPERTY", '0.00K' as "DAMAGE_CROPS", '1.25' as "MAGNITUDE",
        '40.5' as "BEGIN_LAT", '-100.5' as "BEGIN_LON",
        repeat('What happened in this episode. ', 12) as "EPISODE_NARRATIVE",
        repeat('What happened there and then. ', 6) as "EVENT_NARRATIVE\"""",
    ),
    "cdc_places": (
        200_000,
        """'row-' || n as ":id", '2023' as year, 'AL' as stateabbr, 'Alabama' as statedesc,
        'A county' as locationname, 'BRFSS' as datasource,
        'Current asthma among adults' as measure, '%' as data_value_unit, '12.5' as data_value,
        58805 as totalpopulation, 45000 as totalpop18plus, fips as locationid,
        (array['CASTHMA', 'CHD', 'COPD', 'CSMOKING', 'DIABETES', 'MHLTH', 'OBESITY', 'STROKE',
            'ACCESS2', 'DEPRESSION', 'DISABILITY', 'MOBILITY', 'GHLTH', 'LPA', 'PHLTH', 'ARTHRITIS',
            'BINGE', 'BPHIGH', 'CANCER', 'DENTAL', 'SLEEP', 'STROKE2', 'TEETHLOST', 'VISION',
            'HEARING', 'COGNITION', 'SELFCARE', 'INDEPLIVE', 'LONELINESS', 'FOODINSECU',
            'HOUSINSECU', 'BPMED'])[1 + n / county_count % 32] as measureid,
        case when n / county_count < 32 then 'CrdPrv' else 'AgeAdjPrv' end as datavaluetypeid""",
    ),
    "census_population": (
        3_100,
        """'050' as "SUMLEV", left(fips, 2) as "STATE", right(fips, 3) as "COUNTY",
        'A state' as "STNAME", 'A county' as "CTYNAME", 1000 as "ESTIMATESBASE2020",
        1000 as "POPESTIMATE2022", 1010 as "POPESTIMATE2023\"""",
    ),
}
# A county for each number: the codes of the bundled map, again and again.
FILL = """
with counties as (
    select
        feature_id as fips,
        row_number() over (order by feature_id) - 1 as number,
        count(*) over () as county_count
    from source.census_counties where feature_id < '57'
), made as (
    select to_jsonb(made) as made
    from generate_series(0, {last}::bigint) as n
    join counties on number = n % county_count
    cross join lateral (select {row}) as made
)
insert into source.{source}
select filled.* from made, jsonb_populate_record(null::source.{source}, made) as filled
"""


def main() -> int:
    """Measure and print; 1 when one changed source costs too much."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    parser.add_argument(
        "--sources", nargs="+", default=ONE, help=f"changed alone ({' '.join(ONE)})"
    )
    asked = parser.parse_args()
    with lifeline.folder("bench-one-source-") as folder:
        here = _here(folder)
        embedded.ensure_running(here)
        try:
            with database.connect(here) as connection:
                _fill(connection)
                seconds, built = _measure(connection, asked)
        finally:
            embedded.stop(here)
    return _print(seconds, built)


def _here(folder: Path) -> settings.Settings:
    given = {"DATA_DIR": str(folder / "data"), "DATABASE_URL": "", "STASH": "off"}
    os.environ |= given
    settings.load.cache_clear()
    return settings.load()


def _fill(connection: psycopg.Connection) -> None:
    """The bundled sources as the pipeline loads them, the others with rows made here."""
    for stage in ("api", "preprocess", "load"):
        _run("./run_pipeline.sh", stage, "--offline")
    for source, (count, row) in ROWS.items():
        connection.execute(f"truncate source.{source}")
        connection.execute(FILL.format(source=source, last=count - 1, row=row))
        connection.execute(f"vacuum analyze source.{source}")
        _change(connection, source)


def _change(connection: psycopg.Connection, source: str) -> None:
    """Let it seem that other rows of a source were loaded: only the ledger knows."""
    number = connection.execute("select count(*) from pipeline.steps").fetchone()[0]
    ledger.begin(connection, "bench", "load", "2026-01-01T00:00:00Z")
    ledger.note(connection, "bench", "load", source, {"outcome": "new"}, f"load {number}")


def _measure(connection: psycopg.Connection, asked) -> tuple[dict[str, list[float]], dict]:
    """Seconds of each run by what changed, and how many tables were published."""
    seconds: dict[str, list[float]] = {}
    built: dict[str, int] = {}
    _transform(connection, settings.sources())  # the first one makes more than rows anew
    for _ in range(asked.runs):
        began = time.perf_counter()
        _run(sys.executable, "-c", START_UP)
        seconds.setdefault("start-up", []).append(time.perf_counter() - began)
        for name in ("all twelve", *asked.sources):
            changed = settings.sources() if name == "all twelve" else [name]
            found, built[name] = _transform(connection, changed)
            seconds.setdefault(name, []).append(found)
    return seconds, built


def _transform(connection: psycopg.Connection, changed: list[str]) -> tuple[float, int]:
    """Seconds of stage transform after these sources changed, and how many tables went out."""
    for source in changed:
        _change(connection, source)
    began = time.perf_counter()
    _run(sys.executable, "-m", "pipeline.stages.transform")
    seconds = time.perf_counter() - began
    facts = ledger.last_build(connection)["facts"]
    if facts["held"] or facts["failed"]:
        sys.exit(f"held: {facts['held']}, failed: {facts['failed']}")
    return seconds, len(facts["published"])


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 2):  # 2: a source is bundled or missing
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr or done.stdout}")


def _print(seconds: dict[str, list[float]], built: dict[str, int]) -> int:
    middle = {name: statistics.median(found) for name, found in seconds.items()}
    start_up = middle.pop("start-up")
    whole = middle["all twelve"] - start_up
    table = Table(title=f"Stage transform; dbt's own start-up takes {start_up:.2f} s")
    for word in ("what changed", "tables", "seconds", "beyond start-up", "share", "under 1/3"):
        table.add_column(word, justify="left" if word == "what changed" else "right")
    shares = {name: (found - start_up) / whole for name, found in middle.items()}
    for name, share in shares.items():
        verdict = "" if name == "all twelve" else "yes" if share < LARGEST_SHARE else "no"
        figures = (f"{middle[name]:.2f}", f"{middle[name] - start_up:.2f}", f"{share:.2f}")
        table.add_row(name, str(built[name]), *figures, verdict)
    Console(width=100).print(table)
    del shares["all twelve"]
    return 0 if max(shares.values()) < LARGEST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
