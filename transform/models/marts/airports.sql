with

airports as (

    select * from {{ ref('stg_faa_airports') }}

),

county_rings as (

    select * from {{ ref('county_rings') }}

),

us_states as (

    select * from {{ ref('int_us_states') }}

),

airport_counties as (

    {{ county_of_points('airports', 'airport_id', 'county_rings') }}

),

final as (

    select
        airports.airport_id,
        airports.airport_name,
        airports.city_name,
        -- CQ was the FAA's code for the Northern Mariana Islands. A missing state is taken from the
        -- county.
        coalesce(
            case airports.state_code when 'CQ' then 'MP' else airports.state_code end,
            us_states.state_code
        ) as state_code,
        airports.country_name,
        airport_counties.county_fips,
        airports.longitude,
        airports.latitude
    from airports
    left join airport_counties on airports.airport_id = airport_counties.airport_id
    left join us_states on left(airport_counties.county_fips, 2) = us_states.state_fips

)

select * from final
