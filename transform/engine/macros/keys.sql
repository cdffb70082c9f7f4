{#-
    A mart gets its keys after its rows, because one sort is cheaper than one index insertion per
    row. dbt would create the table with its keys and then fill it.
-#}
{% macro postgres__get_table_columns_and_constraints() -%}
    ({{ adapter.render_raw_columns_constraints(raw_columns=model['columns']) | join(', ') }})
{%- endmacro %}

{#- Adds the keys declared under `constraints` of the model to its filled table. -#}
{% macro add_keys(table) -%}
    {%- for key in adapter.render_raw_model_constraints(raw_constraints=model['constraints']) -%}
        alter table {{ table }} add {{ key }};
    {%- endfor -%}
{%- endmacro %}
