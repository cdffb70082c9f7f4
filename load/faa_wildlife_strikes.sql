create table if not exists source.faa_wildlife_strikes (
    "Airport_Name" text,
    "Aircraft_Make_Model" text,
    "Effect_Amount_of_damage" text,
    "Flight_Date" text,
    "Aircraft_Airline_Operator" text,
    "Origin_State" text,
    "Phase_of_flight" text,
    "Wildlife_Size" text,
    "Wildlife_Species" text,
    "Time_of_day" text,
    "Cost_Other" text,
    "Cost_Repair" text,
    "Cost_Total_$" text,
    "Speed_IAS_in_knots" text
);

comment on table source.faa_wildlife_strikes is
'Strikes of wildlife by aircraft as reported to the FAA, 10,000 reports of 50 airports from
1990 to 2002: one row per report. There is no key, and equal rows occur.
Publisher: Federal Aviation Administration, National Wildlife Strike Database, by way of
vega-datasets 3.2.1.
Page: https://wildlife.faa.gov and https://github.com/vega/vega-datasets.
Licence: public domain (U.S. government work). White space in the publisher''s column names is
replaced by _.';

comment on column source.faa_wildlife_strikes."Airport_Name" is
'Airport where the strike happened, as in the report.';
comment on column source.faa_wildlife_strikes."Aircraft_Make_Model" is
'Make and model of the aircraft.';
comment on column source.faa_wildlife_strikes."Effect_Amount_of_damage" is
'Damage to the aircraft: None, Minor, Medium, Substantial; single letters (B, C) occur and '
'are not explained by the publisher.';
comment on column source.faa_wildlife_strikes."Flight_Date" is
'Day of the strike, YYYY-MM-DD, local.';
comment on column source.faa_wildlife_strikes."Aircraft_Airline_Operator" is
'Operator of the aircraft; an asterisk as published.';
comment on column source.faa_wildlife_strikes."Origin_State" is
'State of the airport, in words; DC for the District of Columbia, with the Washington '
'airports in Virginia.';
comment on column source.faa_wildlife_strikes."Phase_of_flight" is
'Parked, Taxi, Take-off run, Climb, Descent, Approach or Landing Roll.';
comment on column source.faa_wildlife_strikes."Wildlife_Size" is
'Size of the animal as the pilot saw it: Small, Medium, Large.';
comment on column source.faa_wildlife_strikes."Wildlife_Species" is
'Species, or what is known of it.';
comment on column source.faa_wildlife_strikes."Time_of_day" is
'Dawn, Day, Dusk or Night.';
comment on column source.faa_wildlife_strikes."Cost_Other" is
'Cost other than repair, in US dollars: lost revenue, passengers put up, flights cancelled.';
comment on column source.faa_wildlife_strikes."Cost_Repair" is
'Cost of repair, in US dollars.';
comment on column source.faa_wildlife_strikes."Cost_Total_$" is
'Repair and other cost together, in US dollars.';
comment on column source.faa_wildlife_strikes."Speed_IAS_in_knots" is
'Indicated air speed, in knots.';
