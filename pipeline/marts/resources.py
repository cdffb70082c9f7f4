"""Which resources of a dbt project are built, and what to write instead of those that are not.

Every build begins in an empty schema, and all of it can be made again from the sources. What keeps
rows of earlier nights, or cannot be exchanged as a whole, is held with a reason, never built by
rules of its own.
"""

import csv
import hashlib
import re
from pathlib import Path

BUILT = ("model", "seed", "snapshot", "function")  # what dbt makes something of in the database
_OURS = ("source", "pipeline", "transformed")  # schemas that nothing but the pipeline writes to
_TABLE = "write materialized='table'"
_HISTORY = (
    "every build begins anew from the sources, so its rows of earlier nights would be lost; "
    f"{_TABLE}, and let the source keep a file for each period (docs/adding_a_source.md, "
    '"History")'
)
_MATERIALISATIONS = {
    "incremental": f"it is incremental: {_HISTORY}",
    "snapshot": f"it is a snapshot: {_HISTORY}",
    "materialized_view": (
        "it is a materialized view, which dbt refreshes and does not make anew when its SQL "
        f"changes: {_TABLE}, or 'view' below the marts"
    ),
}
# A number that says the same as its text: dbt also takes 01001, 5%, $5 and 1,5 for numbers (15).
_NUMBER = re.compile(
    r"\s*[+-]?(?!0[0-9])(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", re.ASCII
)
_NULL = ("", "null")  # which dbt reads as null


def refusal(node, marts_schema: str) -> str:
    """Why a node of dbt's manifest is not built, and what to write instead; empty if it is built.

    Parameters
    ----------
    node:         a model, seed, snapshot or function.
    marts_schema: where dbt builds what is published.
    """
    kind, made_as = str(node.resource_type), str(node.config.materialized)
    is_mart = node.schema == marts_schema
    if made_as == "ephemeral":  # it is part of the models that read it, and has no schema
        return ""
    if getattr(node, "language", "sql") != "sql":
        return f"it is written in {node.language}, which dbt runs on no PostgreSQL: write SQL"
    if why := _wrong_schema(node, is_mart):
        return why
    if getattr(node.config, "_extra", {}).get("unlogged"):
        return (
            "it is unlogged: a crash of the server would leave readers an empty table, here and in "
            "prod: take unlogged out of its config"
        )
    if made_as in _MATERIALISATIONS:
        return _MATERIALISATIONS[made_as]
    if kind == "model" and made_as == "view":
        return f"it is a view, and marts are tables: {_TABLE}" if is_mart else ""
    if kind == "function":
        where = "give it another schema than the marts', such as staging"
        return f"it is a function, and only tables are published: {where}" if is_mart else ""
    if kind == "seed":
        return _trouble_with_file(node)
    if made_as != "table":
        return f"its materialisation {made_as} is not known here: {_TABLE}, or 'view'"
    return ""


def _wrong_schema(node, is_mart: bool) -> str:
    """Why a node must not be built in the schema that it names."""
    if node.schema in _OURS:
        return (
            f"its schema is {node.schema}, which the pipeline alone writes to: move it to "
            "models/marts, and it is published to transformed"
        )
    if "marts" in getattr(node, "fqn", ()) and not is_mart:
        return (
            f"it is in a folder marts, but its schema is {node.schema}, which is not published: "
            "take schema out of its config, or move it to models/intermediate"
        )
    return ""


def content_of(node) -> str:
    """The SHA-256 of a seed's file: of a large one, dbt itself looks at the path alone."""
    if str(node.resource_type) != "seed":
        return ""
    return hashlib.sha256(_file(node).read_bytes()).hexdigest()


def _trouble_with_file(seed) -> str:
    try:
        return _misread(seed)
    except (ValueError, TypeError, csv.Error) as error:
        return f"its file is not a CSV in UTF-8 with the delimiter that it declares: {error}"


def _misread(seed) -> str:
    """What dbt would take for numbers in a seed although it is written otherwise, as codes are."""
    from dbt_common.clients import agate_helper

    declared = seed.config.column_types
    with _file(seed).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=seed.config.delimiter)
        names = next(rows, [])
        found: dict[str, str] = {}
        for row in rows:
            for name, value in zip(names, row, strict=False):
                is_text = value.strip().lower() not in _NULL and not _NUMBER.fullmatch(value)
                if name not in found and name not in declared and is_text:
                    found[name] = value
    if not found:
        return ""
    read = agate_helper.from_csv(
        str(_file(seed)), text_columns=declared, delimiter=seed.config.delimiter
    )
    kinds = {column.name: type(column.data_type).__name__ for column in read.columns}
    if lost := {name: v for name, v in found.items() if kinds.get(name) in ("Integer", "Number")}:
        shown = ", ".join(f"{name} ({value})" for name, value in lost.items())
        types = ", ".join(f"{name}: text" for name in lost)
        return (
            "dbt would take text for numbers and lose what makes it none, such as leading zeros or "
            f"a percent sign, in {shown}: declare "
            f"column_types: {{{types}}} in its yml"
        )
    return ""


def _file(seed) -> Path:
    return Path(seed.root_path or ".") / seed.original_file_path
