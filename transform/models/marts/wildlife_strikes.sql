with

strikes as (

    select * from {{ ref('stg_faa_wildlife_strikes') }}

),

airports as (

    select * from {{ ref('airports') }}

),

us_states as (

    select * from {{ ref('int_us_states') }}

),

reported_airports as (

    select distinct
        reported_airport_name,
        reported_state_name,
        {{ airport_match_name('reported_airport_name') }} as match_name
    from strikes

),

named_airports as (

    select
        airport_id,
        county_fips,
        state_code,
        {{ airport_match_name('airport_name') }} as match_name
    from airports

),

-- The reports use the code for some states (DC).
reported_states as (

    select
        reported_airports.*,
        us_states.state_fips,
        us_states.state_code
    from reported_airports
    left join us_states
        on reported_airports.reported_state_name in (us_states.state_name, us_states.state_code)

),

-- A name that matches two airports of the state matches none. Washington's airports are in
-- Virginia; the reports assign them to DC.
airport_matches as (

    select
        reported_states.reported_airport_name,
        reported_states.reported_state_name,
        min(named_airports.airport_id) as airport_id,
        min(named_airports.county_fips) as county_fips
    from reported_states
    inner join named_airports
        on reported_states.match_name = named_airports.match_name
        and (
            reported_states.state_code = named_airports.state_code
            or (reported_states.state_code = 'DC' and named_airports.state_code = 'VA')
        )
    group by reported_states.reported_airport_name, reported_states.reported_state_name
    having count(*) = 1

),

final as (

    select
        strikes.wildlife_strike_id,
        strikes.flight_date,
        strikes.time_of_day,
        reported_states.state_fips,
        reported_states.state_code,
        strikes.reported_airport_name,
        airport_matches.airport_id,
        airport_matches.county_fips,
        strikes.flight_phase,
        strikes.wildlife_species,
        strikes.wildlife_size,
        strikes.damage_level,
        case
            when strikes.damage_level = 'none' then false
            when strikes.damage_level in ('minor', 'medium', 'substantial') then true
        end as has_damage,
        strikes.total_cost_usd::numeric(14, 2) as total_cost_usd,
        strikes.repair_cost_usd::numeric(14, 2) as repair_cost_usd,
        strikes.other_cost_usd::numeric(14, 2) as other_cost_usd,
        strikes.aircraft_model,
        strikes.operator_name,
        strikes.speed_kn
    from strikes
    left join reported_states
        on strikes.reported_airport_name = reported_states.reported_airport_name
        and strikes.reported_state_name = reported_states.reported_state_name
    left join airport_matches
        on strikes.reported_airport_name = airport_matches.reported_airport_name
        and strikes.reported_state_name = airport_matches.reported_state_name

)

select * from final
