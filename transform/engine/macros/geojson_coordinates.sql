{#-
    The coordinates of a GeoJSON Point (text) as the text of a double precision[]: longitude,
    latitude, and the third coordinate if there is one. Anything else gives a text that cannot be cast.

    json takes half the time of jsonb, but accepts escapes (\u0000) on which ->> then fails.
-#}
{% macro geojson_coordinates(column) -%}
    case
        when not pipeline.is_valid({{ column }}, 'json')
            or (strpos({{ column }}, '\') > 0 and not pipeline.is_valid({{ column }}, 'jsonb'))
            then 'no JSON: ' || {{ column }}
        else coalesce('{' || trim({{ column }}::json ->> 'coordinates', '[]') || '}', {{ column }})
    end
{%- endmacro %}
