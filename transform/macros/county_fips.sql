{#- A county code with five digits. Spreadsheets often drop the leading zero. -#}
{% macro county_fips(column) -%}
    case when length({{ column }}) < 5 then lpad({{ column }}, 5, '0') else {{ column }} end
{%- endmacro %}
