with

rings as (

    select * from {{ ref('int_county_rings') }}

),

final as (

    select
        county_fips,
        polygon_number,
        ring_number,
        ring_number > 1 as is_hole,
        -- [[x, y], [x, y]] differs from ((x, y), (x, y)) only in its brackets.
        translate(coordinates::text, '[]', '()')::polygon as ring
    from rings

)

select * from final
