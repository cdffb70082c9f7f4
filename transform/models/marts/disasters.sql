with

disasters as (

    select * from {{ ref('stg_fema_disasters') }}

),

us_states as (

    select * from {{ ref('int_us_states') }}

),

final as (

    select
        disasters.disaster_number,
        disasters.state_code,
        us_states.state_fips,
        disasters.state_name,
        disasters.declaration_type,
        disasters.disaster_name,
        disasters.incident_type,
        disasters.designated_incident_type_codes,
        disasters.requested_at,
        disasters.declared_at,
        disasters.incident_began_at,
        disasters.incident_ended_at,
        disasters.closed_at,
        disasters.updated_at,
        disasters.fema_region,
        disasters.has_individuals_households_program,
        disasters.has_individual_assistance,
        disasters.has_public_assistance,
        disasters.has_hazard_mitigation,
        'https://www.fema.gov/disaster/' || disasters.disaster_number as url
    from disasters
    left join us_states on disasters.state_code = us_states.state_code

)

select * from final
