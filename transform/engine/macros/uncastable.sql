{#-
    The staging models with their registered casts (see cast_or_null), in a fixed order; none while
    dbt only parses: [{model, source_name, casts, is_tested}].

    is_tested: whether the casts of the model are tested in this run, because its rows or its SQL may
               have changed.
-#}
{% macro staging_casts() -%}
    {%- set found = [] -%}
    {%- set nodes = graph.nodes.values() | sort(attribute='unique_id') if execute else [] -%}
    {%- set tested = [] -%}
    {%- for node in nodes if node.test_metadata and node.test_metadata.name == 'castable' -%}
        {%- if node.unique_id in selected_resources -%}
            {%- do tested.append(node.attached_node) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for node in nodes if node.resource_type == 'model' and node.name.startswith('stg_') -%}
        {%- do found.append({
            'model': node.name,
            'source_name': node.sources[0][1],
            'casts': node.config.meta.values() | selectattr('expression', 'defined') | list,
            'is_tested': node.unique_id in tested,
        }) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{#-
    Counts the values of a source that cannot be cast: a query of (source_name, column_name, target_type,
    uncastable_count, example, row_count), one row per cast with such values.

    The rows are read once. Only rows with such a value are examined cast by cast.

    source_name: a table of schema source.
    casts:       the registered casts of the staging model, one or more.
-#}
{% macro count_uncastable(source_name, casts) -%}
    select
        '{{ source_name }}' as source_name,
        cells.column_name,
        cells.target_type,
        count(*) as uncastable_count,
        min(cells.value) as example,
        (select count(*) from {{ source('source', source_name) }}) as row_count
    from (
        select * from {{ source('source', source_name) }} as source
        where not ({{ are_castable(casts) }})
    ) as source
    cross join lateral ({{ uncastable_cells(casts) }}) as cells
    group by cells.cast_number, cells.column_name, cells.target_type
{%- endmacro %}

{#- The values of one row that cannot be cast. -#}
{% macro uncastable_cells(casts) -%}
    {%- for cast in casts -%}
        select
            {{ loop.index }} as cast_number,
            {{ text_literal(cast.column_name) }} as column_name,
            {{ text_literal(cast.type) }} as target_type,
            {{ cast.expression }} as value
        where not ({{ is_castable(cast.expression, cast.type) }})
        {{ 'union all ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#- Whether all casts of a row are possible; a null can always be cast. -#}
{% macro are_castable(casts) -%}
    {%- for cast in casts -%}
        ({{ is_castable(cast.expression, cast.type) }}) is not false {{ 'and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#- A text as an SQL literal. -#}
{% macro text_literal(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}
