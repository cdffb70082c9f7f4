{{ config(materialized='table') }}
with

steps as (

    select * from {{ source('pipeline', 'steps') }}

),

loaded_sources as (

    select distinct name as source_name
    from steps
    where stage = 'load' and outcome = 'new'

)

select * from loaded_sources
