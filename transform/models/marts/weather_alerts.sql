with

-- Tests and exercises are not warnings.
alerts as (

    select * from {{ ref('stg_nws_alerts') }}
    where message_status = 'Actual'

),

counties as (

    select * from {{ ref('counties') }}

),

county_matches as (

    select * from {{ ref('int_county_matches') }}

),

us_states as (

    select * from {{ ref('int_us_states') }}

),

-- SAME (NWSI 10-1712): one digit for the part of the county, two for the state, three for the
-- county. 000 is the whole state; marine areas have their own state numbers.
same_areas as (

    select
        alerts.alert_id,
        same.code as area_code,
        substr(same.code, 2, 2) as state_fips,
        substr(same.code, 4) = '000' as is_statewide,
        substr(same.code, 2) as reported_county_fips
    from alerts
    cross join lateral jsonb_array_elements_text(alerts.same_codes) as same (code)

),

-- UGC (NWSI 10-1702): two letters for the state or waters, C for a county or Z for a forecast zone,
-- three digits; 000 is all of them. Zones are not counties: their borders can cross.
ugc_areas as (

    select
        alerts.alert_id,
        ugc.code as area_code,
        us_states.state_fips,
        substr(ugc.code, 4) = '000' as is_statewide,
        case
            when substr(ugc.code, 3, 1) = 'C' then us_states.state_fips || substr(ugc.code, 4)
        end as reported_county_fips
    from alerts
    cross join lateral jsonb_array_elements_text(alerts.ugc_codes) as ugc (code)
    left join us_states on left(ugc.code, 2) = us_states.state_code
    where alerts.alert_id not in (select same_areas.alert_id from same_areas)

),

areas as (

    select * from same_areas
    union all
    select * from ugc_areas

),

-- One row per alert and county; without a county, one row per alert and code.
alert_counties as (

    select distinct
        areas.alert_id,
        coalesce(statewide.county_fips, county_matches.county_fips) as county_fips,
        case
            when coalesce(statewide.county_fips, county_matches.county_fips) is null
                then areas.area_code
        end as area_code
    from areas
    left join counties as statewide
        on areas.is_statewide and areas.state_fips = statewide.state_fips
    left join county_matches on areas.reported_county_fips = county_matches.reported_county_fips

),

final as (

    select
        alerts.alert_id
        || ':' || coalesce(alert_counties.county_fips, alert_counties.area_code, 'nowhere')
            as weather_alert_id,
        alerts.alert_id,
        alert_counties.county_fips,
        alert_counties.area_code,
        alerts.alert_type,
        alerts.message_type,
        alerts.severity,
        alerts.certainty,
        alerts.urgency,
        alerts.sent_at,
        alerts.effective_at,
        alerts.onset_at,
        alerts.expires_at,
        alerts.ends_at,
        alerts.headline,
        alerts.area_description,
        alerts.office_name,
        alerts.url
    from alerts
    left join alert_counties on alerts.alert_id = alert_counties.alert_id

)

select * from final
