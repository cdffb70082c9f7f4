with

county_matches as (

    select * from {{ ref('int_county_matches') }}

),

-- An area that overlaps only one county lies in it. An area that overlaps several lies in none.
areas as (

    select
        reported_county_fips,
        case when count(*) = 1 then min(county_fips) end as map_county_fips,
        case
            when bool_or(is_same_code) then 'same code'
            when count(*) = 1 then 'in one county'
            else 'in several counties'
        end as county_match
    from county_matches
    group by reported_county_fips

)

select * from areas
