{#-
    An airport's name in a form for comparison: lower case, abbreviations of the FAA's strike reports
    expanded, without remarks in brackets, punctuation and the word airport.
-#}
{% macro airport_match_name(column) -%}
    {%- set rewrites = [
        ("\\([^)]*\\)", " "),
        ("[^a-z0-9]+", " "),
        ("\\mo hare\\M", "ohare"),
        ("\\mint l\\M|\\mintl\\M", "international"),
        ("\\mnatl\\M", "national"),
        ("\\mmetro\\M", "metropolitan"),
        ("\\mair force base\\M", "afb"),
        ("\\m(arpt|airport)\\M", " "),
        (" +", " "),
    ] -%}
    {%- set ns = namespace(sql='lower(' ~ column ~ ')') -%}
    {%- for pattern, replacement in rewrites -%}
        {%- set arguments = [ns.sql, "'" ~ pattern ~ "'", "'" ~ replacement ~ "'", "'g'"] -%}
        {%- set ns.sql = "regexp_replace(" ~ arguments | join(", ") ~ ")" -%}
    {%- endfor -%}
    trim({{ ns.sql }})
{%- endmacro %}
