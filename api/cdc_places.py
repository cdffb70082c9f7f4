"""Health of adults by county: estimated prevalence of chronic diseases, risks and disabilities.

Publisher  Centers for Disease Control and Prevention, PLACES, data set swc5-untb:
           https://data.cdc.gov/500-Cities-Places/PLACES-Local-Data-for-Better-Health-County-Data-20/swc5-untb;
           the measures: https://www.cdc.gov/places/measure-definitions/
Rhythm     one release a year, at the same address; about 230,000 rows
Corrections  change the time of the last update. All rows are then read again: the next night
One row is one measure of one county, crude or age-adjusted; rows for the whole nation are included.
"""

from pipeline.connectors import socrata
from pipeline.stages.api import Candidate, Source, run

SOURCE = Source(
    title="PLACES: Local Data for Better Health, county data",
    publisher="Centers for Disease Control and Prevention, Division of Population Health",
    page="https://www.cdc.gov/places/",
    licence="U.S. government work",
    licence_page="https://www.usa.gov/government-works",
    kind="csv",
    volatile_columns=(":id",),  # changes with every release, even if the row does not
)
HOST = "https://data.cdc.gov"
DATASET = "swc5-untb"
# Listed, because the portal adds and removes columns of its own (:@computed_region_…).
COLUMNS = (
    "year,stateabbr,statedesc,locationname,datasource,category,measure,data_value_unit,"
    "data_value_type,data_value,data_value_footnote_symbol,data_value_footnote,"
    "low_confidence_limit,high_confidence_limit,totalpopulation,totalpop18plus,locationid,"
    "categoryid,measureid,datavaluetypeid,short_question_text,geolocation"
)


def fetch(candidate: Candidate) -> None:
    """Download the whole data set, page by page."""
    socrata.fetch(candidate, HOST, DATASET, select=COLUMNS)


if __name__ == "__main__":
    run(SOURCE, fetch)
