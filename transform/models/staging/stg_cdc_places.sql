with

source as (

    select * from {{ source('source', 'cdc_places') }}

),

renamed as (

    select
        case "stateabbr" when 'US' then 'nation' else 'county' end as area_type,
        case when "stateabbr" <> 'US' then {{ county_fips('"locationid"') }} end
            as reported_county_fips,
        "locationname" as county_name,
        "measureid" as measure_id,
        "short_question_text" as measure_name,
        case "datavaluetypeid" when 'CrdPrv' then 'crude' when 'AgeAdjPrv' then 'age-adjusted' end
            as value_type,
        {{ cast_or_null('"year"', 'smallint') }} as data_year,
        -- The portal may quote missing values. A suppressed value has a footnote instead.
        ({{ cast_or_null("nullif(\"data_value\", '')", 'numeric(5, 2)', 'data_value') }})
        ::numeric(5, 2) as prevalence_pct,
        {{ cast_or_null("nullif(\"totalpopulation\", '')", 'integer', 'totalpopulation') }}
            as population,
        {{ cast_or_null("nullif(\"totalpop18plus\", '')", 'integer', 'totalpop18plus') }}
            as adult_population
    from source
    where {{ must_cast('"year"', 'smallint') }}

)

select * from renamed
