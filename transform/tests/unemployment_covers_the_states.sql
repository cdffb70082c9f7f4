-- In the fifty states and the District of Columbia one county in a hundred may lack a rate: a
-- lost leading zero would take out every county of the first nine states.
with

counties as (

    select
        count(*) as county_count,
        count(unemployment_rate_pct) as rate_count
    from {{ ref('county_unemployment') }}
    where left(county_fips, 2) <= '56' and county_match not in ('abolished', 'unknown code')

),

rates as (

    select exists(select from {{ ref('stg_bls_unemployment') }}) as is_loaded

)

select counties.*
from counties
cross join rates
where rates.is_loaded and counties.rate_count < 0.99 * counties.county_count
