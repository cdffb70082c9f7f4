{#- One coordinate of a GeoJSON Point (text) as text: 0 longitude, 1 latitude, 2 the third. -#}
{% macro geojson_coordinate(column, position) -%}
    case when pipeline.is_valid({{ column }}, 'jsonb') then {{ column }}::jsonb #>> '{coordinates,{{ position }}}' end
{%- endmacro %}
