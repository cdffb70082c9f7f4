with

counties as (

    select * from {{ ref('counties') }}

),

rates as (

    select * from {{ ref('stg_bls_unemployment') }}

),

code_changes as (

    select * from {{ ref('int_county_code_changes') }}

),

current_rates as (

    select
        rates.*,
        code_changes.change,
        case
            when code_changes.change = 'renamed' then code_changes.new_county_fips
            else rates.reported_county_fips
        end as county_fips
    from rates
    left join code_changes on rates.reported_county_fips = code_changes.old_county_fips

),

final as (

    select
        coalesce(counties.county_fips, current_rates.county_fips) as county_fips,
        counties.county_name,
        current_rates.unemployment_rate_pct,
        current_rates.reported_county_fips,
        case
            when current_rates.county_fips is null then 'no rate'
            when counties.county_fips is not null
                then case when current_rates.change is null then 'same code' else 'renamed' end
            when current_rates.change is not null then 'abolished'
            else 'unknown code'
        end as county_match
    from counties
    full outer join current_rates on counties.county_fips = current_rates.county_fips

)

select * from final
