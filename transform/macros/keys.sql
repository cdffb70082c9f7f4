{#-
    The keys of a mart come when its rows are there: one sort is cheaper than to find the place of
    each row in turn. dbt would make the table with its keys, then fill it.
-#}
{% macro postgres__get_table_columns_and_constraints() -%}
    ({{ adapter.render_raw_columns_constraints(raw_columns=model['columns']) | join(', ') }})
{%- endmacro %}

{#- The keys that are declared under `constraints` of the model, for its table with all rows. -#}
{% macro add_keys(table) -%}
    {%- for key in adapter.render_raw_model_constraints(raw_constraints=model['constraints']) -%}
        alter table {{ table }} add {{ key }};
    {%- endfor -%}
{%- endmacro %}
