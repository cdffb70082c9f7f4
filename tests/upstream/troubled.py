"""The twelve publishers with a trouble for each source, switched on and off by name.

What is asked and sent is counted by source. Files have an ETag, as their servers give one; the
bulk CSV of OpenFEMA, the alerts and the listings have none.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from publisher import Answer, Request

from upstream import faults
from upstream.twelve import PACKAGED, Twelve

MOVED, LOGIN = "moved.example", "login.example"  # hosts that redirects lead to
PLACES = {  # the beginning of every address that a source asks for
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
    """The twelve with what ails them now: `troubles` by source, `routes` by host for MIRRORS."""

    def __init__(self, known: Twelve):
        self.known = known
        self.troubles: dict[str, Trouble] = {}
        self.routes: dict[str, str] = {}
        self.asked: Counter[str] = Counter()  # requests, by source
        self.sent: Counter[str] = Counter()  # bytes of bodies, by source
        self._calm = {id(one): (one, dict(vars(one))) for one in self._data_sets()}
        self._refreshes = 0
        self.honest = dict(known.publisher.answers)  # handlers, and files as a list of one answer
        for path in self.honest:
            known.publisher.answers[path] = self._handler(path)
            known.publisher.answers[f"/{MOVED}{path}"] = partial(self._honest, path)
        known.answer(MOVED, "/", Answer(b"", 404))
        known.answer(LOGIN, "/", faults.html("Please log in")(Answer()))

    @property
    def mirrors(self) -> str:
        """The value of MIRRORS that leads here, or where `routes` say."""
        url = self.known.publisher.url
        hosts = sorted(self.known.hosts)
        return ",".join(f"{host}={self.routes.get(host, f'{url}/{host}')}" for host in hosts)

    def file(self, name: str) -> bytes:
        """The bytes of the one file, or listing, whose address ends so."""
        return self.honest[self._path(name)][0].body

    def edit(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Let that file be another from now on."""
        self.honest[self._path(name)] = [Answer(change(self.file(name)))]

    def listen(self) -> None:
        """Count from now on."""
        self.asked.clear()
        self.sent.clear()

    def refresh(self) -> None:
        """Let every publisher tell a newer version of the same data, so that they are asked for."""
        self._refreshes += 1
        self.known.declarations.refreshed = f"2026-03-02T10:00:00.{self._refreshes:03}Z"
        self.known.wildfires.edited += self._refreshes
        self.known.places.updated += self._refreshes

    def calm(self) -> None:
        """Put an end to all troubles, and to what the data sets were made to do."""
        self.troubles.clear()
        self.routes.clear()
        for one, members in self._calm.values():
            vars(one).update(members)

    def _path(self, name: str) -> str:
        (path,) = (path for path in self.honest if path.endswith(name))
        return path

    def _data_sets(self) -> list:
        known = self.known
        two = [known.declarations, known.disasters]
        return [*two, known.earthquakes, known.wildfires, known.alerts, known.places]

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
    """A fault in the first answers, and then no more."""
    left = [times]

    def trouble(request: Request, answer: Answer) -> Answer:
        left[0] -= 1
        return fault(answer) if left[0] >= 0 else answer

    return trouble


def always(fault: faults.Fault) -> Trouble:
    """A fault in every answer."""
    return first(math.inf, fault)
