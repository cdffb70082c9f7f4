create table if not exists source.census_population (
    "SUMLEV" text,
    "REGION" text,
    "DIVISION" text,
    "STATE" text,
    "COUNTY" text,
    "STNAME" text,
    "CTYNAME" text,
    "ESTIMATESBASE2020" text,
    "POPESTIMATE2020" text,
    "POPESTIMATE2021" text,
    "POPESTIMATE2022" text,
    "POPESTIMATE2023" text,
    "NPOPCHG2020" text,
    "NPOPCHG2021" text,
    "NPOPCHG2022" text,
    "NPOPCHG2023" text,
    "BIRTHS2020" text,
    "BIRTHS2021" text,
    "BIRTHS2022" text,
    "BIRTHS2023" text,
    "DEATHS2020" text,
    "DEATHS2021" text,
    "DEATHS2022" text,
    "DEATHS2023" text,
    "NATURALCHG2020" text,
    "NATURALCHG2021" text,
    "NATURALCHG2022" text,
    "NATURALCHG2023" text,
    "INTERNATIONALMIG2020" text,
    "INTERNATIONALMIG2021" text,
    "INTERNATIONALMIG2022" text,
    "INTERNATIONALMIG2023" text,
    "DOMESTICMIG2020" text,
    "DOMESTICMIG2021" text,
    "DOMESTICMIG2022" text,
    "DOMESTICMIG2023" text,
    "NETMIG2020" text,
    "NETMIG2021" text,
    "NETMIG2022" text,
    "NETMIG2023" text,
    "RESIDUAL2020" text,
    "RESIDUAL2021" text,
    "RESIDUAL2022" text,
    "RESIDUAL2023" text,
    "GQESTIMATESBASE2020" text,
    "GQESTIMATES2020" text,
    "GQESTIMATES2021" text,
    "GQESTIMATES2022" text,
    "GQESTIMATES2023" text,
    "RBIRTH2021" text,
    "RBIRTH2022" text,
    "RBIRTH2023" text,
    "RDEATH2021" text,
    "RDEATH2022" text,
    "RDEATH2023" text,
    "RNATURALCHG2021" text,
    "RNATURALCHG2022" text,
    "RNATURALCHG2023" text,
    "RINTERNATIONALMIG2021" text,
    "RINTERNATIONALMIG2022" text,
    "RINTERNATIONALMIG2023" text,
    "RDOMESTICMIG2021" text,
    "RDOMESTICMIG2022" text,
    "RDOMESTICMIG2023" text,
    "RNETMIG2021" text,
    "RNETMIG2022" text,
    "RNETMIG2023" text
);

comment on table source.census_population is
'Population estimates of the newest vintage, counties and states: one row per county or county
equivalent, or state.
Publisher: U.S. Census Bureau, Population Estimates Program.
Page: https://www.census.gov/programs-surveys/popest.html (columns: https://www2.census.gov/
programs-surveys/popest/technical-documentation/file-layouts/).
Licence: public domain (U.S. government work).
The declared columns exist in every vintage from 2023 to the next census. A later vintage also has
columns for its own year, which are added when it arrives. A vintage of another decade lacks some
columns and is held.';

comment on column source.census_population."SUMLEV" is
'Level of the row: 040 (or 40) a state, 050 (or 50) a county.';
comment on column source.census_population."REGION" is
'Census region, 1 to 4.';
comment on column source.census_population."DIVISION" is
'Census division, 1 to 9.';
comment on column source.census_population."STATE" is
'State code (FIPS); some vintages without its leading zero.';
comment on column source.census_population."COUNTY" is
'County code within the state (FIPS), 0 for the state; some vintages without leading zeros.';
comment on column source.census_population."STNAME" is
'Name of the state.';
comment on column source.census_population."CTYNAME" is
'Name of the county with its kind (Autauga County), or of the state.';
comment on column source.census_population."ESTIMATESBASE2020" is
'Base of the estimates: resident population on 2020-04-01.';
comment on column source.census_population."POPESTIMATE2020" is
'Estimate of the resident population on 2020-07-01.';
comment on column source.census_population."POPESTIMATE2021" is
'Estimate of the resident population on 2021-07-01.';
comment on column source.census_population."POPESTIMATE2022" is
'Estimate of the resident population on 2022-07-01.';
comment on column source.census_population."POPESTIMATE2023" is
'Estimate of the resident population on 2023-07-01.';
comment on column source.census_population."NPOPCHG2020" is
'Change of the population in the year to 2020-07-01 (from 2020-04-01).';
comment on column source.census_population."NPOPCHG2021" is
'Change of the population in the year to 2021-07-01.';
comment on column source.census_population."NPOPCHG2022" is
'Change of the population in the year to 2022-07-01.';
comment on column source.census_population."NPOPCHG2023" is
'Change of the population in the year to 2023-07-01.';
comment on column source.census_population."BIRTHS2020" is
'Births in the year to 2020-06-30 (from 2020-04-01).';
comment on column source.census_population."BIRTHS2021" is
'Births in the year to 2021-06-30.';
comment on column source.census_population."BIRTHS2022" is
'Births in the year to 2022-06-30.';
comment on column source.census_population."BIRTHS2023" is
'Births in the year to 2023-06-30.';
comment on column source.census_population."DEATHS2020" is
'Deaths in the year to 2020-06-30 (from 2020-04-01).';
comment on column source.census_population."DEATHS2021" is
'Deaths in the year to 2021-06-30.';
comment on column source.census_population."DEATHS2022" is
'Deaths in the year to 2022-06-30.';
comment on column source.census_population."DEATHS2023" is
'Deaths in the year to 2023-06-30.';
comment on column source.census_population."NATURALCHG2020" is
'Births less deaths in the year to 2020-06-30 (from 2020-04-01).';
comment on column source.census_population."NATURALCHG2021" is
'Births less deaths in the year to 2021-06-30.';
comment on column source.census_population."NATURALCHG2022" is
'Births less deaths in the year to 2022-06-30.';
comment on column source.census_population."NATURALCHG2023" is
'Births less deaths in the year to 2023-06-30.';
comment on column source.census_population."INTERNATIONALMIG2020" is
'Net migration from abroad in the year to 2020-06-30 (from 2020-04-01).';
comment on column source.census_population."INTERNATIONALMIG2021" is
'Net migration from abroad in the year to 2021-06-30.';
comment on column source.census_population."INTERNATIONALMIG2022" is
'Net migration from abroad in the year to 2022-06-30.';
comment on column source.census_population."INTERNATIONALMIG2023" is
'Net migration from abroad in the year to 2023-06-30.';
comment on column source.census_population."DOMESTICMIG2020" is
'Net migration from within the nation in the year to 2020-06-30 (from 2020-04-01).';
comment on column source.census_population."DOMESTICMIG2021" is
'Net migration from within the nation in the year to 2021-06-30.';
comment on column source.census_population."DOMESTICMIG2022" is
'Net migration from within the nation in the year to 2022-06-30.';
comment on column source.census_population."DOMESTICMIG2023" is
'Net migration from within the nation in the year to 2023-06-30.';
comment on column source.census_population."NETMIG2020" is
'Net migration in the year to 2020-06-30 (from 2020-04-01).';
comment on column source.census_population."NETMIG2021" is
'Net migration in the year to 2021-06-30.';
comment on column source.census_population."NETMIG2022" is
'Net migration in the year to 2022-06-30.';
comment on column source.census_population."NETMIG2023" is
'Net migration in the year to 2023-06-30.';
comment on column source.census_population."RESIDUAL2020" is
'Residual of the change of population in the year to 2020-06-30 (from 2020-04-01).';
comment on column source.census_population."RESIDUAL2021" is
'Residual of the change of population in the year to 2021-06-30.';
comment on column source.census_population."RESIDUAL2022" is
'Residual of the change of population in the year to 2022-06-30.';
comment on column source.census_population."RESIDUAL2023" is
'Residual of the change of population in the year to 2023-06-30.';
comment on column source.census_population."GQESTIMATESBASE2020" is
'Base of the estimates of people in group quarters, 2020-04-01.';
comment on column source.census_population."GQESTIMATES2020" is
'Estimate of the people in group quarters on 2020-07-01.';
comment on column source.census_population."GQESTIMATES2021" is
'Estimate of the people in group quarters on 2021-07-01.';
comment on column source.census_population."GQESTIMATES2022" is
'Estimate of the people in group quarters on 2022-07-01.';
comment on column source.census_population."GQESTIMATES2023" is
'Estimate of the people in group quarters on 2023-07-01.';
comment on column source.census_population."RBIRTH2021" is
'Births per 1,000 people in the year to 2021-06-30.';
comment on column source.census_population."RBIRTH2022" is
'Births per 1,000 people in the year to 2022-06-30.';
comment on column source.census_population."RBIRTH2023" is
'Births per 1,000 people in the year to 2023-06-30.';
comment on column source.census_population."RDEATH2021" is
'Deaths per 1,000 people in the year to 2021-06-30.';
comment on column source.census_population."RDEATH2022" is
'Deaths per 1,000 people in the year to 2022-06-30.';
comment on column source.census_population."RDEATH2023" is
'Deaths per 1,000 people in the year to 2023-06-30.';
comment on column source.census_population."RNATURALCHG2021" is
'Births less deaths per 1,000 people in the year to 2021-06-30.';
comment on column source.census_population."RNATURALCHG2022" is
'Births less deaths per 1,000 people in the year to 2022-06-30.';
comment on column source.census_population."RNATURALCHG2023" is
'Births less deaths per 1,000 people in the year to 2023-06-30.';
comment on column source.census_population."RINTERNATIONALMIG2021" is
'Net migration from abroad per 1,000 people in the year to 2021-06-30.';
comment on column source.census_population."RINTERNATIONALMIG2022" is
'Net migration from abroad per 1,000 people in the year to 2022-06-30.';
comment on column source.census_population."RINTERNATIONALMIG2023" is
'Net migration from abroad per 1,000 people in the year to 2023-06-30.';
comment on column source.census_population."RDOMESTICMIG2021" is
'Net migration from within the nation per 1,000 people in the year to 2021-06-30.';
comment on column source.census_population."RDOMESTICMIG2022" is
'Net migration from within the nation per 1,000 people in the year to 2022-06-30.';
comment on column source.census_population."RDOMESTICMIG2023" is
'Net migration from within the nation per 1,000 people in the year to 2023-06-30.';
comment on column source.census_population."RNETMIG2021" is
'Net migration per 1,000 people in the year to 2021-06-30.';
comment on column source.census_population."RNETMIG2022" is
'Net migration per 1,000 people in the year to 2022-06-30.';
comment on column source.census_population."RNETMIG2023" is
'Net migration per 1,000 people in the year to 2023-06-30.';
