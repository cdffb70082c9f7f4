create table if not exists source.noaa_storm_events (
    "BEGIN_YEARMONTH" text,
    "BEGIN_DAY" text,
    "BEGIN_TIME" text,
    "END_YEARMONTH" text,
    "END_DAY" text,
    "END_TIME" text,
    "EPISODE_ID" text,
    "EVENT_ID" text,
    "STATE" text,
    "STATE_FIPS" text,
    "YEAR" text,
    "MONTH_NAME" text,
    "EVENT_TYPE" text,
    "CZ_TYPE" text,
    "CZ_FIPS" text,
    "CZ_NAME" text,
    "WFO" text,
    "BEGIN_DATE_TIME" text,
    "CZ_TIMEZONE" text,
    "END_DATE_TIME" text,
    "INJURIES_DIRECT" text,
    "INJURIES_INDIRECT" text,
    "DEATHS_DIRECT" text,
    "DEATHS_INDIRECT" text,
    "DAMAGE_PROPERTY" text,
    "DAMAGE_CROPS" text,
    "SOURCE" text,
    "MAGNITUDE" text,
    "MAGNITUDE_TYPE" text,
    "FLOOD_CAUSE" text,
    "CATEGORY" text,
    "TOR_F_SCALE" text,
    "TOR_LENGTH" text,
    "TOR_WIDTH" text,
    "TOR_OTHER_WFO" text,
    "TOR_OTHER_CZ_STATE" text,
    "TOR_OTHER_CZ_FIPS" text,
    "TOR_OTHER_CZ_NAME" text,
    "BEGIN_RANGE" text,
    "BEGIN_AZIMUTH" text,
    "BEGIN_LOCATION" text,
    "END_RANGE" text,
    "END_AZIMUTH" text,
    "END_LOCATION" text,
    "BEGIN_LAT" text,
    "BEGIN_LON" text,
    "END_LAT" text,
    "END_LON" text,
    "EPISODE_NARRATIVE" text,
    "EVENT_NARRATIVE" text,
    "DATA_SOURCE" text
);

comment on table source.noaa_storm_events is
'Storm events of the newest three years (Storm Events Database, files of details): one row per
event in one county or forecast zone.
Publisher: National Centers for Environmental Information, from the reports of the National
Weather Service.
Page: https://www.ncei.noaa.gov/stormevents/ (columns: https://www.ncei.noaa.gov/pub/data/swdi/
stormevents/csvfiles/Storm-Data-Bulk-csv-Format.pdf).
Licence: public domain (U.S. government work).';

comment on column source.noaa_storm_events."BEGIN_YEARMONTH" is
'Year and month in which the event began, YYYYMM, local standard time.';
comment on column source.noaa_storm_events."BEGIN_DAY" is
'Day of the month on which it began.';
comment on column source.noaa_storm_events."BEGIN_TIME" is
'Hour and minute at which it began, HHMM without leading zeros (5 is 00:05).';
comment on column source.noaa_storm_events."END_YEARMONTH" is
'Year and month in which it ended, YYYYMM.';
comment on column source.noaa_storm_events."END_DAY" is
'Day of the month on which it ended.';
comment on column source.noaa_storm_events."END_TIME" is
'Hour and minute at which it ended, HHMM without leading zeros.';
comment on column source.noaa_storm_events."EPISODE_ID" is
'Number of the storm episode, which may hold many events.';
comment on column source.noaa_storm_events."EVENT_ID" is
'Number of the event within the database; unique.';
comment on column source.noaa_storm_events."STATE" is
'State, territory, marine area or lake where it happened, in capitals (ATLANTIC NORTH, LAKE '
'ERIE).';
comment on column source.noaa_storm_events."STATE_FIPS" is
'State code without its leading zero; from 81 on the Weather Service''s own codes of marine '
'areas, lakes and territories (99 is Puerto Rico).';
comment on column source.noaa_storm_events."YEAR" is
'Year of the event.';
comment on column source.noaa_storm_events."MONTH_NAME" is
'Month of the event, in English.';
comment on column source.noaa_storm_events."EVENT_TYPE" is
'Kind of event: one of those of NWS Directive 10-1605 (Tornado, Hail, Flash Flood …).';
comment on column source.noaa_storm_events."CZ_TYPE" is
'What CZ_FIPS and CZ_NAME refer to: C county or parish, Z forecast zone, M marine zone.';
comment on column source.noaa_storm_events."CZ_FIPS" is
'Number of the county (FIPS) or of the forecast zone within its state, without leading zeros.';
comment on column source.noaa_storm_events."CZ_NAME" is
'Name of the county or zone, in capitals.';
comment on column source.noaa_storm_events."WFO" is
'Forecast office in whose area it happened, by its three letters.';
comment on column source.noaa_storm_events."BEGIN_DATE_TIME" is
'When it began, DD-MON-YY HH24:MI:SS; the year in two digits.';
comment on column source.noaa_storm_events."CZ_TIMEZONE" is
'Time zone of all its times with its offset from UTC in hours, as EST-5; standard time all '
'year.';
comment on column source.noaa_storm_events."END_DATE_TIME" is
'When it ended, DD-MON-YY HH24:MI:SS; the year in two digits.';
comment on column source.noaa_storm_events."INJURIES_DIRECT" is
'Number of injuries caused directly.';
comment on column source.noaa_storm_events."INJURIES_INDIRECT" is
'Number of injuries caused indirectly.';
comment on column source.noaa_storm_events."DEATHS_DIRECT" is
'Number of deaths caused directly.';
comment on column source.noaa_storm_events."DEATHS_INDIRECT" is
'Number of deaths caused indirectly.';
comment on column source.noaa_storm_events."DAMAGE_PROPERTY" is
'Estimated damage to property, US dollars: a number and K (thousand), M (million) or B '
'(billion), as 10.00K; empty where no estimate was made.';
comment on column source.noaa_storm_events."DAMAGE_CROPS" is
'Estimated damage to crops, US dollars, in the same form.';
comment on column source.noaa_storm_events."SOURCE" is
'Who reported the event (Public, Trained Spotter, ASOS …).';
comment on column source.noaa_storm_events."MAGNITUDE" is
'Speed of the wind in knots, or diameter of the hail in inches, by EVENT_TYPE.';
comment on column source.noaa_storm_events."MAGNITUDE_TYPE" is
'How the wind was determined: EG estimated gust, ES estimated sustained, MG measured gust, MS '
'measured sustained; empty for hail.';
comment on column source.noaa_storm_events."FLOOD_CAUSE" is
'Cause of a flood, as reported or estimated.';
comment on column source.noaa_storm_events."CATEGORY" is
'Category of a hurricane; mostly empty.';
comment on column source.noaa_storm_events."TOR_F_SCALE" is
'Strength of a tornado, enhanced Fujita scale: EF0 to EF5, EFU where unknown.';
comment on column source.noaa_storm_events."TOR_LENGTH" is
'Length of the path of a tornado or its part within the county, in miles.';
comment on column source.noaa_storm_events."TOR_WIDTH" is
'Width of the path of a tornado, in yards.';
comment on column source.noaa_storm_events."TOR_OTHER_WFO" is
'Forecast office into whose area a tornado went on, or from which it came.';
comment on column source.noaa_storm_events."TOR_OTHER_CZ_STATE" is
'State into which a tornado went on, or from which it came; two letters.';
comment on column source.noaa_storm_events."TOR_OTHER_CZ_FIPS" is
'County into which a tornado went on, or from which it came: its number.';
comment on column source.noaa_storm_events."TOR_OTHER_CZ_NAME" is
'Name of that county.';
comment on column source.noaa_storm_events."BEGIN_RANGE" is
'Distance of the beginning from BEGIN_LOCATION, in miles.';
comment on column source.noaa_storm_events."BEGIN_AZIMUTH" is
'Direction of the beginning from BEGIN_LOCATION, as N or NNE.';
comment on column source.noaa_storm_events."BEGIN_LOCATION" is
'Place near the beginning: a town, an airport, a river gage.';
comment on column source.noaa_storm_events."END_RANGE" is
'Distance of the end from END_LOCATION, in miles.';
comment on column source.noaa_storm_events."END_AZIMUTH" is
'Direction of the end from END_LOCATION.';
comment on column source.noaa_storm_events."END_LOCATION" is
'Place near the end.';
comment on column source.noaa_storm_events."BEGIN_LAT" is
'Latitude of the beginning, decimal degrees; empty for zones.';
comment on column source.noaa_storm_events."BEGIN_LON" is
'Longitude of the beginning, decimal degrees, west negative.';
comment on column source.noaa_storm_events."END_LAT" is
'Latitude of the end, decimal degrees.';
comment on column source.noaa_storm_events."END_LON" is
'Longitude of the end, decimal degrees, west negative.';
comment on column source.noaa_storm_events."EPISODE_NARRATIVE" is
'The episode in words; the same for all its events.';
comment on column source.noaa_storm_events."EVENT_NARRATIVE" is
'The event in words.';
comment on column source.noaa_storm_events."DATA_SOURCE" is
'How the record entered the database (CSV, PDC, PUB …).';
