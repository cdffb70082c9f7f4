"""The tree holds together: every source has all its parts, every setting and command its words."""

import ast
import re
import subprocess

import pytest

from pipeline import settings
from pipeline.drill import scratch
from pipeline.settings import ROOT

SOURCES = settings.sources()
PARTS = (
    "api/{}.py",
    "preprocess/{}.py",
    "preprocess/test_{}.py",
    "load/{}.sql",
    "transform/models/staging/stg_{}.sql",
)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_every_part(source, part):
    assert (ROOT / part.format(source)).is_file()


@pytest.mark.parametrize("part", PARTS)
def test_no_part_lacks_its_source(part):
    folder, _, pattern = part.rpartition("/")
    prefix, suffix = pattern.split("{}")
    stems = {
        path.name[len(prefix) : -len(suffix)]
        for path in (ROOT / folder).glob(pattern.format("*"))
        if path.stem != "conftest" and (prefix or not path.name.startswith("test_"))
    }
    assert stems == set(SOURCES)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_declared_to_dbt_and_has_its_table_described(source):
    declared = "".join(
        path.read_text() for path in (ROOT / "transform/models/staging").glob("*.yml")
    )
    assert re.search(rf"name: {source}\b", declared)
    ddl = (ROOT / "load" / f"{source}.sql").read_text().lower()
    columns = re.findall(r'^\s+("(?:[^"]|"")+"|\w+) text\b', ddl, re.MULTILINE)
    assert columns, f"load/{source}.sql declares no column"
    assert f"comment on table source.{source} is" in ddl
    for column in columns:
        assert f"comment on column source.{source}.{column} is" in ddl


@pytest.mark.parametrize("source", SOURCES)
def test_every_script_says_what_one_row_is(source):
    for stage in ("api", "preprocess"):
        text = ast.get_docstring(ast.parse((ROOT / stage / f"{source}.py").read_text()))
        assert "One row is one" in text, f"{stage}/{source}.py"


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_says_how_late_a_correction_may_be(source):
    text = ast.get_docstring(ast.parse((ROOT / "api" / f"{source}.py").read_text()))
    told = re.search(r"^Corrections  (.*?)^One row is one", text, re.MULTILINE | re.DOTALL)
    assert told, f"api/{source}.py does not say how later corrections arrive"
    assert re.search(r"\bnights?\b|\bnever\b", told[1]), f"api/{source}.py does not say by when"


@pytest.mark.parametrize("name", settings.DEFAULTS)
def test_every_setting_stands_in_the_example_and_the_docs(name):
    default = settings.DEFAULTS[name]
    assert re.search(rf"^{name}={re.escape(default)}$", (ROOT / ".env.example").read_text(), re.M)
    assert f"`{name}`" in (ROOT / "docs" / "settings.md").read_text()


def test_the_example_names_no_setting_that_does_not_exist():
    named = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(named) == set(settings.DEFAULTS)


@pytest.mark.parametrize("command", ["status", "doctor", "cron", "db", "accept", "drill", "STAGE"])
def test_every_command_stands_in_the_help(command):
    from pipeline import __main__ as command_line

    assert f"./run_pipeline.sh {command}" in command_line.USAGE


def test_public_functions_say_what_they_do():
    silent = [
        f"{path.name}: {node.name}"
        for path in (ROOT / "pipeline").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_no_file_on_this_branch_is_under_a_git_lfs_pattern():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    attributes = subprocess.run(
        ["git", "check-attr", "-z", "--stdin", "filter"],
        cwd=ROOT,
        input=files,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    assert b"lfs" not in attributes[2::3]


def test_the_lock_has_hashes_and_names_no_index():
    lock = (ROOT / "requirements.txt").read_text()
    assert "--hash=sha256:" in lock
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", lock)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


THEIRS = ("userlist.txt",)  # PgBouncer's
# Examples that are gone once a team has removed the domain: docs/make_it_yours.md.
OF_THE_DOMAIN = (
    ()
    if (ROOT / "tests/domain").is_dir()
    else (
        "api/",
        "preprocess/",
        "publish/charts.py",
        "bench/domain/",
    )
)


def test_files_that_the_documentation_names_are_there():
    tops = [path for path in ROOT.iterdir() if path.name not in (".venv", ".git", "data")]
    paths = [path for top in tops for path in (top, *top.rglob("*"))]
    files = [f"/{path.relative_to(ROOT).as_posix()}" for path in paths]
    named = [
        (page.name, name.removeprefix("./"))
        for page in PAGES
        for name in re.findall(r"`([\w./-]+\.(?:py|sql|md|yml|sh|toml|txt))`", page.read_text())
        if name not in THEIRS and not name.startswith(OF_THE_DOMAIN)
    ]
    assert len(named) > 20
    wrong = [told for told in named if not any(file.endswith(f"/{told[1]}") for file in files)]
    assert not wrong


def test_the_documentation_says_where_pg_restore_is():
    (path,) = re.findall(
        r"^    (\.venv/\S+/pg_restore)\b", (ROOT / "docs/rails.md").read_text(), re.M
    )
    (program,) = ROOT.glob(path)
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert "(PostgreSQL) 18." in done.stdout


def test_a_drill_empties_settings_that_exist():
    assert set(scratch._EMPTY) <= set(settings.DEFAULTS)


def test_links_of_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
