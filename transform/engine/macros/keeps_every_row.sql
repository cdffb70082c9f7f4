{#-
    Compares the number of rows of a model with the relation it was made from, to find a join that
    drops or multiplies rows.

    of:       the relation the model was made from.
    of_where: which of its rows count (dbt uses the name `where` for the model itself).
    expected: what to count in the relation, such as `distinct disaster_number`.
    found:    what to count in the model.
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
