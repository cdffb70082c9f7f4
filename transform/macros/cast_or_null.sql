{#-
    The value of a text expression as `type`, null where it cannot be cast.

    Every call in a staging model notes itself in the model's config, so that `uncastable_values`
    counts what became null here and `rejected` shows it: a cast is never silent.

    expression:  SQL over the columns of the source table, of type text.
    type:        name of the type, as pg_input_is_valid() reads it.
    column_name: the source column it is reported under; default: the expression.
-#}
{% macro cast_or_null(expression, type, column_name=none) -%}
    {%- do note_cast(expression, type, column_name) -%}
    case when {{ is_castable(expression, type) }} then ({{ expression }})::{{ type }} end
{%- endmacro %}

{#-
    cast_or_null for an expression that takes long: it is made once a row, not once to test it and
    once to cast it. Without the limit PostgreSQL would put it into both places.
-#}
{% macro cast_once_or_null(expression, type, column_name) -%}
    {%- do note_cast(expression, type, column_name) -%}
    (
        select case when {{ is_castable('made.value', type) }} then made.value::{{ type }} end
        from (select {{ expression }} limit 1) as made (value)
    )
{%- endmacro %}

{#-
    Whether a row can be kept, for the `where` of a staging model: false where a value that the
    marts cannot do without (a key, the time of an event) is there and cannot be cast. The row is
    then left out, and shown in `rejected`. Where the value is null the row is kept: that is for
    `not_null` to judge.

    The arguments are those of the value's cast in the same model.
-#}
{% macro must_cast(expression, type, column_name=none) -%}
    {%- do note_cast(expression, type, column_name, is_required=true) -%}
    ({{ is_castable(expression, type) }}) is not false
{%- endmacro %}

{#-
    Whether a text expression can be cast; null for null. A date must be ISO 8601: PostgreSQL also
    takes 01/02/1990, either way round, and `today`, another day every night.
-#}
{% macro is_castable(expression, type) -%}
    pipeline.is_valid({{ expression }}, '{{ type }}')
    {%- if type == 'date' %} and {{ expression }} ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'{% endif %}
{%- endmacro %}

{#- Note a cast in the config of its model; of two notes of one cast the last holds. -#}
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
