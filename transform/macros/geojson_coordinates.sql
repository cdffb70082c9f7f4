{#-
    The coordinates of a GeoJSON Point (text) as the text of a double precision[]: longitude,
    latitude, the third if there is one. Of anything else comes a text that cannot be cast to that.

    json takes half the time of jsonb, but lets escapes pass (\u0000) that ->> then stumbles over.
-#}
{% macro geojson_coordinates(column) -%}
    case
        when not pipeline.is_valid({{ column }}, 'json')
            or (strpos({{ column }}, '\') > 0 and not pipeline.is_valid({{ column }}, 'jsonb'))
            then 'no JSON: ' || {{ column }}
        else coalesce('{' || trim({{ column }}::json ->> 'coordinates', '[]') || '}', {{ column }})
    end
{%- endmacro %}
