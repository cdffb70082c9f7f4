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

disaster_declarations as (

    select * from {{ ref('disaster_declarations') }}

),

wildfires as (

    select * from {{ ref('wildfires') }}

),

weather_alerts as (

    select * from {{ ref('weather_alerts') }}

),

storm_events as (

    select * from {{ ref('storm_events') }}

),

-- Quarry blasts and explosions are seismic events, but not earthquakes.
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

storm_hazard_events as (

    select
        'storm_event' as hazard_type,
        county_fips,
        started_at,
        'noaa_storm_events' as source,
        storm_event_id as source_key,
        'minute' as started_at_precision,
        state_fips,
        event_type || ' in ' || place_name as event_name,
        (
            coalesce(property_damage_usd + crop_damage_usd, property_damage_usd, crop_damage_usd)
        )::double precision as severity_value,
        'usd' as severity_unit,
        longitude,
        latitude,
        url
    from storm_events

),

disaster_events as (

    select
        'disaster' as hazard_type,
        county_fips,
        coalesce(incident_began_at, declared_at) as started_at,
        'fema_disaster_declarations' as source,
        disaster_declaration_id as source_key,
        'day' as started_at_precision,
        state_fips,
        declaration_title || ', ' || designated_area as event_name,
        null::double precision as severity_value,
        null as severity_unit,
        null::double precision as longitude,
        null::double precision as latitude,
        'https://www.fema.gov/disaster/' || disaster_number as url
    from disaster_declarations

),

-- A complex is not a separate fire: each of its fires is an incident too.
wildfire_events as (

    select
        case incident_type
            when 'prescribed fire' then 'prescribed_fire'
            when 'complex' then 'wildfire_complex'
            else 'wildfire'
        end as hazard_type,
        county_fips,
        coalesce(discovered_at, created_at) as started_at,
        'nifc_wildfires' as source,
        wildfire_id as source_key,
        'second' as started_at_precision,
        left(county_fips, 2) as state_fips,
        incident_name as event_name,
        size_acres as severity_value,
        'acres' as severity_unit,
        longitude,
        latitude,
        null as url
    from wildfires

),

-- Cancellations withdraw an alert, so they are not events.
weather_alert_events as (

    select
        'weather_alert' as hazard_type,
        county_fips,
        coalesce(onset_at, effective_at, sent_at) as started_at,
        'nws_alerts' as source,
        weather_alert_id as source_key,
        'second' as started_at_precision,
        left(county_fips, 2) as state_fips,
        coalesce(headline, alert_type) as event_name,
        null::double precision as severity_value,
        null as severity_unit,
        null::double precision as longitude,
        null::double precision as latitude,
        url
    from weather_alerts
    where message_type in ('Alert', 'Update')

),

events as (

    select * from earthquake_events
    union all
    select * from wildlife_strike_events
    union all
    select * from disaster_events
    union all
    select * from wildfire_events
    union all
    select * from weather_alert_events
    union all
    select * from storm_hazard_events

),

final as (

    select
        source || ':' || source_key as hazard_event_id,
        *
    from events

)

select * from final
