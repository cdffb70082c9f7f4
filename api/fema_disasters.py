"""Federally declared disasters since 1953: major disasters, emergencies, fires.

Publisher  Federal Emergency Management Agency (OpenFEMA), one CSV with the whole data set,
           https://www.fema.gov/openfema-data-page/fema-web-disaster-declarations-v1
Rhythm     refreshed every 20 minutes
Corrections  are in the file, which is read as a whole: the next night
One row is one disaster in one state. `disasterNumber` is the key. `id` is not: FEMA says that it
does not persist between refreshes, and `hash` and `lastRefresh` change with it.
"""

from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="FEMA Web Disaster Declarations",
    publisher="Federal Emergency Management Agency",
    page="https://www.fema.gov/openfema-data-page/fema-web-disaster-declarations-v1",
    licence="U.S. public domain",
    licence_page="https://www.fema.gov/about/openfema/terms-conditions",
    kind="csv",
    volatile_columns=("id", "hash", "lastRefresh"),
)
URL = "https://www.fema.gov/api/open/v1/FemaWebDisasterDeclarations.csv"


def fetch(candidate: Candidate) -> None:
    """Download the one file."""
    candidate.download(URL)


if __name__ == "__main__":
    run(SOURCE, fetch)
