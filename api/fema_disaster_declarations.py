"""Areas designated in federally declared disasters since 1953: counties, reservations, states.

Publisher  Federal Emergency Management Agency (OpenFEMA); the data set and its fields:
           https://www.fema.gov/openfema-data-page/disaster-declarations-summaries-v2, paging:
           https://www.fema.gov/about/openfema/api
Rhythm     refreshed every 20 minutes
Corrections  change the time of the last refresh. All rows are then read again: the next night
One row is one designated area of one disaster. `id` is unique, but a changed row gets a new one;
`hash` and `lastRefresh` change with it.
"""

from pipeline.connectors import openfema
from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="FEMA Disaster Declarations Summaries",
    publisher="Federal Emergency Management Agency",
    page="https://www.fema.gov/openfema-data-page/disaster-declarations-summaries-v2",
    licence="U.S. public domain",
    licence_page="https://www.fema.gov/about/openfema/terms-conditions",
    kind="csv",
    volatile_columns=("id", "hash", "lastRefresh"),
)
SERVICE = "https://www.fema.gov/api/open"
DATASET = "DisasterDeclarationsSummaries"


def fetch(candidate: Candidate) -> None:
    """Download the whole data set, page by page, ordered by columns that stay when ids change."""
    order = "disasterNumber,fipsStateCode,fipsCountyCode,placeCode,id"
    openfema.fetch(candidate, SERVICE, DATASET, version=2, order=order, unique_key="id")


if __name__ == "__main__":
    run(SOURCE, fetch)
