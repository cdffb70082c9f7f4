create table if not exists source.usgs_earthquakes (
    "feature_id" text,
    "mag" text,
    "place" text,
    "time" text,
    "updated" text,
    "tz" text,
    "url" text,
    "detail" text,
    "felt" text,
    "cdi" text,
    "mmi" text,
    "alert" text,
    "status" text,
    "tsunami" text,
    "sig" text,
    "net" text,
    "code" text,
    "ids" text,
    "sources" text,
    "types" text,
    "nst" text,
    "dmin" text,
    "rms" text,
    "gap" text,
    "magType" text,
    "type" text,
    "title" text,
    "geometry" text
);

comment on table source.usgs_earthquakes is
'Earthquakes and other seismic events of the ANSS Comprehensive Earthquake Catalog (ComCat):
one row per event.
Publisher: U.S. Geological Survey, Earthquake Hazards Program.
Page: https://earthquake.usgs.gov/fdsnws/event/1/ (terms:
https://earthquake.usgs.gov/data/comcat/).
Licence: public domain (U.S. government work).';

comment on column source.usgs_earthquakes."feature_id" is
'Identifier of the event: network code and event code. It can change when another network '
'becomes the preferred one; ids lists all of them.';
comment on column source.usgs_earthquakes."mag" is
'Magnitude the catalog prefers, on the scale of magType; empty where none was computed.';
comment on column source.usgs_earthquakes."place" is
'Location in words: distance and direction from a named place near the epicenter.';
comment on column source.usgs_earthquakes."time" is
'When it happened: milliseconds since 1970-01-01 00:00 UTC, leap seconds not counted.';
comment on column source.usgs_earthquakes."updated" is
'When the record was last changed: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.usgs_earthquakes."tz" is
'Offset from UTC at the epicenter, in minutes; empty in newer responses.';
comment on column source.usgs_earthquakes."url" is
'Page of the event at the USGS.';
comment on column source.usgs_earthquakes."detail" is
'Address of the event as GeoJSON with all its products.';
comment on column source.usgs_earthquakes."felt" is
'Number of reports to "Did You Feel It?".';
comment on column source.usgs_earthquakes."cdi" is
'Greatest intensity reported to "Did You Feel It?": community decimal intensity, 0 to 10, in '
'decimals rather than Roman numerals.';
comment on column source.usgs_earthquakes."mmi" is
'Greatest intensity estimated from instruments (ShakeMap): modified Mercalli, 0 to 10, in '
'decimals.';
comment on column source.usgs_earthquakes."alert" is
'Alert level of PAGER, by expected deaths and losses: green, yellow, orange, red.';
comment on column source.usgs_earthquakes."status" is
'automatic (computed, not reviewed by a person), reviewed, deleted.';
comment on column source.usgs_earthquakes."tsunami" is
'1 for large events in oceanic regions, else 0. It does not say that a tsunami came or will '
'come.';
comment on column source.usgs_earthquakes."sig" is
'Significance, 0 to about 1000 and more: from magnitude, intensity, reports and expected '
'impact.';
comment on column source.usgs_earthquakes."net" is
'Network whose data are preferred for this event, by its code.';
comment on column source.usgs_earthquakes."code" is
'Code that the preferred network gave the event; unique within the network.';
comment on column source.usgs_earthquakes."ids" is
'All identifiers of the event, with commas before, between and after.';
comment on column source.usgs_earthquakes."sources" is
'All networks that contributed, with commas before, between and after.';
comment on column source.usgs_earthquakes."types" is
'Types of products available for the event, with commas before, between and after.';
comment on column source.usgs_earthquakes."nst" is
'Number of seismic stations used for the location.';
comment on column source.usgs_earthquakes."dmin" is
'Horizontal distance from the epicenter to the nearest station, in degrees of arc (1 degree '
'is about 111.2 km).';
comment on column source.usgs_earthquakes."rms" is
'Root mean square of the travel time residuals, in seconds: how well the location fits the '
'arrivals.';
comment on column source.usgs_earthquakes."gap" is
'Largest angle between two neighboring stations as seen from the epicenter, in degrees; over '
'180 the location is poor.';
comment on column source.usgs_earthquakes."magType" is
'How the magnitude was computed: md (duration), ml (local), mb (body wave), mww (moment, W '
'phase) and others.';
comment on column source.usgs_earthquakes."type" is
'Kind of event: earthquake, quarry blast, explosion, ice quake and others.';
comment on column source.usgs_earthquakes."title" is
'Magnitude and place as one line.';
comment on column source.usgs_earthquakes."geometry" is
'GeoJSON Point in WGS 84: longitude, latitude, depth in km below the surface (negative above '
'sea level).';
