with

source as (

    select * from {{ source('source', 'fema_disaster_declarations') }}

),

renamed as (

    select
        "id" as fema_record_id,
        {{ cast_or_null('"disasterNumber"', 'integer') }} as disaster_number,
        "declarationType" as declaration_type_code,
        "declarationTitle" as declaration_title,
        "incidentType" as incident_type,
        "state" as state_code,
        "fipsStateCode" as state_fips,
        "fipsCountyCode" as county_code,
        "placeCode" as place_code,
        "designatedArea" as designated_area,
        -- County code 000 also means reservations; place code 0 means only the whole state.
        "fipsCountyCode" = '000' and ltrim("placeCode", '0') = '' as is_statewide,
        {{ cast_or_null('"tribalRequest"', 'boolean') }} as is_tribal_request,
        {{ cast_or_null('"declarationDate"', 'timestamptz') }} as declared_at,
        {{ cast_or_null('"incidentBeginDate"', 'timestamptz') }} as incident_began_at,
        {{ cast_or_null('"incidentEndDate"', 'timestamptz') }} as incident_ended_at,
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
