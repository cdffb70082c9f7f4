{{ config(meta={'about': 'hazard_events'}) }}
-- Every event of every kind has exactly one row.
with

row_counts as (

    select
        (select count(*) from {{ ref('earthquakes') }})
        + (select count(*) from {{ ref('wildlife_strikes') }})
        + (select count(*) from {{ ref('storm_events') }})
        + (select count(*) from {{ ref('disaster_declarations') }})
        + (select count(*) from {{ ref('wildfires') }})
        + (
            select count(*) from {{ ref('weather_alerts') }}
            where message_type in ('Alert', 'Update')
        ) as expected_count,
        (select count(*) from {{ ref('hazard_events') }}) as found_count

)

select * from row_counts
where expected_count <> found_count
