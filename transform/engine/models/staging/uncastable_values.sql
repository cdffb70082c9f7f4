{{ config(materialized='table') }}
{#-
    The casts come from the config of the staging models (see cast_or_null). The models are not
    referenced, because a failing test of one of them must not keep dbt from counting here.

    Sources that did not change keep their previous counts.

    dbt processes the graph level by level. On the second level this model does not delay the tests
    that the marts wait for.
-#}
{%- do ref('int_loaded_sources') -%}
{%- set before = load_relation(this) if execute else none -%}
{%- set has_before = before is not none and before.is_table -%}

with

counted as (

    select
        null::text as source_name,
        null::text as column_name,
        null::text as target_type,
        null::bigint as uncastable_count,
        null::text as example,
        null::bigint as row_count
    where false
    {% for staged in staging_casts() if staged.casts -%}
    union all
        {%- if staged.is_tested or not has_before %}
    {{ count_uncastable(staged.source_name, staged.casts) }}
        {%- else %}
    select * from {{ before }} where source_name = '{{ staged.source_name }}'
        {%- endif %}
    {% endfor %}

)

select * from counted
