"""Earthquakes and other seismic events of magnitude 2.5 and above, worldwide, for 24 months.

Publisher  U.S. Geological Survey, https://earthquake.usgs.gov/fdsnws/event/1/
Rhythm     events appear within minutes and are revised or deleted for weeks
Corrections  of the newest two months arrive with the files that are read every night. For older
           months the script asks the service what it changed and deleted (`updatedafter`,
           `includedeleted`): the next night. If the service does not say, one month is read again
           each night: 22 nights at most
One row is one seismic event.
"""

from pipeline.connectors.fdsn import fetch_months
from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Earthquakes, USGS event service",
    publisher="U.S. Geological Survey, Earthquake Hazards Program",
    page="https://earthquake.usgs.gov/fdsnws/event/1/",
    licence="U.S. public domain",
    licence_page="https://www.usgs.gov/information-policies-and-instructions/copyrights-and-credits",
    kind="geojson",
    volatile=("metadata.generated", "metadata.url", "metadata.api"),
)
SERVICE = "https://earthquake.usgs.gov/fdsnws/event/1"


def fetch(candidate: Candidate) -> None:
    """Download a file per month; reread the newest two and those with corrections."""
    fetch_months(candidate, SERVICE, months=24, reread=2, minmagnitude=2.5)


if __name__ == "__main__":
    run(SOURCE, fetch)
