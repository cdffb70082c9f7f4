"""`./run_pipeline.sh sync`: descriptions follow load/<source>.sql."""

from pipeline import durable, errors, settings
from pipeline.schema import descriptions
from pipeline.settings import ROOT


def run() -> int:
    """Write what dbt reads of the sources' tables and columns. Returns the exit code.

    It is DEGRADED while a mart has a column that a person must describe.
    """
    lines, left = write()
    for line in [*lines, *left]:
        print(line)
    if not lines and not left:
        print("all descriptions follow load/*.sql")
    return errors.DEGRADED if left else errors.OK


def write() -> tuple[list[str], list[str]]:
    """Write the generated files; returns what changed, and what a person must do, as sentences."""
    sources = settings.sources()
    changed, left = [], []
    for path, text in (
        (descriptions.SOURCES_FILE, descriptions.sources_file(sources)),
        (descriptions.COLUMNS_FILE, descriptions.columns_file(sources)),
    ):
        if not path.is_file() or path.read_text("utf-8") != text:
            durable.write(path, text.encode())
            changed.append(f"{path.relative_to(ROOT)}: written anew from load/*.sql")
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
    return changed, left
