with

source as (

    select * from {{ source('source', 'faa_wildlife_strikes') }}

),

-- The publisher gives no key, and whole rows are repeated. A row is identified by its content and
-- by its number among equal rows.
identified as (

    select
        *,
        md5(jsonb_build_array(
            "Airport_Name", "Aircraft_Make_Model", "Effect_Amount_of_damage", "Flight_Date",
            "Aircraft_Airline_Operator", "Origin_State", "Phase_of_flight", "Wildlife_Size",
            "Wildlife_Species", "Time_of_day", "Cost_Other", "Cost_Repair", "Cost_Total_$",
            "Speed_IAS_in_knots"
        )::text) as content_hash
    from source

),

renamed as (

    select
        content_hash || '-' || row_number() over (partition by content_hash) as wildlife_strike_id,
        "Airport_Name" as reported_airport_name,
        "Origin_State" as reported_state_name,
        {{ cast_or_null('"Flight_Date"', 'date') }} as flight_date,
        lower("Time_of_day") as time_of_day,
        lower("Phase_of_flight") as flight_phase,
        "Wildlife_Species" as wildlife_species,
        lower("Wildlife_Size") as wildlife_size,
        lower("Effect_Amount_of_damage") as damage_level,
        {{ cast_or_null('"Cost_Repair"', 'numeric') }} as repair_cost_usd,
        {{ cast_or_null('"Cost_Other"', 'numeric') }} as other_cost_usd,
        {{ cast_or_null('"Cost_Total_$"', 'numeric') }} as total_cost_usd,
        "Aircraft_Make_Model" as aircraft_model,
        "Aircraft_Airline_Operator" as operator_name,
        {{ cast_or_null('"Speed_IAS_in_knots"', 'double precision') }} as speed_kn
    from identified
    where {{ must_cast('"Flight_Date"', 'date') }}

)

select * from renamed
