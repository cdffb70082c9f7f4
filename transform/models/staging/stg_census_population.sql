with

source as (

    select * from {{ source('source', 'census_population') }}

),

renamed as (

    select
        lpad("STATE", 2, '0') || lpad("COUNTY", 3, '0') as reported_county_fips,
        case ltrim("SUMLEV", '0') when '40' then 'state' when '50' then 'county' end as area_type,
        "STNAME" as state_name,
        "CTYNAME" as area_name,
        {{ cast_or_null('"ESTIMATESBASE2020"', 'integer') }} as base_population,
        -- The estimate columns depend on the vintage, so all years present are collected.
        {% do note_cast(
            "(
                select min(estimates.value)
                from jsonb_each_text(to_jsonb(source.*)) as estimates (name, value)
                where
                    estimates.name ~ '^POPESTIMATE[0-9]{4}$'
                    and estimates.value !~ '^[0-9]{1,9}$'
            )",
            'integer',
            'POPESTIMATE'
        ) -%}
        (
            select jsonb_object_agg(right(estimates.name, 4), estimates.value::integer)
            from jsonb_each_text(to_jsonb(source.*)) as estimates (name, value)
            where
                estimates.name ~ '^POPESTIMATE[0-9]{4}$'
                and estimates.value ~ '^[0-9]{1,9}$'
        ) as population_by_year
    from source

)

select * from renamed
