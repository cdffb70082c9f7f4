with

source as (

    select * from {{ source('source', 'noaa_storm_events') }}

),

renamed as (

    select
        "EVENT_ID" as storm_event_id,
        "EPISODE_ID" as episode_id,
        "EVENT_TYPE" as event_type,
        {{ storm_timestamp('"BEGIN_YEARMONTH"', '"BEGIN_DAY"', '"BEGIN_TIME"', '"CZ_TIMEZONE"') }}
            as started_at,
        {{ storm_timestamp('"END_YEARMONTH"', '"END_DAY"', '"END_TIME"', '"CZ_TIMEZONE"') }}
            as ended_at,
        "CZ_TIMEZONE" as time_zone,
        case "CZ_TYPE"
            when 'C' then 'county' when 'Z' then 'forecast zone' when 'M' then 'marine zone'
        end as place_type,
        lpad("CZ_FIPS", 3, '0') as place_number,
        "CZ_NAME" as place_name,
        -- STATE_FIPS is unusable: the Weather Service uses its own codes for the territories.
        "STATE" as reported_state_name,
        "WFO" as forecast_office,
        {{ cast_or_null('"INJURIES_DIRECT"', 'integer') }} as direct_injury_count,
        {{ cast_or_null('"INJURIES_INDIRECT"', 'integer') }} as indirect_injury_count,
        {{ cast_or_null('"DEATHS_DIRECT"', 'integer') }} as direct_death_count,
        {{ cast_or_null('"DEATHS_INDIRECT"', 'integer') }} as indirect_death_count,
        {{ damage_usd('"DAMAGE_PROPERTY"') }} as property_damage_usd,
        {{ damage_usd('"DAMAGE_CROPS"') }} as crop_damage_usd,
        {{ cast_or_null('"MAGNITUDE"', 'double precision') }} as magnitude,
        "MAGNITUDE_TYPE" as magnitude_type,
        "TOR_F_SCALE" as tornado_scale,
        {{ cast_or_null('"TOR_LENGTH"', 'double precision') }} as tornado_length_mi,
        {{ cast_or_null('"TOR_WIDTH"', 'double precision') }} as tornado_width_yd,
        "FLOOD_CAUSE" as flood_cause,
        {{ cast_or_null('"BEGIN_LON"', 'double precision') }} as longitude,
        {{ cast_or_null('"BEGIN_LAT"', 'double precision') }} as latitude,
        {{ cast_or_null('"END_LON"', 'double precision') }} as end_longitude,
        {{ cast_or_null('"END_LAT"', 'double precision') }} as end_latitude,
        "SOURCE" as report_source,
        "EPISODE_NARRATIVE" as episode_narrative,
        "EVENT_NARRATIVE" as event_narrative
    from source
    where
        {{ must_cast(
            storm_local_time('"BEGIN_YEARMONTH"', '"BEGIN_DAY"', '"BEGIN_TIME"'),
            'timestamp',
            'BEGIN_TIME'
        ) }}
        and {{ must_cast(storm_offset_h('"CZ_TIMEZONE"'), 'smallint', 'CZ_TIMEZONE') }}

)

select * from renamed
