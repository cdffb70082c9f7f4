with

counties as (

    select * from {{ ref('counties') }}

),

hazard_events as (

    select * from {{ ref('hazard_events') }}

),

airports as (

    select * from {{ ref('airports') }}

),

county_unemployment as (

    select * from {{ ref('county_unemployment') }}

),

event_counts as (

    select
        county_fips,
        count(*) filter (where hazard_type = 'earthquake') as earthquake_count,
        max(severity_value) filter (where hazard_type = 'earthquake')
            as strongest_earthquake_magnitude,
        max(started_at) filter (where hazard_type = 'earthquake') as latest_earthquake_at,
        count(*) filter (where hazard_type = 'wildlife_strike') as wildlife_strike_count
    from hazard_events
    group by county_fips

),

airport_counts as (

    select
        county_fips,
        count(*) as airport_count
    from airports
    group by county_fips

),

-- A county without an event has 0; without a single event anywhere the source is missing and
-- the count is unknown.
known as (

    select
        exists(select from hazard_events where source = 'usgs_earthquakes') as has_earthquakes,
        exists(select from hazard_events where source = 'faa_wildlife_strikes') as has_strikes,
        exists(select from airports) as has_airports

),

final as (

    select
        counties.county_fips,
        counties.county_name,
        counties.state_fips,
        case when known.has_earthquakes then coalesce(event_counts.earthquake_count, 0) end::integer
            as earthquake_count,
        null::integer as wildfire_count,
        null::integer as storm_event_count,
        null::integer as disaster_count,
        null::integer as weather_alert_count,
        null::integer as population,
        county_unemployment.unemployment_rate_pct,
        counties.state_code,
        event_counts.strongest_earthquake_magnitude,
        event_counts.latest_earthquake_at,
        case when known.has_strikes then coalesce(event_counts.wildlife_strike_count, 0) end
        ::integer as wildlife_strike_count,
        case when known.has_airports then coalesce(airport_counts.airport_count, 0) end::integer
            as airport_count
    from counties
    cross join known
    left join event_counts on counties.county_fips = event_counts.county_fips
    left join airport_counts on counties.county_fips = airport_counts.county_fips
    left join county_unemployment on counties.county_fips = county_unemployment.county_fips

)

select * from final
