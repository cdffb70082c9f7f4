create table if not exists source.cdc_places (
    ":id" text,
    "year" text,
    "stateabbr" text,
    "statedesc" text,
    "locationname" text,
    "datasource" text,
    "category" text,
    "measure" text,
    "data_value_unit" text,
    "data_value_type" text,
    "data_value" text,
    "data_value_footnote_symbol" text,
    "data_value_footnote" text,
    "low_confidence_limit" text,
    "high_confidence_limit" text,
    "totalpopulation" text,
    "totalpop18plus" text,
    "locationid" text,
    "categoryid" text,
    "measureid" text,
    "datavaluetypeid" text,
    "short_question_text" text,
    "geolocation" text
);

comment on table source.cdc_places is
'PLACES, health measures by county, estimated from a survey with a model: one row per
measure, county and kind of value (crude, adjusted for age).
Publisher: Centers for Disease Control and Prevention, Division of Population Health.
Page: https://www.cdc.gov/places/ (data set https://data.cdc.gov/d/swc5-untb).
Licence: public domain (U.S. government work).';

comment on column source.cdc_places.":id" is
'The portal''s identifier of the row, by which its pages are ordered; different in every '
'release.';
comment on column source.cdc_places."year" is
'Year of the survey (BRFSS) used for the estimate.';
comment on column source.cdc_places."stateabbr" is
'State in two letters; US for the nation.';
comment on column source.cdc_places."statedesc" is
'State in words.';
comment on column source.cdc_places."locationname" is
'Name of the county without the word County; empty for the nation.';
comment on column source.cdc_places."datasource" is
'The survey: BRFSS, Behavioral Risk Factor Surveillance System.';
comment on column source.cdc_places."category" is
'Group of the measure, in words (Health Outcomes, Prevention …).';
comment on column source.cdc_places."measure" is
'The measure, in words.';
comment on column source.cdc_places."data_value_unit" is
'Unit of the value: %.';
comment on column source.cdc_places."data_value_type" is
'Crude prevalence or Age-adjusted prevalence.';
comment on column source.cdc_places."data_value" is
'Share of the adults the measure is about, in percent; empty if it is suppressed.';
comment on column source.cdc_places."data_value_footnote_symbol" is
'Symbol of the footnote.';
comment on column source.cdc_places."data_value_footnote" is
'The footnote: why there is no value.';
comment on column source.cdc_places."low_confidence_limit" is
'Lower limit of the 95 percent confidence interval, in percent.';
comment on column source.cdc_places."high_confidence_limit" is
'Upper limit of the 95 percent confidence interval, in percent.';
comment on column source.cdc_places."totalpopulation" is
'Population of the county (Census Bureau), all ages.';
comment on column source.cdc_places."totalpop18plus" is
'Population of the county aged 18 and more.';
comment on column source.cdc_places."locationid" is
'County code (FIPS), five digits; 59 for the nation.';
comment on column source.cdc_places."categoryid" is
'Group of the measure, its code (HLTHOUT, PREVENT, RISKBEH, HLTHSTAT, DISABLT, SOCLNEED).';
comment on column source.cdc_places."measureid" is
'The measure, its code (CASTHMA, DIABETES …).';
comment on column source.cdc_places."datavaluetypeid" is
'CrdPrv crude, AgeAdjPrv adjusted for age.';
comment on column source.cdc_places."short_question_text" is
'The measure, in a few words.';
comment on column source.cdc_places."geolocation" is
'Center of the county, POINT (longitude latitude).';
