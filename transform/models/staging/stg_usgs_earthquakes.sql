with

source as (

    select * from {{ source('source', 'usgs_earthquakes') }}

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
        "feature_id" as earthquake_id,
        "type" as event_type,
        {{ cast_or_null('"mag"', 'double precision') }} as magnitude,
        "magType" as magnitude_type,
        coordinates[1] as longitude,
        coordinates[2] as latitude,
        coordinates[3] as depth_km,
        "place",
        "title",
        {{ epoch_ms_to_timestamp('"time"') }} as occurred_at,
        {{ epoch_ms_to_timestamp('"updated"') }} as updated_at,
        {{ cast_or_null('"tsunami"', 'integer') }} = 1 as has_tsunami_flag,
        {{ cast_or_null('"felt"', 'integer') }} as felt_report_count,
        {{ cast_or_null('"cdi"', 'double precision') }} as max_reported_intensity,
        {{ cast_or_null('"mmi"', 'double precision') }} as max_estimated_intensity,
        "alert" as alert_level,
        {{ cast_or_null('"sig"', 'integer') }} as significance,
        "status" as review_status,
        "net" as network,
        {{ cast_or_null('"nst"', 'integer') }} as station_count,
        {{ cast_or_null('"gap"', 'double precision') }} as azimuthal_gap_deg,
        {{ cast_or_null('"dmin"', 'double precision') }} as nearest_station_deg,
        {{ cast_or_null('"rms"', 'double precision') }} as residual_s,
        "url"
    from located
    where {{ must_cast('"time"', 'numeric(15, 0)') }}

)

select * from renamed
