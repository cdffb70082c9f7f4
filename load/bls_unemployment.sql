create table if not exists source.bls_unemployment (
    "id" text,
    "rate" text
);

comment on table source.bls_unemployment is
'Unemployment rates by county, at the level of 2009: one row per county or county equivalent.
Publisher: U.S. Bureau of Labor Statistics, Local Area Unemployment Statistics, by way of
vega-datasets 3.2.1.
Page: https://www.bls.gov/lau/ and https://github.com/vega/vega-datasets.
Licence: public domain (U.S. government work).';

comment on column source.bls_unemployment."id" is
'County code (FIPS 6-4) of 2009 without its leading zero.';
comment on column source.bls_unemployment."rate" is
'Unemployed as a share of the labor force, 0 to 1.';
