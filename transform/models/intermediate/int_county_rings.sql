with

counties as (

    select * from {{ ref('stg_census_counties') }}

),

polygons as (

    select
        counties.county_fips,
        polygons.polygon_number,
        polygons.rings
    from counties
    cross join
        lateral jsonb_array_elements(
            case counties.geometry ->> 'type'
                when 'Polygon' then jsonb_build_array(counties.geometry -> 'coordinates')
                when 'MultiPolygon' then counties.geometry -> 'coordinates'
            end
        ) with ordinality as polygons (rings, polygon_number)

),

rings as (

    select
        polygons.county_fips,
        polygons.polygon_number::integer as polygon_number,
        rings.ring_number::integer as ring_number,
        rings.coordinates
    from polygons
    cross join
        lateral jsonb_array_elements(polygons.rings)
        with ordinality as rings (coordinates, ring_number)

)

select * from rings
