{{ config(materialized='table') }}
{#- The most rows kept per cast; uncastable_values has the full count. -#}
{%- set most_rows = 10000 -%}

with

uncastable_values as (

    select * from {{ ref('uncastable_values') }}

),

-- A source is read only for casts that have failed.
rejected as (

    select
        null::text as source_name,
        null::text as column_name,
        null::text as target_type,
        null::text as value,
        null::text as reason,
        null::jsonb as row
    where false
    {% for staged in staging_casts() -%}
        {%- for cast in staged.casts %}
            {%- set outcome = ': the row is left out' if cast.is_required else ': null' %}
    union all
    (
        select
            '{{ staged.source_name }}',
            {{ text_literal(cast.column_name) }},
            {{ text_literal(cast.type) }},
            {{ cast.expression }},
            {{ text_literal('cannot be read as ' ~ cast.type ~ outcome) }},
            to_jsonb(source.*)
        from {{ source('source', staged.source_name) }} as source
        where
            exists(
                select from uncastable_values
                where
                    uncastable_values.source_name = '{{ staged.source_name }}'
                    and uncastable_values.column_name = {{ text_literal(cast.column_name) }}
                    and uncastable_values.target_type = {{ text_literal(cast.type) }}
            )
            and not ({{ is_castable(cast.expression, cast.type) }})
        limit {{ most_rows }}
    )
        {%- endfor -%}
    {% endfor %}

)

select * from rejected
