with

earthquakes as (

    select * from {{ ref('earthquakes') }}

),

wildlife_strikes as (

    select * from {{ ref('wildlife_strikes') }}

),

airports as (

    select * from {{ ref('airports') }}

),

-- Quarry blasts and explosions shake the ground, but are no earthquakes.
earthquake_events as (

    select
        case event_type when 'earthquake' then 'earthquake' else 'other_seismic_event' end
            as hazard_type,
        county_fips,
        occurred_at as started_at,
        'usgs_earthquakes' as source,
        earthquake_id as source_key,
        'millisecond' as started_at_precision,
        left(county_fips, 2) as state_fips,
        title as event_name,
        magnitude as severity_value,
        'magnitude' as severity_unit,
        longitude,
        latitude,
        url
    from earthquakes

),

wildlife_strike_events as (

    select
        'wildlife_strike' as hazard_type,
        wildlife_strikes.county_fips,
        wildlife_strikes.flight_date::timestamp at time zone 'UTC' as started_at,
        'faa_wildlife_strikes' as source,
        wildlife_strikes.wildlife_strike_id as source_key,
        'day' as started_at_precision,
        coalesce(left(wildlife_strikes.county_fips, 2), wildlife_strikes.state_fips) as state_fips,
        wildlife_strikes.wildlife_species || ' at ' || wildlife_strikes.reported_airport_name
            as event_name,
        wildlife_strikes.total_cost_usd::double precision as severity_value,
        'usd' as severity_unit,
        airports.longitude,
        airports.latitude,
        null as url
    from wildlife_strikes
    left join airports on wildlife_strikes.airport_id = airports.airport_id

),

events as (

    select * from earthquake_events
    union all
    select * from wildlife_strike_events

),

final as (

    select
        source || ':' || source_key as hazard_event_id,
        *
    from events

)

select * from final
