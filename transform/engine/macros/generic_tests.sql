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

{#-
    Columns with too many values that cannot be cast: more than `max_share_pct` percent of the rows of
    the source. For staging models. Up to this limit such values are null and appear in `rejected`.
-#}
{% test castable(model, max_share_pct=1) %}
    {%- for staged in staging_casts() if staged.model == model.identifier and staged.casts %}
    select
        *,
        format(
            '%s: %s of %s rows cannot be read as %s, such as "%s"; {{ max_share_pct }} %% may be',
            column_name, uncastable_count, row_count, target_type, left(example, 100)
        ) as problem
    from ({{ count_uncastable(staged.source_name, staged.casts) }}) as counted
    where uncastable_count > row_count * {{ max_share_pct }} / 100.0
    {%- else %}
    select 'no casts' as problem where false
    {%- endfor %}
{% endtest %}
