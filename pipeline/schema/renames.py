"""Renamed columns, recognised by their values in the last good and the new legible file."""

import csv
from pathlib import Path

LIKELY = 0.5  # from this share of equal values, a column may have been renamed
FEW_ALIKE = 0.1  # a smaller share of rows with equal other columns proves nothing
MOST_COMPARED = 10  # missing columns, and as many new ones
_MEMORY = "1GB"


def found(last: Path, new: Path, gone: list[str], came: list[str]) -> dict[str, tuple[str, float]]:
    """Return which columns may have been renamed: new name -> (old name, share of equal values).

    Rows that are equal in all other columns are compared; if these are few, the values of the whole
    column, in any order.

    gone, came: the missing columns and the new ones.
    """
    if not gone or not came or not last.exists():
        return {}
    import duckdb  # slow to start, and few nights need it

    try:
        with duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": ""}) as engine:
            shares = _shares(engine, last, new, gone[:MOST_COMPARED], came[:MOST_COMPARED])
    # A damaged last file, or too little memory: the new file is rejected without this evidence.
    except (duckdb.Error, UnicodeDecodeError, csv.Error, MemoryError):
        return {}
    likely: dict[str, tuple[str, float]] = {}
    for share, old, name in sorted(shares, key=lambda each: -each[0]):
        if share >= LIKELY and name not in likely and old not in [o for o, _ in likely.values()]:
            likely[name] = old, share
    return likely


def _shares(engine, last: Path, new: Path, gone: list[str], came: list[str]) -> list[tuple]:
    """Return (share of equal values, old name, new name) for every pair."""
    headers = _header(last), _header(new)
    # A property that is missing may still have its column, without values.
    shared = [name for name in headers[0] if name in headers[1] and name not in gone]
    if not (gone := [name for name in gone if name in headers[0]]):
        return []
    for table, path, header, names in (
        ("before", last, headers[0], gone),
        ("after", new, headers[1], came),
    ):
        _read(engine, table, path, header, shared, names)
    pairs = [(old, name) for old in range(len(gone)) for name in range(len(came))]
    counts = [
        f"count(*) filter (b.v{o} = a.v{n}), count(*) filter (coalesce(b.v{o}, a.v{n}) is not null)"
        for o, n in pairs
    ]
    once = "(select * from {} qualify count(*) over (partition by alike) = 1)"
    alike, *counted = engine.execute(
        f"select count(*), {', '.join(counts)} from {once.format('before')} b "  # noqa: S608 - ours
        f"join {once.format('after')} a using (alike)"
    ).fetchone()
    (fewest,) = engine.execute(
        "select least((select count(*) from before), (select count(*) from after))"
    ).fetchone()
    if alike < FEW_ALIKE * fewest:
        counted = [count for o, n in pairs for count in _in_any_order(engine, o, n)]
    return [
        (equal / of if of else 0.0, gone[o], came[n])
        for (o, n), equal, of in zip(pairs, counted[::2], counted[1::2], strict=True)
    ]


def _read(engine, table: str, path: Path, header: list[str], shared: list[str], names) -> None:
    """Read a file as hashes: `alike` of the shared columns, `v0`, `v1` … of the others."""
    column = {name: f"c{number}" for number, name in enumerate(header)}
    types = ", ".join(f"'{each}': 'VARCHAR'" for each in column.values())
    alike = ", ".join(column[name] for name in shared) or "''"
    values = [
        f"case when {column[name]} is not null then hash({column[name]}) end as v{number}"
        for number, name in enumerate(names)
    ]
    engine.execute(
        f"create table {table} as select hash({alike}) as alike, {', '.join(values)} "  # noqa: S608
        "from read_csv(?, header = true, auto_detect = false, delim = ',', quote = '\"', "
        f"escape = '\"', max_line_size = 67108864, columns = {{{types}}})",
        [str(path)],
    )


def _in_any_order(engine, old: int, new: int) -> tuple[int, int]:
    """Return how many values two columns share, and how many the longer one has."""
    return engine.execute(
        f"""with o as (select v{old} as v from before where v is not null),
        n as (select v{new} as v from after where v is not null)
        select (select count(*) from (from o intersect all from n)),
        greatest((select count(*) from o), (select count(*) from n))"""  # noqa: S608 - numbers
    ).fetchone()


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])
