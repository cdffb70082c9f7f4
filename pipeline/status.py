"""`./run_pipeline.sh status`: what readers have now, from the ledger."""

import sys

from pipeline import database, errors, ledger, postgres_place, publish, report, settings


def show() -> int:
    """Print what readers have now; returns 0 when all is well, else 2. Changes nothing."""
    here = settings.load()
    names = settings.sources()
    if not here.database_url and postgres_place.find(here) is None:
        return _say_nothing_ran()
    with database.connect(here, lambda text: None, database.GLANCE) as connection:
        if not ledger.is_there(connection):
            return _say_nothing_ran()
        stages_of = report.from_ledger(connection, names)
        tables = report.published(connection)
        newest = ledger.newest(connection, "transform").get(ledger.ALL_MODELS)
        last = ledger.last_run(connection)
        built = ledger.last_build(connection)
        public = ledger.newest(connection, "publish").get(ledger.PROD)
    notes = report.notes_of(built["facts"]) if built else []
    removed = report.notes_of_removed(built["facts"], names) if built else []
    notes += removed
    if newest and newest["outcome"] == "failed":
        notes.insert(0, f"transform: {newest['reason']} - {newest['remedy']}")
    public = public and public["facts"] | public
    pinned = publish.noted(here).get("pinned")
    if public and pinned and public["outcome"] != "failed":  # since the last night, maybe
        public |= publish.held(pinned) | {"generation": pinned["generation"]}
    if public:
        notes += report.notes_of_prod(public)
    if not tables:
        notes.insert(0, "nothing is published yet: ./run_pipeline.sh")
    report.show(sys.stdout, stages_of, tables, notes)
    if public:
        print(f"prod: {public['outcome']}, generation {public.get('generation')}")
    if last:
        code = last["exit_code"]
        ended = f"{last['ended_at']:%Y-%m-%d %H:%M %Z}"
        print(f"last run: ended {ended} with code {code} ({report.meaning(code)})")
    well = all(report.outcome_of(s)[0] in ("new", "unchanged") for s in stages_of.values())
    well = well and tables and not removed and newest["outcome"] not in ("failed", "held")
    well = well and (not public or public["outcome"] in ("published", "unchanged"))
    return errors.OK if well else errors.DEGRADED


def _say_nothing_ran() -> int:
    print("nothing has run yet: ./run_pipeline.sh")
    return errors.DEGRADED
