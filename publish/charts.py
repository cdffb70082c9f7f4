"""The charts of the report page. A team with another domain replaces this file, or deletes it."""

import re
from collections.abc import Iterable

from pipeline.report.charts import Chart, Query

GREY = "#9aa4af"
BLUES = ["#c6dbef", "#6baed6", "#2171b5", "#08306b"]
CLASSES = ["not known", "none", "1 to 9", "10 to 99", "100 to 999", "1,000 and more"]
COLOURS = [GREY, "#eef3f8", *BLUES]
TOLERANCE = 0.06  # degrees, of the simplified outlines
SMALLEST = 0.02  # square degrees, of an island on the map


def events_by_year(query: Query):
    """Bars: hazard events per year and type, of the newest thirty years."""
    import altair

    rows = query(
        """select extract(year from started_at)::int, hazard_type, count(*)
        from transformed.hazard_events
        where started_at >= (
            select max(started_at) - interval '30 years' from transformed.hazard_events
        )
        group by 1, 2 order by 1, 2"""
    )
    values = [
        {"year": year, "type": kind.replace("_", " "), "events": events}
        for year, kind, events in rows
    ]
    return (
        altair.Chart(altair.Data(values=values))
        .mark_bar()
        .encode(
            x=altair.X("year:O", title=None),
            y=altair.Y("events:Q", title="events"),
            color=altair.Color("type:N", title=None)
            .scale(scheme="tableau10")
            .legend(orient="bottom", columns=4),
        )
        .properties(width=720, height=240)
    )


def county_map(query: Query):
    """Map: the number of hazard events in each county, in classes, with the states' borders."""
    import altair
    import shapely

    totals = dict(
        query(
            """select county_fips, coalesce(earthquake_count, 0) + coalesce(wildfire_count, 0)
                + coalesce(storm_event_count, 0) + coalesce(disaster_count, 0)
                + coalesce(wildlife_strike_count, 0)
            from transformed.county_hazard_profile
            where coalesce(earthquake_count, wildfire_count, storm_event_count, disaster_count,
                wildlife_strike_count) is not null"""
        )
    )
    counties = _outlines(
        query(
            """select county_fips, polygon_number, ring::text from transformed.county_rings
            where not is_hole order by 1, 2"""
        )
    )
    names = sorted(counties)
    simple = shapely.coverage_simplify([counties[name] for name in names], TOLERANCE)
    by_class: dict[str, list] = {}
    by_state: dict[str, list] = {}
    for name, outline in zip(names, simple, strict=True):
        if not outline.is_empty:
            by_class.setdefault(_class_of(totals.get(name)), []).append(outline)
            by_state.setdefault(name[:2], []).append(outline)
    shapes = [
        _feature(shapely.union_all(parts, grid_size=0.001), count=name)
        for name, parts in by_class.items()
    ]
    borders = [_feature(shapely.union_all(parts, grid_size=0.001)) for parts in by_state.values()]
    filled = (
        altair.Chart(altair.Data(values=shapes))
        .mark_geoshape()
        .encode(
            color=altair.Color("properties.count:N", title="Events")
            .scale(domain=CLASSES, range=COLOURS)
            .legend(orient="bottom", columns=6, symbolType="square")
        )
    )
    lined = altair.Chart(altair.Data(values=borders)).mark_geoshape(
        filled=False, stroke="#57606a", strokeWidth=0.5
    )
    return altair.layer(filled, lined).project("albersUsa").properties(width=720, height=420)


def _outlines(rows: Iterable[tuple]) -> dict:
    """The polygons of each county, without its small islands, from PostgreSQL's text of them."""
    import shapely

    parts: dict[str, list] = {}
    for county, _, ring in rows:
        numbers = [float(number) for number in re.findall(r"[-+.0-9eE]+", ring)]
        polygon = shapely.Polygon(list(zip(numbers[::2], numbers[1::2], strict=True)))
        whole = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
        parts.setdefault(county, []).extend(shapely.get_parts(whole))
    return {
        county: shapely.MultiPolygon(
            [part for part in found if part.area > SMALLEST] or [max(found, key=lambda p: p.area)]
        )
        for county, found in parts.items()
        if found  # else its rings have no area
    }


def _class_of(count: int | None) -> str:
    if count is None:
        return CLASSES[0]
    return CLASSES[1 + (count > 0) + (count >= 10) + (count >= 100) + (count >= 1000)]


def _feature(shape, **properties: str) -> dict:
    """A GeoJSON feature whose rings run clockwise, as the map's projection expects."""
    import shapely

    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    outline = shapely.orient_polygons(shapely.MultiPolygon(parts), exterior_cw=True)
    geometry = shapely.geometry.mapping(outline)
    return {"type": "Feature", "properties": properties, "geometry": geometry}


CHARTS = [
    Chart(
        "events_by_year",
        "Hazard events per year",
        "All events of hazard_events, by the year in which they began. Sources differ in the years "
        "they cover.",
        ("hazard_events",),
        events_by_year,
    ),
    Chart(
        "county_map",
        "Hazard events per county",
        "All events of county_hazard_profile together. Grey: no source with a count has been read.",
        ("county_hazard_profile", "county_rings"),
        county_map,
    ),
]
