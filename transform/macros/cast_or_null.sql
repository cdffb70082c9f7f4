{#-
    The value of a text expression as `type`, null where it cannot be cast.

    Every call in a staging model notes itself in the model's config, so that
    `uncastable_values` counts what became null here: a cast is never silent.

    expression:  SQL over the columns of the source table, of type text.
    type:        name of the type, as pg_input_is_valid() reads it.
    column_name: the source column it is reported under; default: the expression.
-#}
{% macro cast_or_null(expression, type, column_name=none) -%}
    {%- do config(meta={
        expression ~ '::' ~ type: {
            'expression': expression,
            'type': type,
            'column_name': column_name or expression | replace('"', ''),
        }
    }) -%}
    case when {{ is_castable(expression, type) }} then ({{ expression }})::{{ type }} end
{%- endmacro %}

{#-
    Whether a text expression can be cast; null for null. A date must be ISO 8601: PostgreSQL also
    takes 01/02/1990, either way round, and `today`, another day every night.
-#}
{% macro is_castable(expression, type) -%}
    pipeline.is_valid({{ expression }}, '{{ type }}')
    {%- if type == 'date' %} and {{ expression }} ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'{% endif %}
{%- endmacro %}
