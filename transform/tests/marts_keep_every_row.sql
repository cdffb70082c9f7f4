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
        'hazard_events',
        (select count(*) from {{ ref('earthquakes') }})
        + (select count(*) from {{ ref('wildlife_strikes') }}),
        (select count(*) from {{ ref('hazard_events') }})
    union all
    select
        'county_hazard_profile',
        (select count(*) from {{ ref('counties') }}),
        (select count(*) from {{ ref('county_hazard_profile') }})

)

select * from row_counts
where expected <> found
