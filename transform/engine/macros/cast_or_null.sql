{#-
    The value of a text expression as `type`, or null if it cannot be cast.

    Every call in a staging model registers the cast in the model's config, so that
    `uncastable_values` counts the values that became null and `rejected` shows them.

    expression:  SQL over the columns of the source table, of type text.
    type:        name of the type, as pg_input_is_valid() reads it.
    column_name: the source column to report; default: the expression.
-#}
{% macro cast_or_null(expression, type, column_name=none) -%}
    {%- do note_cast(expression, type, column_name) -%}
    case when {{ is_castable(expression, type) }} then ({{ expression }})::{{ type }} end
{%- endmacro %}

{#-
    cast_or_null for an expensive expression: it is evaluated once per row, not once to test it and
    once to cast it. Without the limit PostgreSQL would inline it twice.
-#}
{% macro cast_once_or_null(expression, type, column_name) -%}
    {%- do note_cast(expression, type, column_name) -%}
    (
        select case when {{ is_castable('result.value', type) }} then result.value::{{ type }} end
        from (select {{ expression }} limit 1) as result (value)
    )
{%- endmacro %}

{#-
    A condition for the `where` of a staging model. It is false if a value that the marts need (a key,
    the time of an event) is present but cannot be cast. The row is then left out and shown in
    `rejected`. A row with null is kept; the test `not_null` decides about it.

    Use the same arguments as for the cast of the value in the model.
-#}
{% macro must_cast(expression, type, column_name=none) -%}
    {%- do note_cast(expression, type, column_name, is_required=true) -%}
    ({{ is_castable(expression, type) }}) is not false
{%- endmacro %}

{#-
    Whether a text expression can be cast; null for null. A date must be ISO 8601. PostgreSQL also
    accepts 01/02/1990, which is ambiguous, and `today`, which changes every night.
-#}
{% macro is_castable(expression, type) -%}
    pipeline.is_valid({{ expression }}, '{{ type }}')
    {%- if type == 'date' %} and {{ expression }} ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'{% endif %}
{%- endmacro %}

{#- Register a cast in the config of its model. The last registration of a cast wins. -#}
{% macro note_cast(expression, type, column_name=none, is_required=false) -%}
    {%- do config(meta={
        expression ~ '::' ~ type: {
            'expression': expression,
            'type': type,
            'column_name': column_name or expression | replace('"', ''),
            'is_required': is_required,
        }
    }) -%}
{%- endmacro %}
