create table if not exists source.stations (
    "ident" text,
    "name" text,
    "city" text,
    "state" text,
    "country" text,
    "latitude" text,
    "longitude" text
);

comment on table source.stations is
'Railway stations of an invented country: one row per station.
Publisher: Example Railways. Page: https://railways.example/stations. Licence: CC0 1.0.';

comment on column source.stations."ident" is
'Three letters that identify the station.';
comment on column source.stations."name" is
'Name of the station.';
comment on column source.stations."city" is
'City that the station serves.';
comment on column source.stations."state" is
'Code of the state, two letters.';
comment on column source.stations."country" is
'Country, in words.';
comment on column source.stations."latitude" is
'Latitude in decimal degrees, WGS 84.';
comment on column source.stations."longitude" is
'Longitude in decimal degrees, WGS 84.';
