"""What can go wrong with the responses of each protocol, and what must result.

A case is one fault. A unit has one case at a time: a protocol, or a host with all its sources.
`test_faults_fetch.py` passes every case through stage api, which decides about responses;
`test_fault_nights.py` puts them into whole nights.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from publisher import Answer, Request
from troubled import LOGIN, MOVED, PLACES, Trouble, always, first
from twelve import Twelve
from upstream import faults, fdsn

from pipeline.drill.faults import fewer_rows

KEPT, RECOVERED, TAKEN = "kept", "unchanged", "new"
BOMB = faults.gzip_bomb(32)
# Requests of a source in a night without changes, if more than one.
# For earthquakes, three for each of two months, and two for changed and deleted events.
FEW = {"nifc_wildfires": 2, "usgs_earthquakes": 8, "noaa_storm_events": 4, "census_population": 5}
# Their publishers give no version: everything is sent, for earthquakes the newest two months.
ALWAYS_SENT = ("fema_disasters", "nws_alerts", "usgs_earthquakes")


@dataclass(frozen=True)
class Unit:
    """The sources that have one fault at a time; several on one host: one per night, or all."""

    sources: tuple[str, ...]
    data: str = ""  # a pattern for addresses of data; the others are of counts and versions
    at_once: bool = False


PLAIN = ("faa_airports", "bls_unemployment", "faa_wildlife_strikes", "census_counties")
PROTOCOLS = {
    "plain": Unit(PLAIN),
    "bulk": Unit(("fema_disasters",)),
    "openfema": Unit(("fema_disaster_declarations",), r"\$format=csv"),
    "arcgis": Unit(("nifc_wildfires",), "f=geojson"),
    "socrata": Unit(("cdc_places",), r"\.csv\?"),
    "fdsn": Unit(("usgs_earthquakes",), "/query"),
    "nws": Unit(("nws_alerts",)),
    "gzip-listing": Unit(("noaa_storm_events",), r"\.gz$"),
    "csv-listing": Unit(("census_population",), r"\.csv$"),
}
FILES = ("plain", "bulk", "gzip-listing", "csv-listing")


def hosts() -> dict[str, Unit]:
    """Every host with all its sources."""
    found: dict[str, Unit] = {}
    for place, source in PLACES.items():
        host = place.split("/")[1]
        unit = found.get(host, Unit((), at_once=True))
        found[host] = replace(unit, sources=(*unit.sources, source))
    return found


@dataclass(frozen=True)
class Case:
    """A case: the fault, the reason that must be reported, and the outcome."""

    name: str
    cause: str  # a pattern for the reason
    make: Callable[[], Trouble] = lambda: always(lambda answer: answer)
    at: str = "data"  # which responses: "data", the "rest", or "all"
    route: str = ""  # where MIRRORS send a host
    does: dict[str, Callable[[Twelve], object]] = field(default_factory=dict)  # by unit
    instead: dict[str, Trouble] = field(default_factory=dict)  # of `make`, by unit
    ends: str = KEPT
    # Units with another outcome (empty if the case makes no sense), and the reason.
    but: dict[str, tuple[str, str]] = field(default_factory=dict)

    def outcome(self, unit: str) -> str:
        return self.but.get(unit, (self.ends, ""))[0]

    @property
    def is_of_rows(self) -> bool:
        """Whether only the number of rows may show it: then stage preprocess decides."""
        return bool(re.search("are usual|no row", self.cause))


def no_sense(units: tuple[str, ...], why: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(units, ("", why))


def simple(fault: faults.Fault) -> Callable[[], Trouble]:
    return lambda: always(fault)


def echo(request: Request, answer: Answer) -> Answer:
    """A refusal that repeats the request, including keys."""
    return Answer(str(request.headers).encode(), 403)


def to(place: str) -> Trouble:
    """A redirect to the same path below a place."""
    return lambda request, answer: faults.redirect(f"{place}{request.path}")(answer)


def silent(answer: Answer) -> Answer:
    """The connection is closed without a response."""
    return Answer(send=lambda file: None)


def resized(factor: float) -> faults.Fault:
    """The body with a wrong length; then the connection ends."""

    def fault(answer: Answer) -> Answer:
        size = len(answer.body)
        return replace(answer, length=str(int(size * factor)), cut=size)

    return fault


def features(change: Callable[[list], list]) -> Trouble:
    """The features of a document changed by a function, and their count."""

    def edit(body: bytes) -> bytes:
        document = json.loads(body)
        return json.dumps(document | {"features": change(document["features"])}).encode()

    return always(faults.changed(edit))


def and_more(body: bytes) -> bytes:
    """An empty page of features that says that more follow."""
    return json.dumps(
        {"type": "FeatureCollection", "exceededTransferLimit": True, "features": []}
    ).encode()


def error_of(body: bytes) -> Trouble:
    return always(faults.error_in_200(body))


def grow_rows(name: str) -> Callable[[Twelve], None]:
    """Let a data set have one more row whenever a page of it is requested."""

    def grow(world: Twelve) -> None:
        data = getattr(world, name)

        def more(what: str, asked: dict) -> None:
            if what == "page":
                data.rows = [*data.rows, [f"{value}+" for value in data.rows[-1]]]

        data.before = more

    return grow


def grow_features(world: Twelve) -> None:
    """Let a layer have one more feature whenever a page of it is requested."""
    layer = world.wildfires

    def more(what: str, asked: dict) -> None:
        if what == "page":
            last = layer.features[-1]
            added = last["properties"] | {"OBJECTID": last["properties"]["OBJECTID"] + 1}
            layer.features = [*layer.features, last | {"properties": added}]

    layer.before = more


def grow_events(world: Twelve) -> None:
    """Let a window have one more event whenever it is requested."""
    service = world.earthquakes

    def more(what: str, asked: dict) -> None:
        if what == "query":
            when = datetime.fromisoformat(asked["starttime"]).replace(tzinfo=UTC)
            added = fdsn.event(f"late{len(service.asked)}", when, -100, 40)
            service.events = [*service.events, added]

    service.before = more


def pages_of(rows: int, **does: object) -> dict[str, Callable[[Twelve], None]]:
    """OpenFEMA and Socrata with fewer rows per page than requested, and a fault."""
    made = {"real_cap": rows} | does
    return {
        "openfema": lambda world: vars(world.declarations).update(made),
        "socrata": lambda world: vars(world.places).update(made),
    }


def third(name: str, member: str) -> Callable[[Twelve], None]:
    """Let a data set have a third of its rows, in its counts too."""

    def cut(world: Twelve) -> None:
        data = getattr(world, name)
        whole = getattr(data, member)
        setattr(data, member, whole[-len(whole) // 3 :])

    return cut


def at(which: str, data: str, trouble: Trouble) -> Trouble:
    """A fault in some responses of a source only."""

    def chosen(request: Request, answer: Answer) -> Answer:
        kind = "data" if re.search(data, request.path) else "rest"
        return trouble(request, answer) if which in ("all", kind) else answer

    return chosen


FILE = "one answer is all there is: nothing is cut into pages or read for long"
NOT_PAGED = no_sense(FILES, FILE)
MANY = (  # one per protocol; a retry that cannot help is not made
    Case("500", "answered 500", simple(faults.status(500)), "all"),
    Case("404", "answered 404", simple(faults.status(404)), "all"),
    Case("403 with our keys", "answered 403", lambda: echo, "all"),
    Case("silence", "without response|[Cc]losed|aborted", simple(silent), "all"),
    Case("cut", "cut after|bytes arrived", simple(faults.cut(0.4))),
    Case(
        "cut without a length",
        "no end|has no end|are usual|came where",
        simple(faults.cut(0.4, announced=False)),
    ),
    Case(
        "cut at a line",
        "are usual|no row|came where",
        simple(faults.cut_at_a_line(0.3)),
        but=no_sense(("arcgis", "fdsn", "nws"), "a document of one line")
        | no_sense(("gzip-listing",), "what is packed has no lines on its way"),
    ),
    Case("chunked without end", "cut after", simple(faults.chunked(ends=False))),
    Case(
        "length too small",
        "no end|are usual|no row|came where|a row of [0-9]+ fields",
        simple(resized(0.3)),
    ),
    Case("length too large", "cut after|bytes arrived", simple(resized(1.5))),
    Case("two lengths", "Content-Length", simple(faults.doubled_length(-7))),
    Case("web page", "a web page came", simple(faults.html())),
    Case(
        "error in 200",
        "an error came with status 200|JSON came instead|no gzip came|no FeatureCollection came",
        lambda: error_of(b'{"error": {"code": 400, "message": "Unable to complete operation."}}'),
        instead={
            "socrata": error_of(b'{"code": "query.execution", "error": true, "message": "no"}'),
            "nws": error_of(b'{"type": "about:blank", "title": "Bad Request", "status": 400}'),
        },
    ),
    Case("empty answer", "the response is empty", simple(faults.changed(lambda body: b""))),
    Case(
        "no rows",
        "no row in it|came where",
        simple(fewer_rows(0)),
        but={"nws": (TAKEN, "no alert is an answer")},
    ),
    Case(
        "a third of the rows",
        "are usual|no row in it",
        does={
            "openfema": third("declarations", "rows"),
            "arcgis": third("wildfires", "features"),
            "socrata": third("places", "rows"),
            "fdsn": third("earthquakes", "events"),
            "nws": third("alerts", "alerts"),
        },
        instead=dict.fromkeys(FILES, always(fewer_rows(1 / 3))),
        but=dict.fromkeys(("arcgis", "nws"), (TAKEN, "declared to shrink")),
    ),
    Case(
        "rows again",
        "came where|came twice",
        does=pages_of(5, repeats=1),
        instead=dict.fromkeys(("arcgis", "fdsn", "nws"), features(lambda all: [*all, *all[:1]])),
        but=NOT_PAGED,
    ),
    Case(
        "rows left out",
        "came where",
        does=pages_of(5, skips=1),
        instead=dict.fromkeys(("arcgis", "fdsn"), features(lambda all: all[1:])),
        but=NOT_PAGED | no_sense(("nws",), "nothing counts the alerts"),
    ),
    Case(
        "growing while read",
        "changed while reading|came where|answered 404",
        does={
            "openfema": grow_rows("declarations"),
            "socrata": grow_rows("places"),
            "arcgis": grow_features,
            "fdsn": grow_events,
        },
        but=no_sense(("plain", "bulk", "nws"), FILE),
        instead={
            "gzip-listing": always(faults.status(404)),
            "csv-listing": always(faults.status(404)),
        },
    ),
    Case(
        "a smaller page than told",
        "",
        does=pages_of(5) | {"arcgis": lambda world: vars(world.wildfires).update(real_cap=2)},
        ends=RECOVERED,
        but=NOT_PAGED | no_sense(("fdsn", "nws"), "the service is not asked for pages"),
    ),
    Case(
        "pages without end",
        "came where|which was read already|came cut",
        does={
            "openfema": lambda world: vars(world.declarations).update(
                real_cap=5, ignores_skip=True
            ),
            "socrata": lambda world: vars(world.places).update(real_cap=5, repeats=10**6),
            "nws": lambda world: vars(world.alerts).update(
                next_is="https://api.weather.gov/alerts/active"
            ),
        },
        instead={"arcgis": always(faults.changed(and_more))},
        but=NOT_PAGED | no_sense(("fdsn",), "a window is one answer"),
    ),
    Case("a login page", "a web page came", simple(faults.redirect(f"https://{LOGIN}/"))),
    Case("moved", "", lambda: to(f"https://{MOVED}"), ends=RECOVERED),
    Case("moved to http", "is not followed", lambda: to("http://127.0.0.1"), "all"),
    Case("gzip bomb", "expands without end", simple(BOMB)),
    Case(
        "nonsense about the data",
        "not a description|not the catalogue|no object id|not a count|no listed|none of that name",
        lambda: error_of(b"{}"),
        "rest",
        but=no_sense(("plain", "bulk", "nws"), "nothing is asked before the data"),
    ),
)

ONCE_MORE = (  # a retry helps
    Case("500 twice", "", lambda: first(2, faults.status(500)), "all", ends=RECOVERED),
    Case(
        "429, wait 1 s",
        "",
        lambda: first(1, faults.status(429, retry_after="1")),
        "all",
        ends=RECOVERED,
    ),
    Case("cut once", "", lambda: first(1, faults.cut(0.4)), ends=RECOVERED),
    Case("silent once", "", lambda: first(1, silent), "all", ends=RECOVERED),
    Case("late", "", lambda: first(2, faults.slow(1)), "all", ends=RECOVERED),
)
LONG = (  # what never ends
    Case("hang", "took longer than|stopped after", simple(faults.slow(20)), "all"),
    Case("drip", "took longer than|stopped after", simple(faults.drip(0.5)), "all"),
)
WHOLE_HOSTS = (
    Case("refused", "[Rr]efused", route="nobody"),
    Case("self-signed", "certificate was refused", route="tls"),
    Case(
        "503, wait an hour",
        "answered 503|asked us to wait",
        simple(faults.status(503, retry_after="3600")),
        "all",
    ),
    Case(
        "429, wait until",
        "answered 429|asked us to wait",
        simple(faults.status(429, retry_after=3600.0)),
        "all",
    ),
)
