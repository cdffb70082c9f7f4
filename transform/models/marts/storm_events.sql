with

storm_events as (

    select * from {{ ref('stg_noaa_storm_events') }}

),

us_states as (

    select * from {{ ref('int_us_states') }}

),

areas as (

    select * from {{ ref('int_county_areas') }}

),

-- The reports use the name VIRGIN ISLANDS.
state_names as (

    select
        state_fips,
        state_code,
        upper(state_name) as reported_state_name
    from us_states
    union
    select
        state_fips,
        state_code,
        replace(upper(state_name), 'U.S. ', '')
    from us_states

),

-- The first two letters of the Weather Service's marine zones
-- (https://www.weather.gov/gis/MarineZones), by the names of the waters in the reports.
waters (reported_state_name, water_code) as (

    values
    ('ATLANTIC NORTH', 'AN'),
    ('ATLANTIC SOUTH', 'AM'),
    ('E PACIFIC', 'PZ'),
    ('GUAM WATERS', 'PM'),
    ('GULF OF ALASKA', 'PK'),
    ('GULF OF AMERICA', 'GM'),
    ('GULF OF MEXICO', 'GM'),
    ('HAWAII WATERS', 'PH'),
    ('LAKE ERIE', 'LE'),
    ('LAKE HURON', 'LH'),
    ('LAKE MICHIGAN', 'LM'),
    ('LAKE ONTARIO', 'LO'),
    ('LAKE ST CLAIR', 'LC'),
    ('LAKE SUPERIOR', 'LS'),
    ('ST LAWRENCE R', 'SL')

),

located as (

    select
        storm_events.*,
        state_names.state_fips,
        state_names.state_code,
        case
            when storm_events.place_type = 'county'
                then state_names.state_fips || storm_events.place_number
        end as reported_county_fips,
        case
            when storm_events.place_type <> 'county'
                then
                    coalesce(state_names.state_code, waters.water_code)
                    || 'Z' || storm_events.place_number
        end as forecast_zone_code
    from storm_events
    left join state_names on storm_events.reported_state_name = state_names.reported_state_name
    left join waters on storm_events.reported_state_name = waters.reported_state_name

),

final as (

    select
        located.storm_event_id,
        located.event_type,
        located.started_at,
        located.ended_at,
        located.time_zone,
        areas.map_county_fips as county_fips,
        located.forecast_zone_code,
        located.place_type,
        located.place_name,
        located.reported_county_fips,
        located.state_fips,
        located.state_code,
        located.reported_state_name,
        located.direct_death_count,
        located.indirect_death_count,
        located.direct_injury_count,
        located.indirect_injury_count,
        located.property_damage_usd,
        located.crop_damage_usd,
        case when located.event_type not like '%Hail' then located.magnitude end as wind_speed_kn,
        case when located.event_type like '%Hail' then located.magnitude end as hail_diameter_in,
        located.magnitude_type as wind_speed_type,
        located.tornado_scale,
        located.tornado_length_mi,
        located.tornado_width_yd,
        located.flood_cause,
        located.longitude,
        located.latitude,
        located.end_longitude,
        located.end_latitude,
        located.report_source,
        located.forecast_office,
        located.episode_id,
        located.event_narrative,
        'https://www.ncei.noaa.gov/stormevents/eventdetails.jsp?id=' || located.storm_event_id
            as url
    from located
    left join areas on located.reported_county_fips = areas.reported_county_fips

)

select * from final
