"""Which resources of a dbt project are built, and what to write instead of the others.

Every build begins in an empty schema, and all of it can be rebuilt from the sources. A resource
that keeps rows of earlier nights, or that cannot be replaced as a whole, is held with a reason.
"""

import csv
import hashlib
import re
from pathlib import Path

BUILT = ("model", "seed", "snapshot", "function")  # what dbt builds in the database
_OURS = ("source", "pipeline", "transformed")  # schemas that only the pipeline writes to
_TABLE = "write materialized='table'"
_HISTORY = (
    "every build starts again from the sources, so its rows of earlier nights would be lost; "
    f"{_TABLE}, and let the source keep a file for each period (docs/adding_a_source.md, "
    '"History")'
)
_MATERIALISATIONS = {
    "incremental": f"it is incremental: {_HISTORY}",
    "snapshot": f"it is a snapshot: {_HISTORY}",
    "materialized_view": (
        "it is a materialized view, which dbt refreshes but does not recreate when its SQL "
        f"changes: {_TABLE}, or 'view' below the marts"
    ),
}
# A number that equals its text: dbt also takes 01001, 5%, $5 and 1,5 for numbers (15).
_NUMBER = re.compile(
    r"\s*[+-]?(?!0[0-9])(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", re.ASCII
)
_NULL = ("", "null")  # dbt reads these as null


def refusal(node, marts_schema: str) -> str:
    """Why a node of dbt's manifest is not built, and what to write instead; empty if it is built.

    Parameters
    ----------
    node:         a model, seed, snapshot or function.
    marts_schema: where dbt builds what is published.
    """
    kind, materialised = str(node.resource_type), str(node.config.materialized)
    is_mart = node.schema == marts_schema
    if materialised == "ephemeral":  # part of the models that read it, without a schema
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
    if materialised in _MATERIALISATIONS:
        return _MATERIALISATIONS[materialised]
    if kind == "model" and materialised == "view":
        return f"it is a view, and marts are tables: {_TABLE}" if is_mart else ""
    if kind == "function":
        where = "give it another schema than the marts', such as staging"
        return f"it is a function, and only tables are published: {where}" if is_mart else ""
    if kind == "seed":
        return _check_seed(node)
    if materialised != "table":
        return f"its materialisation {materialised} is not supported: {_TABLE}, or 'view'"
    return ""


def _wrong_schema(node, is_mart: bool) -> str:
    """Why a node must not be built in its schema; empty if it may."""
    if node.schema in _OURS:
        return (
            f"its schema is {node.schema}, which only the pipeline writes to: move it to "
            "models/marts, and it is published to transformed"
        )
    if "marts" in getattr(node, "fqn", ()) and not is_mart:
        return (
            f"it is in a folder marts, but its schema is {node.schema}, which is not published: "
            "take schema out of its config, or move it to models/intermediate"
        )
    return ""


def content_of(node) -> str:
    """The SHA-256 of a seed's file, because of a large one dbt hashes only the path."""
    if str(node.resource_type) != "seed":
        return ""
    return hashlib.sha256(_file(node).read_bytes()).hexdigest()


def _check_seed(seed) -> str:
    """Why dbt would not read a seed's file as it is written; empty if it would."""
    try:
        lost = _lost_texts(seed)
    except (ValueError, TypeError, csv.Error) as error:
        return f"its file is not a CSV in UTF-8 with the delimiter that it declares: {error}"
    if not lost:
        return ""
    shown = ", ".join(f"{name} ({value})" for name, value in lost.items())
    types = ", ".join(f"{name}: text" for name in lost)
    return (
        "dbt would read text as numbers and lose, for example, leading zeros or a percent sign, "
        f"in {shown}: declare column_types: {{{types}}} in its yml"
    )


def _lost_texts(seed) -> dict[str, str]:
    """The columns of a seed that dbt reads as numbers although a value, here its first, is text."""
    from dbt_common.clients import agate_helper

    declared = seed.config.column_types
    texts: dict[str, str] = {}
    with _file(seed).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=seed.config.delimiter)
        names = next(rows, [])
        for row in rows:
            for name, value in zip(names, row, strict=False):
                is_text = value.strip().lower() not in _NULL and not _NUMBER.fullmatch(value)
                if is_text and name not in declared:
                    texts.setdefault(name, value)
    if not texts:
        return {}
    table = agate_helper.from_csv(
        str(_file(seed)), text_columns=declared, delimiter=seed.config.delimiter
    )
    kinds = {column.name: type(column.data_type).__name__ for column in table.columns}
    return {name: v for name, v in texts.items() if kinds.get(name) in ("Integer", "Number")}


def _file(seed) -> Path:
    return Path(seed.root_path or ".") / seed.original_file_path
