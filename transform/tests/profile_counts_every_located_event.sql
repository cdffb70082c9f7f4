-- No event with a county is lost or counted twice on its way into the profile.
with

profile as (

    select
        coalesce(sum(earthquake_count), 0) as earthquake_count,
        coalesce(sum(wildlife_strike_count), 0) as wildlife_strike_count
    from {{ ref('county_hazard_profile') }}

),

events as (

    select
        count(*) filter (where hazard_type = 'earthquake') as earthquake_count,
        count(*) filter (where hazard_type = 'wildlife_strike') as wildlife_strike_count
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
