{#-
    The coordinates of a GeoJSON Point (text) as the text of a double precision[]: longitude,
    latitude, the third if there is one. Of anything else comes a text that cannot be cast to that.
-#}
{% macro geojson_coordinates(column) -%}
    case when pipeline.is_valid({{ column }}, 'jsonb')
        then coalesce('{' || trim({{ column }}::jsonb ->> 'coordinates', '[]') || '}', {{ column }})
        else 'no JSON: ' || {{ column }}
    end
{%- endmacro %}
