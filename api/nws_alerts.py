"""Weather watches, warnings and advisories in effect now.

Publisher  National Weather Service, https://www.weather.gov/documentation/services-web-api
           (GeoJSON by default; a User-Agent with a contact is asked for; /alerts/active takes no
           `limit`)
Rhythm     every minute; none at all is an answer
Corrections  are messages of their own; all that is in effect is read: the next night
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
    """All active alerts, in one answer."""
    nws.fetch(candidate, URL)


if __name__ == "__main__":
    run(SOURCE, fetch)
