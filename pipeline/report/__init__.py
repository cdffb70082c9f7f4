"""The report page `data/report/index.html`: what readers have, how the nights went, and charts."""

import psycopg

from pipeline import database, settings
from pipeline.errors import PipelineError
from pipeline.report import charts, metrics, page, reading
from pipeline.report.charts import Drawing
from pipeline.report.facts import Facts
from pipeline.settings import Settings


def collect(here: Settings) -> tuple[Facts, list[Drawing]]:
    """What the page shows: from the database and the disk, or from the disk alone.

    Without a database the facts say so.
    """
    names = settings.sources()
    try:
        with database.connect(here, patience=database.GLANCE) as connection:
            found = reading.read(here, connection, names)
            generations = {table.name: table.generation for table in found.tables}
            return found, charts.drawings(here, connection, generations)
    except (psycopg.Error, PipelineError) as error:
        return reading.without_database(here, names, str(error).rstrip(".")), []


def write(here: Settings, found: Facts, drawings: list[Drawing]) -> None:
    """Write the page and the metrics. Raises OSError."""
    page.write(here, found, drawings)
    metrics.write(here, found)
