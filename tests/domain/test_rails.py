"""Rails: the tasks of the Rakefile; an ActiveRecord client reads prod while it is replaced."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import test_publish
import yaml
from patience import end_of
from psycopg import conninfo
from test_publication import generations
from test_publish import Place

from pipeline.settings import ROOT

place = test_publish.place  # its fixture
MARTS = ROOT / "transform" / "models" / "marts"
# Rows of the published tables: each says in one of its columns which generation it came with.
ROWS = {
    "counties": """
        (county_fips, county_name, state_fips, area_km2)
        select to_char(n, 'FM00000'), '{told}', to_char(1 + n / 100, 'FM00'), n
        from generate_series(1, 200) as n""",
    "county_hazard_profile": """
        (county_fips, county_name, state_fips)
        select to_char(n, 'FM00000'), '{told}', to_char(1 + n / 100, 'FM00')
        from generate_series(1, 200) as n""",
    "hazard_events": """
        (hazard_event_id, hazard_type, county_fips, started_at, source, event_name)
        select 'e' || n, case n % 2 when 0 then 'earthquake' else 'wildfire' end,
            to_char(1 + n % 200, 'FM00000'), '2026-01-01Z'::timestamptz + n * interval '1 h',
            'usgs_earthquakes', '{told}'
        from generate_series(0, 1999) as n
        union all select 'unknown', 'a new kind', null, now(), 'x', '{told}'""",
    "airports": """
        (airport_id, airport_name, county_fips)
        select 'A' || n, '{told}', to_char(n, 'FM00000') from generate_series(1, 200) as n""",
    "county_population": """
        (county_fips, population_by_year)
        values ('00001', '{{"2024": 60342}}')""",
    "county_rings": """
        values ('00001', 1, 1, false, '((0,0),(1,0),(1,1))')""",
}


def blocks(language: str) -> str:
    """The code of docs/rails.md in one language."""
    page = (ROOT / "docs" / "rails.md").read_text()
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))


def statements(number: int, column: str = "") -> str:
    """The published tables of a generation, with the columns and keys of the real marts."""
    made = []
    for name, rows in ROWS.items():
        model = yaml.safe_load((MARTS / f"{name}.yml").read_text())["models"][0]
        columns = [f"{each['name']} {each['data_type']}" for each in model["columns"]]
        (key,) = (each for each in model["constraints"] if each["type"] == "primary_key")
        columns += [column] if column and name in ("counties", "hazard_events") else []
        made.append(
            f"""drop table transformed_next.{name};
            create table transformed_next.{name} ({", ".join(columns)},
                constraint {key["name"]} primary key ({", ".join(key["columns"])}));
            insert into transformed_next.{name} {rows.format(told=f"generation {number}")};"""
        )
    return "".join(made)


# The Rakefile

TASKS = {
    "prod:replicate": ["publish"],
    "prod:rollback": ["publish --rollback"],
    "prod:rollback[12]": ["publish --rollback=12"],
    "prod:rollback[1,2]": ["publish --rollback=1,2"],
    "prod:resume": ["publish --resume"],
    "prod:status": ["status"],
    "prod:list": ["publish --list"],
    "prod:dry_run": ["publish --dry-run"],
    "prod:permissions": ["publish", "publish --audit"],
}


def rake(rakefile: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    if not shutil.which("rake"):
        pytest.skip("rake is not installed")
    return subprocess.run(
        ["rake", "-f", str(rakefile), *words],
        cwd="/",
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """The Rakefile beside a run_pipeline.sh that only notes what it was told."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(ROOT / "Rakefile", folder)
    script = folder / "run_pipeline.sh"
    script.write_text('#!/bin/sh\necho "$@" >> "$NOTED"\neval "$THEN"\n')
    script.chmod(0o755)
    return folder / "Rakefile"


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_a_command_of_the_pipeline(stub, tmp_path, task):
    done = rake(stub, task, NOTED=str(tmp_path / "noted"), THEN="exit 0")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "noted").read_text().splitlines() == TASKS[task]


@pytest.mark.parametrize(("then", "code"), [("exit 78", 78), ("kill -TERM $$", 143)])
def test_rake_ends_as_the_command_ends(stub, tmp_path, then, code):
    done = rake(stub, "prod:list", NOTED=str(tmp_path / "noted"), THEN=then)
    assert (done.returncode, done.stderr) == (code, "")


def test_permissions_are_tried_though_prod_is_behind(stub, tmp_path):
    then = "[ $# = 1 ] && exit 2 || exit 0"
    done = rake(stub, "prod:permissions", NOTED=str(tmp_path / "noted"), THEN=then)
    assert done.returncode == 2
    assert (tmp_path / "noted").read_text().splitlines() == TASKS["prod:permissions"]


def test_rake_tells_of_every_task(stub):
    lines = rake(stub, "-T").stdout.splitlines()
    told = dict(re.fullmatch(r"rake ([\w:]+)\S* +# (.*)", line).groups() for line in lines)
    assert told.keys() == {name.split("[")[0] for name in TASKS}
    assert all(len(sentence.split()) > 4 for sentence in told.values())


def test_tasks_on_a_real_prod(place):
    place.run()
    place.publish_dev(2)
    addresses = {
        "DATABASE_URL": place.here.database_url,
        "PROD_DATABASE_URL": place.here.prod_database_url,
    }
    with psycopg.connect(place.here.prod_database_url, autocommit=True) as reader:

        def after(task: str) -> tuple[int, str, set[int]]:
            done = rake(ROOT / "Rakefile", task, **addresses)
            return done.returncode, done.stdout + done.stderr, generations(reader)

        code, told, there = after("prod:dry_run")
        assert (code, there) == (0, {1})
        assert "generation 1 to 2" in told
        assert after("prod:replicate")[2] == {2}
        code, told, there = after("prod:rollback")
        assert (code, there) == (0, {1})
        code, told, there = after("prod:list")
        assert (code, there) == (0, {1})
        assert re.search(r"^ *1 .*in prod, pinned *$", told, re.MULTILINE)
        assert after("prod:status")[0] == 2
        assert after("prod:resume")[2] == {2}


# ActiveRecord


def has_activerecord() -> bool:
    words = ["ruby", "-e", 'require "active_record"; require "pg"']
    return bool(shutil.which("ruby")) and subprocess.run(words, capture_output=True).returncode == 0


class Application:
    """An application that reads prod as docs/rails.md says."""

    def __init__(self, place: Place, folder: Path):
        self.place, self.folder, self.number = place, folder, 1
        self.release()
        where = conninfo.conninfo_to_dict(place.here.prod_database_url)
        password = folder / "password"
        password.write_text((place.here.state / "app_password").read_text())
        (folder / "database.yml").write_text(blocks("yaml"))
        (folder / "models.rb").write_text(blocks("ruby"))
        self.environment = os.environ | {
            "DATABASE_URL": "postgresql://127.0.0.1:9/primary",
            "HAZARDS_HOST": where["host"],
            "HAZARDS_PORT": where.get("port", "5432"),
            "HAZARDS_DATABASE": where["dbname"],
            "HAZARDS_USER": place.here.app_role,
            "HAZARDS_PASSWORD_FILE": str(password),
            "RAILS_MAX_THREADS": "8",
        }

    def release(self, column: str = "") -> dict:
        """Publish the next generation, in dev and in prod; returns the facts of the stage."""
        self.number += 1
        self.place.publish_dev(self.number, tuple(ROWS), statements(self.number, column))
        facts = self.place.run()
        assert facts["outcome"] == "published", facts
        return facts

    @contextmanager
    def process(self, *words: str) -> Iterator[subprocess.Popen]:
        """The client at work; closing its standard input ends it."""
        with subprocess.Popen(
            ["ruby", str(ROOT / "tests/domain/rails/client.rb"), str(self.folder), *words],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *words: str) -> dict:
        """What the client found."""
        with self.process(*words) as process:
            return answer(process)


def answer(process: subprocess.Popen) -> dict:
    told, complaints = end_of(process, "the application", given="go\n")
    assert told, complaints
    return json.loads(told)


def wait_until_ready(process: subprocess.Popen) -> None:
    assert process.stdout.readline() == "ready\n", process.stderr.read()


@pytest.fixture
def application(place: Place, tmp_path: Path) -> Application:
    if not has_activerecord():
        pytest.skip("ruby, ruby-activerecord or ruby-pg is not installed")
    place.here = replace(place.here, publish_patience=60)
    folder = tmp_path / "application"
    folder.mkdir()
    return Application(place, folder)


def test_models_keys_and_types_are_as_the_page_says(application):
    found = application.run("look")
    counts = {"County": 200, "CountyHazardProfile": 200, "HazardEvent": 2001, "Airport": 200}
    counts |= {"CountyRing": 1, "CountyPopulation": 1}
    status = found["models"].pop("DataStatus")
    assert status >= len(ROWS)
    assert found["models"] == counts
    assert (found["path"], found["prepared"]) == ("transformed", True)
    assert found["classes"] == {
        "area": "BigDecimal",
        "started": "Time",
        "ring": "String",
        "by_year": "Hash",
        "age": "ActiveSupport::Duration",
        "stays_old": "Array",
        "overdue": "TrueClass",
    }
    assert found["values"]["ring"] == "((0,0),(1,0),(1,1))"
    assert found["earthquakes"] == 1000
    assert found["is_earthquake"]
    assert found["unknown"] == [None, "a new kind"]


def test_no_request_fails_while_prod_is_replaced_again_and_again(application, is_long, capsys):
    times = 20 if is_long else 3
    with application.process("read", "8") as process:
        wait_until_ready(process)
        waits = [
            application.release("added text" if number >= times // 2 else "")["readers_waited"]
            for number in range(times)
        ]
        found = answer(process)
    with capsys.disabled():
        print(
            f"\n{found['requests']:,} requests of 8 threads over {times} replications: the longest "
            f"took {found['longest']:.3f} s, prod was locked for {max(waits):.3f} s at most; "
            f"{found['stale_plans']} prepared statements were stale"
        )
    assert found["errors"] == []
    assert found["mixed"] == []
    assert all(set(range(2, 2 + times)) & set(seen) for seen in found["seen"])
    assert {application.number} <= set.union(*map(set, found["seen"]))
    assert found["stale_plans"] > 0, "the added column was never in the way"


def test_a_column_that_is_added_and_prepared_statements(application):
    with application.process("plans") as process:
        wait_until_ready(process)
        application.release("added text")
        found = answer(process)
    assert found == {
        "outside": ["done", "done"],
        "inside": ["ActiveRecord::PreparedStatementCacheExpired", "done"],
        "steady": ["done", "done"],
        "named": ["done", "done"],
        "added": [False, True],
    }


def test_a_lost_connection_costs_the_request_that_had_it(application):
    ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = %s"
    with application.process("lose") as process:
        wait_until_ready(process)
        count = application.place.dev.execute(ended, [application.place.here.app_role]).fetchone()
        found = answer(process)
    assert count == (1,)
    assert found["count"] == 4
    (error,) = found["errors"]
    assert error.startswith("find: ActiveRecord::StatementInvalid: PG::")


def test_the_application_can_write_nothing(application):
    before = application.place.schema(application.place.here.prod_database_url)
    found = application.run("write")
    assert application.place.schema(application.place.here.prod_database_url) == before
    refused = {"ActiveRecord::ReadOnlyRecord", "ActiveRecord::ReadOnlyError"}
    assert set(found["models"].values()) == refused, found["models"]
    by_server = {"PG::ReadOnlySqlTransaction", "PG::InsufficientPrivilege"}
    assert set(found["sql"].values()) <= by_server, found["sql"]
    # The role may lift its own default: what remains are its privileges.
    owned = {"PG::InsufficientPrivilege"}
    assert set(found["lifted"].values()) == owned, found["lifted"]
