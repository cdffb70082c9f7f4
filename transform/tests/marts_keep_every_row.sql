-- A join that drops or multiplies rows shows as another number of rows than the source has.
with

row_counts as (

    select
        'counties' as mart,
        (select count(*) from {{ ref('stg_census_counties') }}) as expected,
        (select count(*) from {{ ref('counties') }}) as found
    union all
    select
        'airports',
        (select count(*) from {{ ref('stg_faa_airports') }}),
        (select count(*) from {{ ref('airports') }})
    union all
    select
        'earthquakes',
        (select count(*) from {{ ref('stg_usgs_earthquakes') }}),
        (select count(*) from {{ ref('earthquakes') }})
    union all
    select
        'wildlife_strikes',
        (select count(*) from {{ ref('stg_faa_wildlife_strikes') }}),
        (select count(*) from {{ ref('wildlife_strikes') }})
    union all
    select
        'county_unemployment',
        (select count(*) from {{ ref('stg_bls_unemployment') }}),
        (select count(reported_county_fips) from {{ ref('county_unemployment') }})
    union all
    select
        'disasters',
        (select count(*) from {{ ref('stg_fema_disasters') }}),
        (select count(*) from {{ ref('disasters') }})
    union all
    select
        'wildfires',
        (select count(distinct wildfire_id) from {{ ref('stg_nifc_wildfires') }}),
        (select count(*) from {{ ref('wildfires') }})
    union all
    select
        'weather_alerts: alerts',
        (select count(*) from {{ ref('stg_nws_alerts') }} where message_status = 'Actual'),
        (select count(distinct alert_id) from {{ ref('weather_alerts') }})
    union all
    select
        'disaster_declarations: disasters',
        (select count(distinct disaster_number) from {{ ref('stg_fema_disaster_declarations') }}),
        (select count(distinct disaster_number) from {{ ref('disaster_declarations') }})
    union all
    select
        'hazard_events',
        (select count(*) from {{ ref('earthquakes') }})
        + (select count(*) from {{ ref('wildlife_strikes') }})
        + (select count(*) from {{ ref('storm_events') }})
        + (select count(*) from {{ ref('disaster_declarations') }})
        + (select count(*) from {{ ref('wildfires') }})
        + (
            select count(*) from {{ ref('weather_alerts') }}
            where message_type in ('Alert', 'Update')
        ),
        (select count(*) from {{ ref('hazard_events') }})
    union all
    select
        'storm_events',
        (select count(*) from {{ ref('stg_noaa_storm_events') }}),
        (select count(*) from {{ ref('storm_events') }})
    union all
    select
        'county_population',
        (select count(*) from {{ ref('stg_census_population') }} where area_type = 'county'),
        (select count(*) from {{ ref('county_population') }})
    union all
    select
        'county_health',
        (
            select count(distinct reported_county_fips)
            from {{ ref('stg_cdc_places') }}
            where area_type = 'county' and value_type = 'crude'
        ),
        (select count(*) from {{ ref('county_health') }})
    union all
    select
        'county_hazard_profile',
        (select count(*) from {{ ref('counties') }}),
        (select count(*) from {{ ref('county_hazard_profile') }})

)

select * from row_counts
where expected <> found
