with

estimates as (

    select * from {{ ref('stg_cdc_places') }}
    where area_type = 'county' and value_type = 'crude'

),

areas as (

    select * from {{ ref('int_county_areas') }}

),

-- Some questions are asked every other year, so each measure is from its newest year.
-- https://www.cdc.gov/places/measure-definitions/ explains the measures.
newest_estimates as (

    select distinct on (reported_county_fips, measure_id)
        *,
        measure_id in (
            'ACCESS2', 'CASTHMA', 'CHD', 'COPD', 'CSMOKING', 'DEPRESSION', 'DIABETES', 'DISABILITY',
            'MOBILITY', 'GHLTH', 'LPA', 'MHLTH', 'OBESITY', 'PHLTH', 'STROKE'
        ) as is_column
    from estimates
    order by reported_county_fips, measure_id, data_year desc

),

measures as (

    select
        reported_county_fips,
        max(county_name) as county_name,
        max(data_year) filter (where is_column) as data_year,
        min(data_year) filter (where is_column) as oldest_data_year,
        max(population) as population,
        max(adult_population) as adult_population,
        max(prevalence_pct) filter (where measure_id = 'ACCESS2') as uninsured_pct,
        max(prevalence_pct) filter (where measure_id = 'CASTHMA') as asthma_pct,
        max(prevalence_pct) filter (where measure_id = 'CHD') as coronary_heart_disease_pct,
        max(prevalence_pct) filter (where measure_id = 'COPD') as copd_pct,
        max(prevalence_pct) filter (where measure_id = 'CSMOKING') as smoking_pct,
        max(prevalence_pct) filter (where measure_id = 'DEPRESSION') as depression_pct,
        max(prevalence_pct) filter (where measure_id = 'DIABETES') as diabetes_pct,
        max(prevalence_pct) filter (where measure_id = 'DISABILITY') as disability_pct,
        max(prevalence_pct) filter (where measure_id = 'MOBILITY') as mobility_disability_pct,
        max(prevalence_pct) filter (where measure_id = 'GHLTH') as poor_general_health_pct,
        max(prevalence_pct) filter (where measure_id = 'LPA') as inactivity_pct,
        max(prevalence_pct) filter (where measure_id = 'MHLTH') as poor_mental_health_pct,
        max(prevalence_pct) filter (where measure_id = 'OBESITY') as obesity_pct,
        max(prevalence_pct) filter (where measure_id = 'PHLTH') as poor_physical_health_pct,
        max(prevalence_pct) filter (where measure_id = 'STROKE') as stroke_pct
    from newest_estimates
    group by reported_county_fips

),

final as (

    select
        measures.reported_county_fips as county_fips,
        measures.county_name,
        left(measures.reported_county_fips, 2) as state_fips,
        measures.data_year,
        measures.oldest_data_year,
        measures.population,
        measures.adult_population,
        measures.uninsured_pct::numeric(5, 2) as uninsured_pct,
        measures.asthma_pct::numeric(5, 2) as asthma_pct,
        measures.coronary_heart_disease_pct::numeric(5, 2) as coronary_heart_disease_pct,
        measures.copd_pct::numeric(5, 2) as copd_pct,
        measures.smoking_pct::numeric(5, 2) as smoking_pct,
        measures.depression_pct::numeric(5, 2) as depression_pct,
        measures.diabetes_pct::numeric(5, 2) as diabetes_pct,
        measures.disability_pct::numeric(5, 2) as disability_pct,
        measures.mobility_disability_pct::numeric(5, 2) as mobility_disability_pct,
        measures.poor_general_health_pct::numeric(5, 2) as poor_general_health_pct,
        measures.inactivity_pct::numeric(5, 2) as inactivity_pct,
        measures.poor_mental_health_pct::numeric(5, 2) as poor_mental_health_pct,
        measures.obesity_pct::numeric(5, 2) as obesity_pct,
        measures.poor_physical_health_pct::numeric(5, 2) as poor_physical_health_pct,
        measures.stroke_pct::numeric(5, 2) as stroke_pct,
        areas.map_county_fips,
        coalesce(areas.county_match, 'unknown code') as county_match
    from measures
    left join areas on measures.reported_county_fips = areas.reported_county_fips

)

select * from final
