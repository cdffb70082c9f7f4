with

declarations as (

    select * from {{ ref('stg_fema_disaster_declarations') }}

),

counties as (

    select * from {{ ref('counties') }}

),

county_matches as (

    select * from {{ ref('int_county_matches') }}

),

-- A whole state is expanded to all its counties. A state without counties on the map, a reservation
-- and any other area keep one row without a county.
designations as (

    select
        declarations.*,
        coalesce(counties.county_fips, county_matches.county_fips) as county_fips
    from declarations
    left join counties
        on declarations.is_statewide and declarations.state_fips = counties.state_fips
    left join county_matches
        on declarations.state_fips || declarations.county_code = county_matches.reported_county_fips

),

identified as (

    select
        *,
        disaster_number || '-' || coalesce(county_fips, state_fips || ':' || place_code)
            as disaster_declaration_id
    from designations

),

-- A county can be designated by itself, with its state, and under two codes. All rows of a disaster
-- have the same facts about the disaster.
final as (

    select
        disaster_declaration_id,
        disaster_number,
        county_fips,
        min(state_fips) as state_fips,
        min(state_code) as state_code,
        string_agg(distinct designated_area, '; ' order by designated_area) as designated_area,
        case when county_fips is null then min(place_code) end as place_code,
        bool_or(is_statewide) as is_statewide,
        bool_or(is_tribal_request) as is_tribal_request,
        min(declaration_type_code) as declaration_type_code,
        min(declaration_title) as declaration_title,
        min(incident_type) as incident_type,
        min(declared_at) as declared_at,
        min(incident_began_at) as incident_began_at,
        max(incident_ended_at) as incident_ended_at,
        bool_or(has_individuals_households_program) as has_individuals_households_program,
        bool_or(has_individual_assistance) as has_individual_assistance,
        bool_or(has_public_assistance) as has_public_assistance,
        bool_or(has_hazard_mitigation) as has_hazard_mitigation
    from identified
    group by disaster_declaration_id, disaster_number, county_fips

)

select * from final
