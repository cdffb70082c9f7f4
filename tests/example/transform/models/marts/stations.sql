with

stations as (

    select * from {{ ref('stg_stations') }}

)

select * from stations
