{#- Which casts there are is known from the staging models' config: see cast_or_null. -#}
{%- set staging_models = [
    ref('stg_bls_unemployment'),
    ref('stg_cdc_places'),
    ref('stg_census_counties'),
    ref('stg_census_population'),
    ref('stg_faa_airports'),
    ref('stg_faa_wildlife_strikes'),
    ref('stg_fema_disaster_declarations'),
    ref('stg_fema_disasters'),
    ref('stg_nifc_wildfires'),
    ref('stg_noaa_storm_events'),
    ref('stg_nws_alerts'),
    ref('stg_usgs_earthquakes'),
] | map(attribute='identifier') | list -%}
{%- set casts = [] -%}
{%- if execute -%}
    {%- for node in graph.nodes.values() | sort(attribute='unique_id') if node.name.startswith('stg_') -%}
        {%- if node.name not in staging_models -%}
            {%- do exceptions.raise_compiler_error(node.name ~ ' is not listed in uncastable_values') -%}
        {%- endif -%}
        {%- for cast in node.config.meta.values() if cast.expression -%}
            {%- do casts.append((node.sources[0][1], cast)) -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endif -%}

with

counted as (

    select
        null::text as source_name,
        null::text as column_name,
        null::text as target_type,
        null::bigint as uncastable_count,
        null::text as example
    where false
    {% for source_name, cast in casts -%}
    union all
    select
        '{{ source_name }}',
        '{{ cast.column_name }}',
        '{{ cast.type }}',
        count(*),
        min({{ cast.expression }})
    from {{ source('source', source_name) }}
    where not ({{ is_castable(cast.expression, cast.type) }})
    {% endfor %}

)

select * from counted
where uncastable_count > 0
