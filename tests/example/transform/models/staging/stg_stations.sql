with

source as (

    select * from {{ source('source', 'stations') }}

),

renamed as (

    select
        "ident" as station_id,
        "name" as station_name,
        "city" as city_name,
        "state" as state_code,
        {{ cast_or_null('"longitude"', 'double precision') }} as longitude,
        {{ cast_or_null('"latitude"', 'double precision') }} as latitude
    from source

)

select * from renamed
