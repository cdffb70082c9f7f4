"""Wildland fires burning now: wildfires, prescribed fires and complexes, at their points of origin.

Publisher  National Interagency Fire Center (WFIGS, from IRWIN); criteria and fields:
           https://data-nifc.opendata.arcgis.com/datasets/nifc::wfigs-current-interagency-fire-locations,
           the query: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
Rhythm     every 5 minutes. An incident leaves the layer when it is contained, controlled or out, or
           when it was not updated for 3, 8 or 14 days, depending on its size. The layer is empty at
           New Year
Corrections  change the time of the last edit. The whole layer is then read again: the next night.
           An incident that has left the layer is never corrected; it is no longer in the table
One row is one incident, occasionally two rows: `IrwinID` identifies it, `OBJECTID` does not.
"""

from pipeline.connectors import arcgis
from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="Current interagency wildland fire incident locations (WFIGS)",
    publisher="National Interagency Fire Center",
    page="https://data-nifc.opendata.arcgis.com/datasets/nifc::wfigs-current-interagency-fire-locations",
    licence="U.S. public domain",
    licence_page="https://data-nifc.opendata.arcgis.com/pages/terms-of-use",
    kind="geojson",
    may_be_empty=True,
    may_shrink=True,
)
LAYER = (
    "https://services3.arcgis.com/T4QMspbfLg3qTGWY/arcgis/rest/services"
    "/WFIGS_Incident_Locations_Current/FeatureServer/0"
)


def fetch(candidate: Candidate) -> None:
    """Download every incident of the layer, page by page."""
    arcgis.fetch(candidate, LAYER)


if __name__ == "__main__":
    run(SOURCE, fetch)
