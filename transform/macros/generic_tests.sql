{#- Values that do not match a regular expression; null passes. -#}
{% test matches(model, column_name, pattern) %}
    select {{ column_name }} from {{ model }}
    where {{ column_name }} !~ '{{ pattern }}'
{% endtest %}

{#- Values outside a closed range (NaN too); null passes. -#}
{% test within(model, column_name, lowest, highest) %}
    select {{ column_name }} from {{ model }}
    where not {{ column_name }} between {{ lowest }} and {{ highest }}
{% endtest %}
