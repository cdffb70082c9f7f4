{{ config(meta={'about': 'county_hazard_profile'}) }}
-- No event with a county is lost or counted twice in the profile.
with

profile as (

    select
        coalesce(sum(earthquake_count), 0) as earthquake_count,
        coalesce(sum(wildlife_strike_count), 0) as wildlife_strike_count,
        coalesce(sum(storm_event_count), 0) as storm_event_count,
        coalesce(sum(wildfire_count), 0) as wildfire_count,
        coalesce(sum(disaster_count), 0) as disaster_count,
        coalesce(sum(weather_alert_count), 0) as weather_alert_count
    from {{ ref('county_hazard_profile') }}

),

events as (

    select
        count(*) filter (where hazard_type = 'earthquake') as earthquake_count,
        count(*) filter (where hazard_type = 'wildlife_strike') as wildlife_strike_count,
        count(*) filter (where hazard_type = 'storm_event') as storm_event_count,
        count(*) filter (where hazard_type = 'wildfire') as wildfire_count,
        count(*) filter (where hazard_type = 'disaster') as disaster_count,
        count(*) filter (where hazard_type = 'weather_alert') as weather_alert_count
    from {{ ref('hazard_events') }}
    where county_fips is not null

)

select
    profile.*,
    events.*
from profile
cross join events
where
    profile.earthquake_count <> events.earthquake_count
    or profile.wildlife_strike_count <> events.wildlife_strike_count
    or profile.storm_event_count <> events.storm_event_count
    or profile.wildfire_count <> events.wildfire_count
    or profile.disaster_count <> events.disaster_count
    or profile.weather_alert_count <> events.weather_alert_count
