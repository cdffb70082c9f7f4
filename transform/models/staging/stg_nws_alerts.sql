with

source as (

    select * from {{ source('source', 'nws_alerts') }}

),

renamed as (

    select
        "id" as alert_id,
        "@id" as url,
        "status" as message_status,
        "messageType" as message_type,
        "event" as alert_type,
        "severity" as severity,
        "certainty" as certainty,
        "urgency" as urgency,
        {{ cast_or_null('"sent"', 'timestamptz') }} as sent_at,
        {{ cast_or_null('"effective"', 'timestamptz') }} as effective_at,
        {{ cast_or_null('"onset"', 'timestamptz') }} as onset_at,
        {{ cast_or_null('"expires"', 'timestamptz') }} as expires_at,
        {{ cast_or_null('"ends"', 'timestamptz') }} as ends_at,
        "senderName" as office_name,
        "headline",
        "areaDesc" as area_description,
        nullif({{ cast_or_null('"geocode"', 'jsonb') }} -> 'SAME', 'null') as same_codes,
        nullif({{ cast_or_null('"geocode"', 'jsonb') }} -> 'UGC', 'null') as ugc_codes
    from source
    where {{ must_cast('"sent"', 'timestamptz') }}

)

select * from renamed
