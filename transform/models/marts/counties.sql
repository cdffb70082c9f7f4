with

counties as (

    select * from {{ ref('stg_census_counties') }}

),

rings as (

    select * from {{ ref('int_county_rings') }}

),

us_states as (

    select * from {{ ref('int_us_states') }}

),

vertices as (

    select
        rings.county_fips,
        rings.polygon_number,
        rings.ring_number,
        vertices.vertex_number,
        (vertices.coordinates ->> 0)::double precision as longitude,
        (vertices.coordinates ->> 1)::double precision as latitude
    from rings
    cross join
        lateral jsonb_array_elements(rings.coordinates)
        with ordinality as vertices (coordinates, vertex_number)

),

edges as (

    select
        *,
        lead(longitude) over ring_order as next_longitude,
        lead(latitude) over ring_order as next_latitude
    from vertices
    window ring_order as (
        partition by county_fips, polygon_number, ring_number order by vertex_number
    )

),

-- Area on a sphere with the earth's mean radius, computed edge by edge in Lambert's cylindrical
-- equal-area projection.
ring_areas as (

    select
        county_fips,
        ring_number,
        abs(sum(
            radians(next_longitude - longitude) * (sind(latitude) + sind(next_latitude))
        )) / 2 * 6371.0088 ^ 2 as area_km2
    from edges
    group by county_fips, polygon_number, ring_number

),

county_areas as (

    select
        county_fips,
        -- The first ring of a polygon is its shell, the others are holes. The area of a small
        -- county that is generalized to a line is unknown.
        nullif(
            sum(case when ring_number = 1 then area_km2 else -area_km2 end)::numeric(12, 3), 0
        ) as area_km2
    from ring_areas
    group by county_fips

),

extents as (

    select
        county_fips,
        min(longitude) as min_longitude,
        max(longitude) as max_longitude,
        min(longitude) filter (where longitude > 0) as min_eastern_longitude,
        max(longitude) filter (where longitude <= 0) as max_western_longitude,
        min(latitude) as south_latitude,
        max(latitude) as north_latitude
    from vertices
    group by county_fips

),

-- As in RFC 7946, 5.2: if a box crosses the antimeridian, its west is greater than its east.
bounding_boxes as (

    select
        *,
        case
            when max_longitude - min_longitude > 180 then min_eastern_longitude else min_longitude
        end as west_longitude,
        case
            when max_longitude - min_longitude > 180 then max_western_longitude else max_longitude
        end as east_longitude
    from extents

),

final as (

    select
        counties.county_fips,
        counties.county_name,
        left(counties.county_fips, 2) as state_fips,
        us_states.state_code,
        us_states.state_name,
        county_areas.area_km2,
        bounding_boxes.west_longitude,
        bounding_boxes.south_latitude,
        bounding_boxes.east_longitude,
        bounding_boxes.north_latitude
    from counties
    left join us_states on left(counties.county_fips, 2) = us_states.state_fips
    left join county_areas on counties.county_fips = county_areas.county_fips
    left join bounding_boxes on counties.county_fips = bounding_boxes.county_fips

)

select * from final
