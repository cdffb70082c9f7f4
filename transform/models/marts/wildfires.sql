with

fires as (

    select * from {{ ref('stg_nifc_wildfires') }}

),

county_rings as (

    select * from {{ ref('county_rings') }}

),

-- A code that means one county of the map. For a code that means several, the point decides.
reported_counties as (

    select * from {{ ref('int_county_areas') }}

),

-- The layer contains a few incidents twice; the newest record is used.
incidents as (

    select distinct on (wildfire_id) *
    from fires
    order by wildfire_id asc, updated_at desc nulls last, layer_object_id desc

),

point_counties as (

    {{ county_of_points('incidents', 'wildfire_id', 'county_rings') }}

),

final as (

    select
        incidents.wildfire_id,
        incidents.incident_name,
        case incidents.incident_type_code
            when 'WF' then 'wildfire'
            when 'RX' then 'prescribed fire'
            when 'CX' then 'complex'
        end as incident_type,
        coalesce(reported_counties.map_county_fips, point_counties.county_fips) as county_fips,
        case
            when reported_counties.map_county_fips is not null then 'reported'
            when point_counties.county_fips is not null then 'point'
        end as county_basis,
        incidents.reported_county_fips,
        incidents.state_code,
        incidents.discovered_at,
        incidents.contained_at,
        incidents.controlled_at,
        incidents.out_at,
        incidents.created_at,
        incidents.updated_at,
        incidents.size_acres,
        incidents.discovery_size_acres,
        incidents.contained_pct,
        incidents.personnel_count,
        incidents.cost_to_date_usd::numeric(14, 2) as cost_to_date_usd,
        incidents.fire_cause,
        incidents.fire_behavior,
        incidents.complexity_level,
        incidents.fuel_group,
        incidents.landowner_category,
        incidents.protecting_agency,
        incidents.is_part_of_complex,
        incidents.complex_name,
        incidents.unique_fire_identifier,
        incidents.place,
        incidents.longitude,
        incidents.latitude
    from incidents
    left join reported_counties
        on incidents.reported_county_fips = reported_counties.reported_county_fips
    left join point_counties on incidents.wildfire_id = point_counties.wildfire_id

)

select * from final
