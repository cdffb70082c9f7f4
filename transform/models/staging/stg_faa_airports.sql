with

source as (

    select * from {{ source('source', 'faa_airports') }}

),

renamed as (

    select
        "iata" as airport_id,
        "name" as airport_name,
        -- NA means "not available": no city and no state has this name.
        nullif("city", 'NA') as city_name,
        nullif("state", 'NA') as state_code,
        "country" as country_name,
        {{ cast_or_null('"longitude"', 'double precision') }} as longitude,
        {{ cast_or_null('"latitude"', 'double precision') }} as latitude
    from source

)

select * from renamed
