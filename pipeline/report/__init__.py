"""The report page `data/report/index.html`: what readers have, how the nights went, and charts."""

import psycopg

from pipeline import database, settings
from pipeline.errors import PipelineError
from pipeline.report import charts, facts, metrics, page
from pipeline.report.facts import Facts
from pipeline.settings import Settings


def write(here: Settings) -> Facts:
    """Write the page and the metrics from what the database and the disk tell now; returns that.

    Without a database the page says so, and shows what the disk tells. Raises OSError.
    """
    names = settings.sources()
    try:
        with database.connect(here, patience=database.GLANCE) as connection:
            found = facts.read(here, connection, names)
            generations = {table.name: table.generation for table in found.tables}
            drawings = charts.drawings(here, connection, generations)
    except (psycopg.Error, PipelineError) as error:
        found, drawings = facts.without_database(here, names, str(error).rstrip(".")), []
    page.write(here, found, drawings)
    metrics.write(here, found)
    return found
