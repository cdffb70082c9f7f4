"""docs/make_it_yours.md, followed to the letter: an emptied project, and its first source."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from clone import Clone, make_clone
from example_source import EXAMPLE, NAME, ROWS
from publisher import Answer, serving

from pipeline.settings import NO_SOURCES, ROOT

PAGE = (ROOT / "docs" / "make_it_yours.md").read_text()
HOST = "railways.example"
# Fast tests of the engine that look at the tree. The others pass too (tried by hand).
OF_THE_TREE = ("tree", "layers", "faults_guarantees", "fix", "settings", "closure", "data_tests")
DOMAIN = re.compile(r"hazard|earthquake|county|counties|wildfire|airport", re.IGNORECASE)
# Names that earlier versions gave, which must be recognised, and the address of a protocol.
ALLOWED = ("county hazards", "county-hazards-", "earthquake.usgs.gov/fdsnws")


def commands(beginning: str) -> str:
    """The commands of the page's block that begins like this."""
    blocks = re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE)
    (block,) = [block for block in blocks if block.strip().startswith(beginning)]
    return re.sub(r"^    ", "", block, flags=re.MULTILINE)


def run(clone: Clone, command: str) -> None:
    subprocess.run(["bash", "-ec", command], cwd=clone.folder, env=clone.environment, check=True)


@pytest.fixture(scope="module")
def emptied(open_folder) -> Iterator[Clone]:
    """A clone without its domain, under a name of its own."""
    clone = make_clone(open_folder / "a clone of another team")
    run(clone, commands("git rm"))
    path = clone.folder / "pyproject.toml"
    text = re.sub(r'^name = ".*"$', 'name = "our-trains"', path.read_text(), flags=re.MULTILINE)
    path.write_text(text)
    yield clone
    clone.run("db", "stop")


def test_nothing_of_the_domain_is_left(emptied):
    folders = ("pipeline", "publish", "transform", "preprocess", "crontab", "run_pipeline.sh")
    paths = [
        path
        for name in folders
        for path in (emptied.folder / name, *(emptied.folder / name).rglob("*"))
    ]
    lines = [
        f"{path.relative_to(emptied.folder)}: {line.strip()}"
        for path in paths
        if path.is_file() and path.suffix in ("", ".py", ".sql", ".yml", ".sh", ".toml")
        for line in path.read_text().splitlines()
        if DOMAIN.search(line) and not any(name in line for name in ALLOWED)
    ]
    assert lines == []


def test_an_empty_night_is_well_and_says_what_to_do(emptied):
    for command in (
        (),
        ("status",),
        ("doctor", "--offline"),
        ("load",),
        ("transform",),
        ("publish",),
        (),
    ):
        done = emptied.run(*command)
        assert done.returncode == 0, (command, done.stdout + done.stderr)
        assert done.stdout.count(NO_SOURCES) == 1, (command, done.stdout)
        assert "Needs attention" not in done.stdout
    assert "all descriptions follow" in emptied.run("sync").stdout
    done = emptied.run("drill")
    assert done.returncode == 78, done.stdout + done.stderr
    assert done.stderr == f"run_pipeline.sh: {NO_SOURCES}\n"


def test_tests_of_the_engine_pass_without_the_domain(emptied):
    files = [f"tests/test_{name}.py" for name in OF_THE_TREE]
    assert "error" not in printed_by_pytest(emptied, "--collect-only").splitlines()[-1]
    assert re.search(r"^[0-9]+ passed", printed_by_pytest(emptied, *files).splitlines()[-1])


def printed_by_pytest(clone: Clone, *arguments: str) -> str:
    """What pytest prints in a clone."""
    command = [".venv/bin/python", "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=clone.folder,
        env=clone.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return done.stdout


def test_the_first_source_is_loaded_built_and_published(emptied):
    run(emptied, commands("cp -r").splitlines()[0])
    assert "all descriptions follow" in emptied.run("sync").stdout
    done = emptied.run("--offline")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{NAME}: bundled" in done.stdout
    body = (EXAMPLE / "data/bundled" / NAME / f"{NAME}.csv").read_bytes()
    body = body.replace(b"Oak", b"Elm").replace(b"7.222017", b"somewhere")
    with serving() as publisher:
        publisher.answers[f"/{HOST}/{NAME}.csv"] = [Answer(body)]
        done = emptied.run(MIRRORS=f"{HOST}={publisher.url}/{HOST}")
        agents = {request.headers["User-Agent"].partition("/")[0] for request in publisher.requests}
    assert done.returncode == 0, done.stdout + done.stderr
    assert agents == {"our-trains"}
    counted = "select count(*), count(*) filter (where city_name like 'Elm%') > 0 from transformed"
    assert emptied.query(f"{counted}.{NAME}") == [[str(ROWS), "t"]]
    counted = ("db", "psql", "--prod", "--", "-XAtqc", f"{counted}.{NAME}")
    assert emptied.run(*counted).stdout == f"{ROWS}|t\n"
    assert emptied.run("status").returncode == 0
    uncast = "select source_name, column_name, uncastable_count from staging.uncastable_values"
    assert emptied.query(uncast) == [[NAME, "longitude", "1"]]
    rejected = "select reason, value, \"row\" ->> 'ident' from staging.rejected"
    assert [row[1:] for row in emptied.query(rejected)] == [["somewhere", "AAA"]]
