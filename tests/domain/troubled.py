"""The twelve publishers with a fault for each source, switched on and off by name.

Requests and bytes are counted by source. Files have an ETag, like those of the real servers; the
bulk CSV of OpenFEMA, the alerts and the listings have none.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from publisher import Answer, Request
from twelve import PACKAGED, Twelve
from upstream import faults

MOVED, LOGIN = "moved.example", "login.example"  # targets of redirects
PLACES = {  # the beginning of every address that a source requests
    **{f"/cdn.jsdelivr.net{path}": file.partition("/")[0] for path, file in PACKAGED.items()},
    "/www.fema.gov/api/open/v1/FemaWeb": "fema_disasters",
    "/www.fema.gov/": "fema_disaster_declarations",
    "/services3.arcgis.com/": "nifc_wildfires",
    "/data.cdc.gov/": "cdc_places",
    "/earthquake.usgs.gov/": "usgs_earthquakes",
    "/api.weather.gov/": "nws_alerts",
    "/www.ncei.noaa.gov/": "noaa_storm_events",
    "/www2.census.gov/": "census_population",
}

Trouble = Callable[[Request, Answer], Answer]


class Troubled:
    """The twelve with their present faults: `troubles` by source, `routes` by host for MIRRORS."""

    def __init__(self, world: Twelve):
        self.world = world
        self.troubles: dict[str, Trouble] = {}
        self.routes: dict[str, str] = {}
        self.asked: Counter[str] = Counter()  # requests, by source
        self.sent: Counter[str] = Counter()  # bytes of bodies, by source
        self._calm = {id(one): (one, dict(vars(one))) for one in self._data_sets()}
        self._refreshes = 0
        self.honest = dict(world.publisher.answers)  # handlers, and files as a list of one response
        for path in self.honest:
            world.publisher.answers[path] = self._handler(path)
            world.publisher.answers[f"/{MOVED}{path}"] = partial(self._honest, path)
        world.answer(MOVED, "/", Answer(b"", 404))
        world.answer(LOGIN, "/", faults.html("Please log in")(Answer()))

    @property
    def mirrors(self) -> str:
        """The value of MIRRORS that leads here, or follows `routes`."""
        url = self.world.publisher.url
        hosts = sorted(self.world.hosts)
        return ",".join(f"{host}={self.routes.get(host, f'{url}/{host}')}" for host in hosts)

    def file(self, name: str) -> bytes:
        """The bytes of the only file or listing whose address has this end."""
        return self.honest[self._path(name)][0].body

    def edit(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Replace the content of that file."""
        self.honest[self._path(name)] = [Answer(change(self.file(name)))]

    def listen(self) -> None:
        """Restart the counters."""
        self.asked.clear()
        self.sent.clear()

    def refresh(self) -> None:
        """Let every publisher announce a newer version of the same data, so that they are read."""
        self._refreshes += 1
        self.world.declarations.refreshed = f"2026-03-02T10:00:00.{self._refreshes:03}Z"
        self.world.wildfires.edited += self._refreshes
        self.world.places.updated += self._refreshes

    def calm(self) -> None:
        """Switch off all faults."""
        self.troubles.clear()
        self.routes.clear()
        for one, members in self._calm.values():
            vars(one).update(members)

    def _path(self, name: str) -> str:
        (path,) = (path for path in self.honest if path.endswith(name))
        return path

    def _data_sets(self) -> list:
        world = self.world
        two = [world.declarations, world.disasters]
        return [*two, world.earthquakes, world.wildfires, world.alerts, world.places]

    def _honest(self, path: str, request: Request) -> Answer:
        answers = self.honest[path]
        return answers(request) if callable(answers) else _tagged(answers[0])

    def _handler(self, path: str) -> Callable[[Request], Answer]:
        source = next(source for place, source in PLACES.items() if path.startswith(place))

        def handler(request: Request) -> Answer:
            answer = self._honest(path, request)
            trouble = self.troubles.get(source)
            is_known = answer.headers.get("ETag") == request.headers.get("If-None-Match", "")
            if trouble:
                answer = trouble(request, answer)
            elif is_known:
                answer = Answer(b"", 304, answer.headers)
            self.asked[source] += 1
            self.sent[source] += len(answer.body)
            return answer

        return handler


def _tagged(answer: Answer) -> Answer:
    if answer.body.startswith(b"<"):  # a listing
        return answer
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:16]}"'
    return replace(answer, headers=answer.headers | {"ETag": tag})


def first(times: float, fault: faults.Fault) -> Trouble:
    """A fault in the first responses only."""
    left = [times]

    def trouble(request: Request, answer: Answer) -> Answer:
        left[0] -= 1
        return fault(answer) if left[0] >= 0 else answer

    return trouble


def always(fault: faults.Fault) -> Trouble:
    """A fault in every response."""
    return first(math.inf, fault)
