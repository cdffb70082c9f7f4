create table if not exists source.faa_airports (
    "iata" text,
    "name" text,
    "city" text,
    "state" text,
    "country" text,
    "latitude" text,
    "longitude" text
);

comment on table source.faa_airports is
'Airports of the United States and its territories, and a few beyond: one row per airport.
Publisher: Federal Aviation Administration, by way of data.gov and vega-datasets 3.2.1.
Page: https://catalog.data.gov/dataset/airports-5e97a and https://github.com/vega/vega-
datasets.
Licence: public domain (U.S. government work).';

comment on column source.faa_airports."iata" is
'Location identifier: of the FAA, which for larger airports is also the IATA code.';
comment on column source.faa_airports."name" is
'Name of the airport, mostly without the word Airport.';
comment on column source.faa_airports."city" is
'City the airport serves; NA where not available.';
comment on column source.faa_airports."state" is
'Code of the state (two letters; CQ for the Northern Mariana Islands); NA where not '
'available.';
comment on column source.faa_airports."country" is
'Country, in words.';
comment on column source.faa_airports."latitude" is
'Latitude in decimal degrees, WGS 84.';
comment on column source.faa_airports."longitude" is
'Longitude in decimal degrees, WGS 84, west negative. The sign of five airports of Guam and the '
'Northern Mariana Islands was corrected (CHANGELOG.md).';
