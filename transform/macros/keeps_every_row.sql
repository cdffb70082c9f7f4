{#-
    A join that drops or multiplies rows shows as another number of rows than the model was made
    from.

    of:       the relation it was made from.
    of_where: which of its rows count (`where` is a word of dbt's own, about the model).
    expected: what is counted of them, such as `distinct disaster_number`.
    found:    what is counted in the model.
-#}
{% test keeps_every_row(model, of, of_where="true", expected="*", found="*") %}
    with

    row_counts as (

        select
            (select count({{ expected }}) from {{ of }} where {{ of_where }}) as expected_count,
            (select count({{ found }}) from {{ model }}) as found_count

    )

    select * from row_counts
    where expected_count <> found_count
{% endtest %}
