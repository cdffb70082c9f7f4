{#- A county code at its full width of five: a spreadsheet on the way drops the leading zero. -#}
{% macro county_fips(column) -%}
    case when length({{ column }}) < 5 then lpad({{ column }}, 5, '0') else {{ column }} end
{%- endmacro %}
