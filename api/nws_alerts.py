"""Weather watches, warnings and advisories in effect now.

Publisher  National Weather Service, https://www.weather.gov/documentation/services-web-api
           (GeoJSON by default; the service asks for a User-Agent with a contact; /alerts/active
           does not accept `limit`)
Rhythm     every minute; there may be no alerts at all
Corrections  are separate messages. Everything in effect is read each time: the next night
One row is one message: an alert, its update, its cancellation, or a test of the system.
"""

from pipeline.connectors import nws
from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Active weather alerts",
    publisher="National Weather Service",
    page="https://www.weather.gov/documentation/services-web-api",
    licence="U.S. public domain",
    licence_page="https://www.weather.gov/disclaimer",
    kind="geojson",
    volatile=("updated",),
    may_be_empty=True,
    may_shrink=True,
)
URL = "https://api.weather.gov/alerts/active"


def fetch(candidate: Candidate) -> None:
    """Download all active alerts, in one response."""
    nws.fetch(candidate, URL)


if __name__ == "__main__":
    run(SOURCE, fetch)
