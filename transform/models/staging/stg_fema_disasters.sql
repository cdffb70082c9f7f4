with

source as (

    select * from {{ source('source', 'fema_disasters') }}

),

renamed as (

    select
        {{ cast_or_null('"disasterNumber"', 'integer') }} as disaster_number,
        "declarationType" as declaration_type,
        "disasterName" as disaster_name,
        "incidentType" as incident_type,
        "designatedIncidentTypes" as designated_incident_type_codes,
        "stateCode" as state_code,
        trim("stateName") as state_name,
        {{ cast_or_null('"region"', 'integer') }} as fema_region,
        {{ cast_or_null('"declarationRequestDate"', 'timestamptz') }} as requested_at,
        {{ cast_or_null('"declarationDate"', 'timestamptz') }} as declared_at,
        {{ cast_or_null('"incidentBeginDate"', 'timestamptz') }} as incident_began_at,
        {{ cast_or_null('"incidentEndDate"', 'timestamptz') }} as incident_ended_at,
        {{ cast_or_null('"closeoutDate"', 'timestamptz') }} as closed_at,
        {{ cast_or_null('"updateDate"', 'timestamptz') }} as updated_at,
        {{ cast_or_null('"ihProgramDeclared"', 'boolean') }} as has_individuals_households_program,
        {{ cast_or_null('"iaProgramDeclared"', 'boolean') }} as has_individual_assistance,
        {{ cast_or_null('"paProgramDeclared"', 'boolean') }} as has_public_assistance,
        {{ cast_or_null('"hmProgramDeclared"', 'boolean') }} as has_hazard_mitigation
    from source
    where
        {{ must_cast('"disasterNumber"', 'integer') }}
        and {{ must_cast('"declarationDate"', 'timestamptz') }}

)

select * from renamed
