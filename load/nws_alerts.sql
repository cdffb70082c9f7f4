create table if not exists source.nws_alerts (
    "feature_id" text,
    "@id" text,
    "@type" text,
    "id" text,
    "areaDesc" text,
    "geocode" text,
    "affectedZones" text,
    "references" text,
    "sent" text,
    "effective" text,
    "onset" text,
    "expires" text,
    "ends" text,
    "status" text,
    "messageType" text,
    "category" text,
    "severity" text,
    "certainty" text,
    "urgency" text,
    "event" text,
    "sender" text,
    "senderName" text,
    "headline" text,
    "description" text,
    "instruction" text,
    "response" text,
    "note" text,
    "parameters" text,
    "scope" text,
    "code" text,
    "language" text,
    "web" text,
    "eventCode" text,
    "replacedBy" text,
    "replacedAt" text,
    "expiredReferences" text,
    "geometry" text
);

comment on table source.nws_alerts is
'Weather watches, warnings and advisories in effect when they were fetched, and the other messages
of the system (updates, cancellations, tests): one row per message.
Publisher: National Weather Service.
Page: https://www.weather.gov/documentation/services-web-api
Licence: public domain (U.S. government work).';

comment on column source.nws_alerts."feature_id" is
'Address of the message.';
comment on column source.nws_alerts."@id" is
'Address of the message, as feature_id.';
comment on column source.nws_alerts."@type" is
'wx:Alert.';
comment on column source.nws_alerts."id" is
'Identifier of the message; every update is a message of its own.';
comment on column source.nws_alerts."areaDesc" is
'All places of the alert by name, with semicolons between.';
comment on column source.nws_alerts."geocode" is
'JSON: SAME (six digits: part of the county, state, county; marine areas too) and UGC (state, C '
'county or Z zone, number) codes of the places, lists of text.';
comment on column source.nws_alerts."affectedZones" is
'JSON: addresses of the zones, a list.';
comment on column source.nws_alerts."references" is
'JSON: the earlier messages that this one updates or cancels, a list.';
comment on column source.nws_alerts."sent" is
'When the message was sent; ISO 8601 with the local offset, as all times here.';
comment on column source.nws_alerts."effective" is
'When the message takes effect.';
comment on column source.nws_alerts."onset" is
'When the event is expected to begin.';
comment on column source.nws_alerts."expires" is
'When the message expires; the event may last longer.';
comment on column source.nws_alerts."ends" is
'When the event is expected to end; empty where not known.';
comment on column source.nws_alerts."status" is
'Actual, Exercise, System, Test or Draft.';
comment on column source.nws_alerts."messageType" is
'Alert, Update, Cancel, Ack or Error.';
comment on column source.nws_alerts."category" is
'Category of the Common Alerting Protocol, mostly Met.';
comment on column source.nws_alerts."severity" is
'Extreme, Severe, Moderate, Minor or Unknown.';
comment on column source.nws_alerts."certainty" is
'Observed, Likely, Possible, Unlikely or Unknown.';
comment on column source.nws_alerts."urgency" is
'Immediate, Expected, Future, Past or Unknown.';
comment on column source.nws_alerts."event" is
'Type of the alert, such as Tornado Warning.';
comment on column source.nws_alerts."sender" is
'Address of the sender.';
comment on column source.nws_alerts."senderName" is
'Office of the Weather Service that sent it.';
comment on column source.nws_alerts."headline" is
'Headline.';
comment on column source.nws_alerts."description" is
'What is expected, where and when, in words.';
comment on column source.nws_alerts."instruction" is
'What to do; empty where nothing is advised.';
comment on column source.nws_alerts."response" is
'What to do in one word, such as Shelter, Prepare, Monitor.';
comment on column source.nws_alerts."note" is
'Purpose of a test message; rarely present.';
comment on column source.nws_alerts."parameters" is
'JSON: additions of the Weather Service, such as VTEC and NWSheadline; lists of text.';
comment on column source.nws_alerts."scope" is
'Public; since 2024.';
comment on column source.nws_alerts."code" is
'Profile of the protocol, as IPAWSv1.0; since 2024.';
comment on column source.nws_alerts."language" is
'Language of the message, as en-US; since 2024.';
comment on column source.nws_alerts."web" is
'Page of the Weather Service; since 2024.';
comment on column source.nws_alerts."eventCode" is
'JSON: codes of the event, lists of text (SAME, NationalWeatherService); since 2024.';
comment on column source.nws_alerts."replacedBy" is
'Identifier of the message that replaced this one; rarely present.';
comment on column source.nws_alerts."replacedAt" is
'When it was replaced; rarely present.';
comment on column source.nws_alerts."expiredReferences" is
'JSON: earlier messages that have expired; rarely present.';
comment on column source.nws_alerts."geometry" is
'GeoJSON polygon in WGS 84 that a forecaster drew; mostly empty. Then geocode and affectedZones '
'give the area.';
