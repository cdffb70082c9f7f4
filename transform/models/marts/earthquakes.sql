with

earthquakes as (

    select * from {{ ref('stg_usgs_earthquakes') }}

),

county_rings as (

    select * from {{ ref('county_rings') }}

),

earthquake_counties as (

    {{ county_of_points('earthquakes', 'earthquake_id', 'county_rings') }}

),

final as (

    select
        earthquakes.earthquake_id,
        earthquakes.event_type,
        earthquakes.occurred_at,
        earthquakes.updated_at,
        earthquakes.magnitude,
        earthquakes.magnitude_type,
        earthquakes.depth_km,
        earthquakes.longitude,
        earthquakes.latitude,
        earthquake_counties.county_fips,
        earthquakes.place,
        earthquakes.title,
        earthquakes.has_tsunami_flag,
        earthquakes.felt_report_count,
        earthquakes.max_reported_intensity,
        earthquakes.max_estimated_intensity,
        earthquakes.alert_level,
        earthquakes.significance,
        earthquakes.review_status,
        earthquakes.network,
        earthquakes.station_count,
        earthquakes.azimuthal_gap_deg,
        earthquakes.nearest_station_deg,
        earthquakes.residual_s,
        earthquakes.url
    from earthquakes
    left join earthquake_counties
        on earthquakes.earthquake_id = earthquake_counties.earthquake_id

)

select * from final
