{#-
    An amount of damage such as 10.00K, 1.50M or 2B in US dollars; null if there is no estimate.
    The letters are powers of ten: H hundreds, K thousands, M millions, B billions, T trillions.
-#}
{% macro damage_usd(column) -%}
    {%- set ns = namespace(sql='upper(' ~ column ~ ')') -%}
    {%- for letter, exponent in [('H', 2), ('K', 3), ('M', 6), ('B', 9), ('T', 12)] -%}
        {%- set ns.sql = "replace(" ~ ns.sql ~ ", '" ~ letter ~ "', 'e" ~ exponent ~ "')" -%}
    {%- endfor -%}
    ({{ cast_or_null(ns.sql, 'numeric(16, 2)', column | replace('"', '')) }})::numeric(16, 2)
{%- endmacro %}

{#-
    A local time in three parts (201901, 9, 810 for 2019-01-09 08:10) with the offset of a time zone
    such as EST-5 or GST10, as timestamptz; null if a part cannot be read.
-#}
{% macro storm_timestamp(year_month, day, time, time_zone) -%}
    {%- set local_time = storm_local_time(year_month, day, time) -%}
    {%- set offset_h = storm_offset_h(time_zone) -%}
    (
        {{ cast_or_null(local_time, 'timestamp', time | replace('"', '')) }}
        - {{ cast_or_null(offset_h, 'smallint', time_zone | replace('"', '')) }} * interval '1 hour'
    ) at time zone 'UTC'
{%- endmacro %}

{#- The three parts as the text of one timestamp. -#}
{% macro storm_local_time(year_month, day, time) -%}
    {{ [
        "left(" ~ year_month ~ ", 4)", "'-'", "right(" ~ year_month ~ ", 2)", "'-'", day, "' '",
        "left(lpad(" ~ time ~ ", 4, '0'), 2)", "':'", "right(lpad(" ~ time ~ ", 4, '0'), 2)",
    ] | join(" || ") }}
{%- endmacro %}

{#- The hours east of Greenwich, as text, of a time zone such as EST-5. -#}
{% macro storm_offset_h(time_zone) -%}
    regexp_replace({{ time_zone }}, '^[A-Za-z]+', '')
{%- endmacro %}
