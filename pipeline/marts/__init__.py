"""dbt, what is held, publication and freshness."""
