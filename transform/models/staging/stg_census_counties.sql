with

source as (

    select * from {{ source('source', 'census_counties') }}

),

renamed as (

    select
        {{ county_fips('"feature_id"') }} as county_fips,
        "name" as county_name,
        {{ cast_or_null('"geometry"', 'jsonb') }} as geometry
    from source

)

select * from renamed
