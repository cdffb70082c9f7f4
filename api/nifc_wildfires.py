"""Wildland fires burning now: wildfires, prescribed fires and complexes, where they began.

Publisher  National Interagency Fire Center (WFIGS, from IRWIN); criteria and fields:
           https://data-nifc.opendata.arcgis.com/datasets/nifc::wfigs-current-interagency-fire-locations,
           the query: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/
Rhythm     every 5 minutes; an incident leaves when it is contained, controlled or out, or was
           not updated for 3, 8 or 14 days by its size; the layer is empty at New Year
Corrections  move the time of the last edit, after which the whole layer is read: the next night.
           Those of an incident that has left the layer never come: nor is it in the table
One row is one incident, twice at times: `IrwinID` tells, `OBJECTID` does not.
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
    """Every incident of the layer, page by page."""
    arcgis.fetch(candidate, LAYER)


if __name__ == "__main__":
    run(SOURCE, fetch)
