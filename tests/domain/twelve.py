"""The publishers of all twelve sources, each with a small slice that passes its data tests.

Rows have the columns of the source's table with the publisher's names; unneeded values are empty.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from publisher import Answer
from upstream import arcgis, fdsn, listing, nws, openfema, socrata
from upstream.world import World, world

from pipeline.settings import BUNDLED, ROOT

DECLARED = "2026-03-01T00:00:00.000Z"
MEASURES = ("CASTHMA", "CHD", "COPD", "CSMOKING", "DIABETES", "MHLTH", "OBESITY", "STROKE")
LAYER = "/T4QMspbfLg3qTGWY/arcgis/rest/services/WFIGS_Incident_Locations_Current/FeatureServer/0"
STORMS = "/pub/data/swdi/stormevents/csvfiles/"
POPULATION = "/programs-surveys/popest/datasets/"
STORM_FILES = {
    "StormEvents_details-ftp_v1.0_d2023_c20240101.csv.gz": None,  # replaced since
    "StormEvents_details-ftp_v1.0_d2022_c20250520.csv.gz": None,  # a year too old
    "StormEvents_details-ftp_v1.0_d2023_c20250731.csv.gz": 2023,
    "StormEvents_details-ftp_v1.0_d2024_c20260323.csv.gz": 2024,
    "StormEvents_details-ftp_v1.0_d2025_c20260323.csv.gz": 2025,
}
PACKAGED = {
    "/npm/us-atlas@3.0.1/counties-10m.json": "census_counties/counties-10m.json",
    "/npm/vega-datasets@3.2.1/data/birdstrikes.csv": "faa_wildlife_strikes/birdstrikes.csv",
    "/npm/vega-datasets@3.2.1/data/airports.csv": "faa_airports/airports.csv",
    "/npm/vega-datasets@3.2.1/data/unemployment.tsv": "bls_unemployment/unemployment.tsv",
}


@dataclass
class Twelve(World):
    """The world with the data sets that tests change, each of its protocol's class."""

    earthquakes: fdsn.EventService
    declarations: openfema.DataSet
    disasters: openfema.DataSet
    wildfires: arcgis.FeatureLayer
    alerts: nws.Alerts
    places: socrata.DataSet


@contextmanager
def twelve() -> Iterator[Twelve]:
    """All publishers, during the context; `mirrors` leads to them."""
    with world() as bare:
        known = Twelve(
            bare.publisher,
            bare.hosts,
            fdsn.EventService(_earthquakes()),
            _declarations(),
            _disasters(),
            arcgis.FeatureLayer(_wildfires(), edited=1_772_000_000_000),
            nws.Alerts([_alert(n) for n in range(5)]),
            _places(),
        )
        known.earthquakes.register(known.publisher, known.place("earthquake.usgs.gov", ""))
        prefix = known.place("www.fema.gov", "")
        openfema.register(known.publisher, prefix, known.declarations, known.disasters)
        known.wildfires.register(known.publisher, known.place("services3.arcgis.com", LAYER))
        known.alerts.register(known.publisher, known.place("api.weather.gov", "/alerts/active"))
        known.places.register(known.publisher, known.place("data.cdc.gov", ""))
        _register_files(known)
        yield known


def _register_files(known: World) -> None:
    for path, file in PACKAGED.items():
        known.answer("cdn.jsdelivr.net", path, Answer((BUNDLED / file).read_bytes()))
    host = "www.ncei.noaa.gov"
    known.answer(host, STORMS, Answer(listing.page(STORMS, sorted(STORM_FILES))))
    for name, year in STORM_FILES.items():
        if year:
            body = gzip.compress(as_csv(*_storms(year)), mtime=0)
            known.answer(host, STORMS + name, Answer(body))
    host, path = "www2.census.gov", POPULATION
    for entry in ("2020-2023/", "counties/", "totals/", "co-est2023-alldata.csv"):
        known.answer(host, path, Answer(listing.page(path, [entry])))
        path += entry
    known.answer(host, path, Answer(as_csv(*_population())))


def columns(source: str) -> list[str]:
    """The columns of a source's table in `load/`, in order."""
    ddl = (ROOT / "load" / f"{source}.sql").read_text()
    names = re.findall(r'^\s+("(?:[^"]|"")+"|\w+) text\b', ddl, re.MULTILINE)
    return [name.strip('"') for name in names]


def row(header: list[str], **known: object) -> list[str]:
    """A row with some values, the others empty."""
    assert set(known) <= set(header), set(known) - set(header)
    return [str(known.get(name, "")) for name in header]


def as_csv(header: list[str], rows: list[list[str]]) -> bytes:
    """A CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def _declarations() -> openfema.DataSet:
    """A county, a whole state and a reservation, for each of four disasters."""
    header = columns("fema_disaster_declarations")
    flags = {f"{name}ProgramDeclared": "1" for name in ("ih", "ia", "pa", "hm")}
    places = [("001", "99001", "Autauga (County)"), ("000", "0", "Statewide")]
    places += [("000", "40000", "A reservation")]
    rows = [
        row(
            header,
            femaDeclarationString=f"DR-{disaster}-AL",
            disasterNumber=disaster,
            state="AL",
            declarationType="DR",
            declarationDate=DECLARED,
            fyDeclared="2026",
            incidentType="Flood",
            declarationTitle='FLOODS, "BIG" ONES',
            incidentBeginDate=DECLARED,
            tribalRequest="0",
            fipsStateCode="01",
            fipsCountyCode=county,
            placeCode=place,
            designatedArea=name,
            lastRefresh=DECLARED,
            hash=f"{disaster}{place}",
            id=f"{disaster}-{place}",
            **flags,
        )
        for disaster in range(4800, 4804)
        for county, place, name in places
    ]
    return openfema.DataSet("DisasterDeclarationsSummaries", header, rows, version=2)


def _disasters() -> openfema.DataSet:
    header = columns("fema_disasters")
    rows = [
        row(
            header,
            disasterNumber=disaster,
            declarationDate=DECLARED,
            disasterName="FLOODS",
            incidentBeginDate=DECLARED,
            declarationType="Major Disaster",
            stateCode="AL",
            stateName="Alabama".ljust(30),
            incidentType="Flood",
            id=f"id-{disaster}",
            hash=str(disaster),
            lastRefresh=DECLARED,
        )
        for disaster in range(4800, 4804)
    ]
    return openfema.DataSet("FemaWebDisasterDeclarations", header, rows)


def _earthquakes() -> list[dict]:
    """90 events with all properties of the service, two per day."""
    bundled = json.loads((BUNDLED / "usgs_earthquakes" / "earthquakes.json").read_bytes())
    names = dict.fromkeys(bundled["features"][0]["properties"])
    now = datetime.now(UTC)
    events = [fdsn.event(f"us{n}", now - timedelta(hours=12 * n), -100, 40) for n in range(90)]
    return [event | {"properties": names | event["properties"]} for event in events]


def _wildfires() -> list[dict]:
    """Incidents with all properties of the layer."""
    names = [n for n in columns("nifc_wildfires") if n not in ("feature_id", "geometry")]
    features = arcgis.points(5)
    for feature in features:
        number = feature["properties"]["OBJECTID"]
        known = {
            "IrwinID": f"{{{number:08X}-0000-0000-0000-000000000000}}",
            "IncidentTypeCategory": "WF",
            "FireDiscoveryDateTime": 1_772_000_000_000 + number,
            "ModifiedOnDateTime_dt": 1_772_000_000_000 + number,
        }
        feature["properties"] = dict.fromkeys(names) | feature["properties"] | known
    return features


def _alert(number: int) -> dict:
    alert = nws.alert(number)
    alert["properties"] |= {"severity": "Moderate", "effective": alert["properties"]["sent"]}
    return alert


def _places() -> socrata.DataSet:
    header = [name for name in columns("cdc_places") if name != ":id"]
    rows = [
        row(
            header,
            year="2023",
            stateabbr="AL",
            statedesc="Alabama",
            locationname="Autauga",
            measure=measure,
            data_value_unit="%",
            data_value="12.5",
            totalpopulation="58805",
            locationid="01001",
            measureid=measure,
            datavaluetypeid=kind,
        )
        for measure in MEASURES
        for kind in ("CrdPrv", "AgeAdjPrv")
    ]
    identified = [[f"row-{number:04}", *values] for number, values in enumerate(rows)]
    return socrata.DataSet("swc5-untb", header, identified)


def _storms(year: int) -> tuple[list[str], list[list[str]]]:
    """An event of a county, one of a forecast zone."""
    header = columns("noaa_storm_events")
    rows = [
        row(
            header,
            BEGIN_YEARMONTH=f"{year}03",
            BEGIN_DAY="2",
            BEGIN_TIME="930",
            END_YEARMONTH=f"{year}03",
            END_DAY="2",
            END_TIME="1000",
            EPISODE_ID=f"{year}",
            EVENT_ID=f"{year}{number}",
            STATE="ALABAMA",
            STATE_FIPS="1",
            YEAR=year,
            MONTH_NAME="March",
            EVENT_TYPE="Hail",
            CZ_TYPE=kind,
            CZ_FIPS="1",
            CZ_NAME="AUTAUGA",
            BEGIN_DATE_TIME=f"02-MAR-{year % 100} 09:30:00",
            CZ_TIMEZONE="CST-6",
            END_DATE_TIME=f"02-MAR-{year % 100} 10:00:00",
            DAMAGE_PROPERTY="10.00K",
            DAMAGE_CROPS="",
            EVENT_NARRATIVE="Hail,\nthen more.",
        )
        for number, kind in enumerate("CZ")
    ]
    return header, rows


def _population() -> tuple[list[str], list[list[str]]]:
    """The states and their counties, each with a population."""
    header = columns("census_population")
    atlas = json.loads((BUNDLED / "census_counties" / "counties-10m.json").read_bytes())
    codes = sorted(shape["id"] for shape in atlas["objects"]["counties"]["geometries"])
    counties = [code for code in codes if code < "57"]
    rows = []
    for state in sorted({code[:2] for code in counties}):
        inside = [code for code in counties if code.startswith(state)]
        rows.append(_people(header, "040", state, "000", 1000 * len(inside)))
        rows += [_people(header, "050", state, code[2:], 1000) for code in inside]
    return header, rows


def _people(header: list[str], level: str, state: str, county: str, count: int) -> list[str]:
    estimates = {name: count for name in header if name.startswith("POPESTIMATE")}
    return row(header, SUMLEV=level, STATE=state, COUNTY=county, CTYNAME="A county", **estimates)
