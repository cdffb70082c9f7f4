"""Every guard can be overruled: after any series of nights, one without a fault ends well, with
nothing but `accept`.

A guard that compares with an earlier state may hold a source for ever, where the publisher means
what looks like a fault. The series run in this process, stages api and preprocess with their state
on disk, before a publisher that changes for good, has faults and sees the pipeline killed.
"""

import contextlib
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import pytest

from pipeline import durable, errors, settings, state
from pipeline.cli import accept
from pipeline.errors import SourceError, Transient
from pipeline.formats import delimited, geojson
from pipeline.http.client import Client, Received
from pipeline.raw.source import Source
from pipeline.schema import declaration
from pipeline.stages import api as fetch
from pipeline.stages import preprocess, script

SOURCE = "quakes"
WORDS = ("T", "P", "https://e.gov/", "L", "https://l.gov/")
FIRST = ["key", "state", "size", "note"]
WELL = ("new", "unchanged")


class Killed(BaseException):
    """The process ended here."""


@dataclass
class World:
    """What the publisher has: the columns, and the rows of each year."""

    chance: random.Random
    kind: str
    columns: list[str] = field(default_factory=lambda: list(FIRST))
    years: dict[int, list[list[str]]] = field(default_factory=dict)
    # Years whose file has other columns than the rest: left out, renamed, or in another order.
    left_out: dict[int, str] = field(default_factory=dict)
    renamed: dict[int, tuple[str, str]] = field(default_factory=dict)
    turned: set[int] = field(default_factory=set)
    made: int = 0  # rows so far
    numbers: Iterator[int] = field(default_factory=count)
    fault: Callable[[str, bytes], bytes] | None = None

    def __post_init__(self):
        self.years = {
            year: self.rows(self.chance.choice([3, 30, 60])) for year in range(2020, 2023)
        }

    def rows(self, many: int) -> list[list[str]]:
        return [self.row() for _ in range(many)]

    def row(self) -> list[str]:
        self.made += 1
        known = {"key": f"k{self.made}", "state": self.chance.choice(["AL", "WY"])}
        return [known.get(name, f"{name}{self.chance.randrange(1000)}") for name in self.columns]

    def files(self) -> dict[str, bytes]:
        """The file of each year."""
        write = self.csv if self.kind == "csv" else self.geojson
        each = {year: write(*self.table(year)) for year in self.years}
        return {f"{year}.{self.kind}": text.encode() for year, text in each.items()}

    def table(self, year: int) -> tuple[list[str], list[list[str]]]:
        """The columns and rows that the file of a year has."""
        left_out, (old, new) = self.left_out.get(year), self.renamed.get(year, ("", ""))
        places = [n for n, name in enumerate(self.columns) if name != left_out]
        places = places[::-1] if year in self.turned else places
        names = [new if self.columns[n] == old else self.columns[n] for n in places]
        return names, [[row[n] for n in places] for row in self.years[year]]

    def csv(self, names: list[str], rows: list[list[str]]) -> str:
        """Rows whose last line has no end."""
        return ",".join(names) + "\n" + "\n".join(map(",".join, rows))

    def geojson(self, names: list[str], rows: list[list[str]]) -> str:
        each = [dict(zip(names, row, strict=True)) for row in rows]
        features = [{"type": "Feature", "geometry": None, "properties": one} for one in each]
        return json.dumps({"type": "FeatureCollection", "features": features})

    def answer(self, name: str) -> bytes:
        body = self.files()[name]
        return self.fault(name, body) if self.fault else body

    # What a publisher does, for good.

    def add_a_column(self) -> None:
        self.columns.append(f"more{next(self.numbers)}")
        for rows in self.years.values():
            for row in rows:
                row.append(f"v{self.chance.randrange(100)}")

    def leave_a_column_out_of_a_year(self) -> None:
        self.left_out[self.chance.choice(list(self.years))] = self.chance.choice(self.columns[1:])

    def add_a_column_to_the_newest_year(self) -> None:
        self.add_a_column()
        self.left_out |= dict.fromkeys(sorted(self.years)[:-1], self.columns[-1])

    def rename_a_column_of_a_year(self) -> None:
        new = f"name{next(self.numbers)}"
        year = self.chance.choice(list(self.years))
        self.renamed[year] = self.chance.choice(self.columns[1:]), new

    def turn_the_columns_of_a_year(self) -> None:
        self.turned.add(self.chance.choice(list(self.years)))

    def make_all_years_alike(self) -> None:
        self.left_out, self.renamed, self.turned = {}, {}, set()

    def remove_a_column(self, at: int = -1) -> None:
        if len(self.columns) < 3:
            return
        for row in [self.columns, *(row for rows in self.years.values() for row in rows)]:
            row.pop(at)

    def remove_another_column(self) -> None:
        self.remove_a_column(1)

    def rename_a_column(self) -> None:
        self.columns[self.chance.randrange(len(self.columns))] = f"name{next(self.numbers)}"

    def move_a_column(self) -> None:
        for row in [self.columns, *(row for rows in self.years.values() for row in rows)]:
            row.append(row.pop(0))

    def shorten_the_last_value(self) -> None:
        for rows in self.years.values():
            if rows and len(rows[-1][-1]) > 1:
                rows[-1][-1] = rows[-1][-1][:-1]

    def shrink_a_year(self) -> None:
        rows = self.years[self.chance.choice(list(self.years))]
        del rows[len(rows) // 10 :]

    def empty_a_year(self) -> None:
        self.years[self.chance.choice(list(self.years))].clear()

    def empty_all(self) -> None:
        for rows in self.years.values():
            rows.clear()

    def grow(self) -> None:
        for rows in self.years.values():
            rows += self.rows(400)

    def drop_a_year(self) -> None:
        if len(self.years) > 1:
            del self.years[self.chance.choice(list(self.years))]

    def go_on_a_year(self) -> None:
        self.years[max(self.years) + 1] = self.rows(self.chance.choice([0, 5, 50]))
        self.years.pop(min(self.years))

    def have_news(self) -> None:
        """What every honest night may bring."""
        rows = self.years[max(self.years)]
        if rows or self.chance.random() < 0.3:
            rows.insert(self.chance.choice([0, 0, len(rows)]), self.row())


CHANGES = [
    World.add_a_column, World.remove_a_column, World.remove_another_column, World.rename_a_column,
    World.move_a_column, World.shorten_the_last_value, World.shrink_a_year, World.empty_a_year,
    World.empty_all, World.grow, World.drop_a_year, World.go_on_a_year,
    World.add_a_column, World.remove_a_column, World.shorten_the_last_value,
    World.leave_a_column_out_of_a_year, World.add_a_column_to_the_newest_year,
    World.rename_a_column_of_a_year, World.turn_the_columns_of_a_year, World.make_all_years_alike,
]  # fmt: skip


def cut(name: str, body: bytes) -> bytes:
    return body[: len(body) * 2 // 3]


def cut_in_the_last_row(name: str, body: bytes) -> bytes:
    return body[:-1]


def few(name: str, body: bytes) -> bytes:
    lines = body.split(b"\n")
    return b"\n".join(lines[: max(1, len(lines) // 4)])


def without_header(name: str, body: bytes) -> bytes:
    return body.partition(b"\n")[2]


def other_names(name: str, body: bytes) -> bytes:
    return body.replace(b"state", b"region").replace(b"size", b"extent")


def down(name: str, body: bytes) -> bytes:
    raise Transient("down")


FAULTS = [cut, cut_in_the_last_row, few, without_header, other_names, down]


class Nights:
    """The pipeline, on a data folder of its own."""

    def __init__(self, world: World, monkeypatch):
        self.world, self.monkeypatch, self.code = world, monkeypatch, "1"
        self.source = Source(*WORDS, world.kind, final_newline=False)
        self.names = list(FIRST)  # which the script declares
        self.left = -1  # calls up to the one in which the process is killed
        monkeypatch.setattr(Client, "get", lambda _, url, path, **more: self.get(url, path, **more))
        monkeypatch.setattr(os, "fsync", lambda number: None)  # no power is cut here
        monkeypatch.setattr(preprocess, "_run_data_tests", lambda source, path: None)
        monkeypatch.setattr(preprocess, "code_fingerprint", lambda source: self.code)
        for name in ("write_json", "replace_file", "replace_folder", "write"):
            self.patch(name)

    def patch(self, name: str) -> None:
        whole = getattr(durable, name)

        def killed(*words, **more):
            self.left -= 1
            if self.left == 0:
                raise Killed
            result = whole(*words, **more)
            self.left -= 1
            if self.left == 0:
                raise Killed
            return result

        self.monkeypatch.setattr(durable, name, killed)

    def get(self, url: str, path, headers=None, check=None, **more) -> Received:
        body = self.world.answer(url.rpartition("/")[2])
        path.write_bytes(body)
        check(path, True)
        return Received(url, 200, len(body), hashlib.sha256(body).hexdigest(), "", {})

    def gather(self, candidate) -> None:
        for name in self.world.files():
            candidate.download(f"https://e.gov/{name}")
        candidate.extra["window_begin"] = f"{min(self.world.years)}"

    def make_legible(self, taken, output):
        if self.world.kind == "csv":
            return delimited.write_csv(taken.files, output, final_newline=False)
        return geojson.write_csv(taken.files, output, properties=self.names)

    def run(self) -> list[dict]:
        """Stages api and preprocess, as a night runs them; returns the record of each."""
        options = SimpleNamespace(offline=False, force=False)

        def api(here, options):
            return fetch.work(here, options, self.source, SOURCE, self.gather)

        def make(here, options):
            return preprocess.work(here, options, SOURCE, self.make_legible)

        return [
            script._attempt(stage, SOURCE, work, options)[0]
            for stage, work in (("api", api), ("preprocess", make))
        ]

    def accept(self) -> int:
        return accept.run([SOURCE])

    def maybe_killed(self, work: Callable[[], object], share: float) -> None:
        chance = self.world.chance
        self.left = chance.randrange(1, 12) if chance.random() < share else -1
        with contextlib.suppress(Killed, SourceError):  # there may be nothing to accept
            work()
        self.left = -1


@pytest.fixture
def declared(here, tmp_path, monkeypatch):
    """The declaration of the source, new for each series."""

    def declare(number: int, kind: str):
        monkeypatch.setenv("DATA_DIR", str(tmp_path / str(number)))
        settings.load.cache_clear()
        path = tmp_path / f"{number}.sql"
        names = FIRST if kind == "csv" else ["feature_id", *FIRST, "geometry"]
        columns = ", ".join(f'"{name}" text' for name in names)
        path.write_text(f"create table if not exists source.{SOURCE} ({columns});\n")
        monkeypatch.setattr(declaration, "path", lambda source: path)
        return settings.load()

    return declare


def a_series(nights: Nights) -> list[str]:
    """Some nights with changes, faults and kills; what happened, for whoever has to repeat it."""
    world, chance, said = nights.world, nights.world.chance, []
    for _ in range(chance.randrange(1, 8)):
        for change in chance.sample(CHANGES, chance.choice([0, 0, 1, 1, 2])):
            change(world)
            said.append(change.__name__)
        world.have_news()
        world.fault = chance.choice(FAULTS) if chance.random() < 0.35 else None
        said.append(world.fault.__name__ if world.fault else "a night")
        nights.code = str(chance.randrange(2))  # an upgrade makes everything legible again
        nights.maybe_killed(nights.run, 0.25)
        if chance.random() < 0.2:  # somebody accepts, rightly or not
            nights.maybe_killed(nights.accept, 0.5)
            said.append("accept")
    return said


def series(number: int, declared, monkeypatch, capsys) -> None:
    chance = random.Random(number)
    kind = chance.choice(["csv", "geojson"])
    here = declared(number, kind)
    nights = Nights(World(chance, kind), monkeypatch)
    nights.run()
    said = f"series {number}, {kind}: {', '.join(a_series(nights))}"
    nights.world.fault = None
    for _ in range(2):
        nights.world.have_news()
        api, made = nights.run()
        assert api["outcome"] in WELL, (said, api)
        if made["outcome"] in WELL:
            break
        told = f"./run_pipeline.sh accept {SOURCE}"
        assert told in made["remedy"], (said, made)
        capsys.readouterr()
        assert nights.accept() == errors.OK, (said, made, capsys.readouterr().err)
    assert made["outcome"] in WELL, (said, made)
    assert not state.read(here, SOURCE).keys() & {"rejected", "drift", "headerless"}, said
    published = set(declaration.read(SOURCE).published)
    assert published <= set(made["columns"]), (said, "stage load refuses the file")
    assert len([*nights.world.years]) and made["rows"] == sum(map(len, nights.world.years.values()))


def test_after_any_series_of_nights_one_without_a_fault_ends_well(
    declared, monkeypatch, capsys, is_long
):
    for number in range(1000 if is_long else 20):
        with monkeypatch.context() as patched:
            series(number, declared, patched, capsys)
