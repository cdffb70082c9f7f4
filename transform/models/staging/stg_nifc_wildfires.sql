with

source as (

    select * from {{ source('source', 'nifc_wildfires') }}

),

-- Without the offset PostgreSQL would parse the geometry again for each coordinate.
located as (

    select
        *,
        {{ cast_once_or_null(
            geojson_coordinates('"geometry"'), 'double precision[]', 'geometry'
        ) }} as coordinates
    from source
    offset 0

),

renamed as (

    select
        -- {A761CEEE-…} and a761ceee-… are the same identifier.
        lower(trim("IrwinID", '{}')) as wildfire_id,
        {{ cast_or_null('"OBJECTID"', 'bigint') }} as layer_object_id,
        "UniqueFireIdentifier" as unique_fire_identifier,
        "IncidentName" as incident_name,
        "IncidentTypeCategory" as incident_type_code,
        "IncidentShortDescription" as place,
        {{ epoch_ms_to_timestamp('"FireDiscoveryDateTime"') }} as discovered_at,
        {{ epoch_ms_to_timestamp('"ContainmentDateTime"') }} as contained_at,
        {{ epoch_ms_to_timestamp('"ControlDateTime"') }} as controlled_at,
        {{ epoch_ms_to_timestamp('"FireOutDateTime"') }} as out_at,
        {{ epoch_ms_to_timestamp('"CreatedOnDateTime_dt"') }} as created_at,
        {{ epoch_ms_to_timestamp('"ModifiedOnDateTime_dt"') }} as updated_at,
        {{ cast_or_null('"IncidentSize"', 'double precision') }} as size_acres,
        {{ cast_or_null('"DiscoveryAcres"', 'double precision') }} as discovery_size_acres,
        {{ cast_or_null('"PercentContained"', 'double precision') }} as contained_pct,
        {{ cast_or_null('"TotalIncidentPersonnel"', 'integer') }}
            as personnel_count,
        {{ cast_or_null('"EstimatedCostToDate"', 'numeric') }} as cost_to_date_usd,
        "FireCause" as fire_cause,
        "FireBehaviorGeneral" as fire_behavior,
        "IncidentComplexityLevel" as complexity_level,
        "PredominantFuelGroup" as fuel_group,
        "POOFips" as reported_county_fips,
        replace("POOState", 'US-', '') as state_code,
        "POOLandownerCategory" as landowner_category,
        "POOProtectingAgency" as protecting_agency,
        {{ cast_or_null('"IsCpxChild"', 'integer') }} = 1 as is_part_of_complex,
        "CpxName" as complex_name,
        coordinates[1] as longitude,
        coordinates[2] as latitude
    from located
    where
        {{ must_cast('"OBJECTID"', 'bigint') }}
        and {{ must_cast('"FireDiscoveryDateTime"', 'numeric(15, 0)') }}

)

select * from renamed
