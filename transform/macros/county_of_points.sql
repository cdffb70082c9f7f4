{#-
    The county that holds each point: a query of (<key>, county_fips), without the points that
    lie in no county.

    A polygon holds a point when an odd number of its rings do (its shell, less its holes). The
    border belongs to the ring, so a point on a shared border is in two counties and is given to
    the one with the lowest code; on the border of a hole it is in the county that fills the hole.
    The bounding boxes are there for the GiST index, which `polygon @> point` alone cannot use.

    points: a relation with <key>, longitude and latitude (WGS 84, degrees).
    rings:  a relation like the mart county_rings.
-#}
{% macro county_of_points(points, key, rings) -%}
    select
        holding_polygons.{{ key }},
        min(holding_polygons.county_fips) as county_fips
    from (
        select
            points.{{ key }},
            rings.county_fips
        from {{ points }} as points
        inner join {{ rings }} as rings
            on box(rings.ring) && box(point(points.longitude, points.latitude))
            and rings.ring @> point(points.longitude, points.latitude)
        group by points.{{ key }}, rings.county_fips, rings.polygon_number
        having count(*) % 2 = 1
    ) as holding_polygons
    group by holding_polygons.{{ key }}
{%- endmacro %}
