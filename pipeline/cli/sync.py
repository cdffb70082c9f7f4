"""`./run_pipeline.sh sync`: descriptions follow load/<source>.sql."""

from typing import NamedTuple

from pipeline import durable, errors, settings
from pipeline.errors import SetupError
from pipeline.schema import descriptions
from pipeline.settings import ROOT


class Changes(NamedTuple):
    """What was written, and what a person must do, one sentence each."""

    changed: list[str]
    left: list[str]


def run() -> int:
    """Write what dbt reads of the sources' tables and columns. Returns the exit code.

    It is DEGRADED while a mart has a column that a person must describe.
    """
    changes = write()
    for line in [*changes.changed, *changes.left]:
        print(line)
    if not any(changes):
        print("all descriptions follow load/*.sql")
    return errors.DEGRADED if changes.left else errors.OK


def write() -> Changes:
    """Write the generated files, and describe the new columns of marts.

    A table that another file declares to dbt stays out of the generated one.
    Raises SetupError when a person wrote the file that would be replaced.
    """
    sources = settings.sources()
    _keep_what_a_person_wrote()
    elsewhere = descriptions.declared_elsewhere()
    changed, left = [], []
    for path, text in (
        (
            descriptions.SOURCES_FILE,
            descriptions.sources_file([name for name in sources if name not in elsewhere]),
        ),
        (descriptions.COLUMNS_FILE, descriptions.columns_file(sources)),
    ):
        before = path.read_text("utf-8") if path.is_file() else ""
        if before != text and (before or sources):
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.write(path, text.encode())
            changed.append(f"{path.relative_to(ROOT)}: rewritten from load/*.sql")
    for mart in descriptions.marts():
        described = mart.path.with_suffix(".yml")
        where = described.relative_to(ROOT)
        text, added, missing = descriptions.with_new_columns(mart)
        if added:
            durable.write(described, text.encode())
            changed.append(f"{where}: added {', '.join(added)}")
        left += [
            f"{where}: {name} is missing; write its data_type and its description"
            for name in missing
        ]
        left += [
            f"{where}: doc('{block}') refers to a column that load/*.sql does not describe"
            for block in descriptions.broken_references(mart, sources)
        ]
    return Changes(changed, left)


def _keep_what_a_person_wrote() -> None:
    path = descriptions.SOURCES_FILE
    if path.is_file() and not path.read_text("utf-8").startswith(descriptions.GENERATED):
        raise SetupError(
            f"{path.relative_to(ROOT)} was written by hand, and sync would replace it",
            "move what you added (tests, other tables) to another yml file beside it, delete it, "
            "and run sync again",
        )
