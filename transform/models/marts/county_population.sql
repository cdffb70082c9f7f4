with

estimates as (

    select * from {{ ref('stg_census_population') }}
    where area_type = 'county'

),

areas as (

    select * from {{ ref('int_county_areas') }}

),

newest_years as (

    select
        estimates.*,
        (
            select max(years.year::smallint)
            from jsonb_object_keys(estimates.population_by_year) as years (year)
        ) as population_year
    from estimates

),

final as (

    select
        newest_years.reported_county_fips as county_fips,
        newest_years.area_name as county_name,
        left(newest_years.reported_county_fips, 2) as state_fips,
        (newest_years.population_by_year ->> newest_years.population_year::text)::integer
            as population,
        newest_years.population_year,
        (newest_years.population_by_year ->> (newest_years.population_year - 1)::text)::integer
            as prior_population,
        newest_years.base_population,
        newest_years.population_by_year,
        areas.map_county_fips,
        coalesce(areas.county_match, 'unknown code') as county_match
    from newest_years
    left join areas on newest_years.reported_county_fips = areas.reported_county_fips

)

select * from final
