{#-
    The county that contains each point: a query of (<key>, county_fips). Points outside all counties
    are left out.

    A polygon contains a point if an odd number of its rings do (its shell, minus its holes). A ring
    includes its border. A point on a shared border is therefore in two counties and is assigned to
    the one with the lowest code. A point on the border of a hole is in the county that fills the hole.
    The bounding boxes make the GiST index usable; `polygon @> point` alone cannot use it.

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
