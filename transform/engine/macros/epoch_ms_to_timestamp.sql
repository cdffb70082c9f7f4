{#-
    Milliseconds since 1970-01-01 00:00 UTC, as text, to timestamptz; null if it is not a number.
    Fifteen digits reach the year 33658 and stay inside the range of to_timestamp().
-#}
{% macro epoch_ms_to_timestamp(column) -%}
    to_timestamp({{ cast_or_null(column, 'numeric(15, 0)') }} / 1000)
{%- endmacro %}
