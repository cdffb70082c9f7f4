"""`data/report/metrics.prom`: numbers for the textfile collector of Prometheus' node_exporter.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pipeline import durable
from pipeline.report.facts import Facts
from pipeline.settings import Settings

HELP = {
    "pipeline_report_timestamp_seconds": "When this file was written.",
    "pipeline_night_started_timestamp_seconds": "When the newest night began.",
    "pipeline_night_exit_code": "Exit code of the newest night: 0 fresh, 2 degraded, else failed.",
    "pipeline_source_fresh": "1 if the publisher's newest data are published, else 0.",
    "pipeline_source_overdue": "1 if the source was not checked in time, else 0.",
    "pipeline_source_as_of_timestamp_seconds": "The date of the data of a source.",
    "pipeline_source_rows": "Rows of a source's table.",
    "pipeline_table_held": "1 if readers keep older rows of the table, else 0.",
    "pipeline_table_as_of_timestamp_seconds": "The date of the data of a published table.",
    "pipeline_table_rows": "Rows of a published table.",
    "pipeline_stage_seconds": "Duration of a stage in the newest night.",
}


def write(here: Settings, facts: Facts) -> Path:
    """Write the file in one step, as the collector demands."""
    path = here.data_dir / "report" / "metrics.prom"
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write(path, render(facts).encode())
    return path


def render(facts: Facts) -> str:
    """The metrics of these facts; what is not known is left out."""
    samples: dict[str, list[str]] = {name: [] for name in HELP}
    for name, labels, value in _samples(facts):
        if value is not None:
            samples[name].append(f"{name}{labels} {value:.15g}")
    lines = []
    for name, found in samples.items():
        if found:
            lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge", *found]
    return "\n".join([*lines, ""])


def _samples(facts: Facts) -> Iterable[tuple[str, str, float | None]]:
    yield "pipeline_report_timestamp_seconds", "", facts.made_at.timestamp()
    if night := facts.last_night:
        yield "pipeline_night_started_timestamp_seconds", "", night["started_at"].timestamp()
        yield "pipeline_night_exit_code", "", night["exit_code"]
    for source in facts.sources:
        label = f'{{source="{source.name}"}}'
        if source.state != "unknown":
            yield "pipeline_source_fresh", label, source.state == "fresh"
            yield "pipeline_source_overdue", label, source.is_overdue
        yield "pipeline_source_as_of_timestamp_seconds", label, _seconds(source.as_of)
        yield "pipeline_source_rows", label, source.rows
    for table in facts.tables:
        label = f'{{table="{table.name}"}}'
        yield "pipeline_table_held", label, table.state == "held"
        yield "pipeline_table_as_of_timestamp_seconds", label, _seconds(table.as_of)
        yield "pipeline_table_rows", label, table.rows
    for stage in facts.stages:
        yield "pipeline_stage_seconds", f'{{stage="{stage.name}"}}', stage.elapsed


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
