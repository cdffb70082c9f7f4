with

source as (

    select * from {{ source('source', 'bls_unemployment') }}

),

renamed as (

    select
        {{ county_fips('"id"') }} as reported_county_fips,
        -- The publisher gives a fraction of 1.
        ({{ cast_or_null('"rate"', 'numeric') }} * 100)::numeric(5, 2) as unemployment_rate_pct
    from source

)

select * from renamed
