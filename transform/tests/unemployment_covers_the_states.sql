-- In the fifty states and the District of Columbia at most 1 % of the counties may lack a rate. A
-- lost leading zero would remove every county of the first nine states.
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
