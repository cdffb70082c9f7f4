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

loaded_sources as (

    select * from {{ ref('int_loaded_sources') }}

),

county_unemployment as (

    select * from {{ ref('county_unemployment') }}

),

county_population as (

    select * from {{ ref('county_population') }}

),

county_matches as (

    select * from {{ ref('int_county_matches') }}

),

-- The population of a county that was divided after the map is the sum of its parts. It is unknown
-- if one of the parts is also in another county (Connecticut's planning regions).
populations as (

    select
        county_matches.county_fips,
        sum(county_population.population) as population
    from county_matches
    inner join county_population
        on county_matches.reported_county_fips = county_population.county_fips
    group by county_matches.county_fips
    having bool_and(county_population.map_county_fips is not null)

),

event_counts as (

    select
        county_fips,
        count(*) filter (where hazard_type = 'earthquake') as earthquake_count,
        max(severity_value) filter (where hazard_type = 'earthquake')
            as strongest_earthquake_magnitude,
        max(started_at) filter (where hazard_type = 'earthquake') as latest_earthquake_at,
        count(*) filter (where hazard_type = 'wildlife_strike') as wildlife_strike_count,
        count(*) filter (where hazard_type = 'storm_event') as storm_event_count,
        count(*) filter (where hazard_type = 'wildfire') as wildfire_count,
        count(*) filter (where hazard_type = 'disaster') as disaster_count,
        count(*) filter (where hazard_type = 'weather_alert') as weather_alert_count
    from hazard_events
    where county_fips is not null
    group by county_fips

),

airport_counts as (

    select
        county_fips,
        count(*) as airport_count
    from airports
    group by county_fips

),

-- A county without events has 0, even when no fire burns anywhere. The count is unknown (null) if
-- the source was never loaded.
known as (

    select
        count(*) filter (where source_name = 'usgs_earthquakes') = 1 as has_earthquakes,
        count(*) filter (where source_name = 'faa_wildlife_strikes') = 1 as has_strikes,
        count(*) filter (where source_name = 'noaa_storm_events') = 1 as has_storms,
        count(*) filter (where source_name = 'faa_airports') = 1 as has_airports,
        count(*) filter (where source_name = 'nifc_wildfires') = 1 as has_wildfires,
        count(*) filter (where source_name = 'fema_disaster_declarations') = 1 as has_disasters,
        count(*) filter (where source_name = 'nws_alerts') = 1 as has_weather_alerts
    from loaded_sources

),

final as (

    select
        counties.county_fips,
        counties.county_name,
        counties.state_fips,
        case when known.has_earthquakes then coalesce(event_counts.earthquake_count, 0) end::integer
            as earthquake_count,
        case when known.has_wildfires then coalesce(event_counts.wildfire_count, 0) end::integer
            as wildfire_count,
        case when known.has_storms then coalesce(event_counts.storm_event_count, 0) end::integer
            as storm_event_count,
        case when known.has_disasters then coalesce(event_counts.disaster_count, 0) end::integer
            as disaster_count,
        case when known.has_weather_alerts then coalesce(event_counts.weather_alert_count, 0) end
        ::integer as weather_alert_count,
        populations.population::integer as population,
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
    left join populations on counties.county_fips = populations.county_fips
    left join county_unemployment on counties.county_fips = county_unemployment.county_fips

)

select * from final
