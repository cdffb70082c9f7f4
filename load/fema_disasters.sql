create table if not exists source.fema_disasters (
    "disasterNumber" text,
    "declarationDate" text,
    "disasterName" text,
    "incidentBeginDate" text,
    "incidentEndDate" text,
    "declarationType" text,
    "stateCode" text,
    "stateName" text,
    "incidentType" text,
    "entryDate" text,
    "updateDate" text,
    "closeoutDate" text,
    "region" text,
    "ihProgramDeclared" text,
    "iaProgramDeclared" text,
    "paProgramDeclared" text,
    "hmProgramDeclared" text,
    "designatedIncidentTypes" text,
    "declarationRequestDate" text,
    "id" text,
    "hash" text,
    "lastRefresh" text
);

comment on table source.fema_disasters is
'Federally declared disasters since 1953 (OpenFEMA, FEMA Web Disaster Declarations):
one row per disaster and state.
Publisher: Federal Emergency Management Agency.
Page: https://www.fema.gov/openfema-data-page/fema-web-disaster-declarations-v1
Licence: public domain (U.S. government work); FEMA does not endorse derived products.';

comment on column source.fema_disasters."disasterNumber" is
'Number of the disaster, assigned in sequence; the key. 2000 to 2999 and 5000 to 5999 are fires, '
'3000 to 3999 emergencies, all others major disasters.';
comment on column source.fema_disasters."declarationDate" is
'When the disaster was declared; ISO 8601, UTC.';
comment on column source.fema_disasters."disasterName" is
'Name or title of the disaster, in capitals.';
comment on column source.fema_disasters."incidentBeginDate" is
'When the incident itself began; ISO 8601, UTC.';
comment on column source.fema_disasters."incidentEndDate" is
'When the incident itself ended; empty while it lasts and for many fires.';
comment on column source.fema_disasters."declarationType" is
'Major Disaster, Emergency, Fire Management or (until 2003) Fire Suppression.';
comment on column source.fema_disasters."stateCode" is
'State, district, territory or freely associated state (FM, MH, PW) in two letters.';
comment on column source.fema_disasters."stateName" is
'Its name, padded with blanks to 30 characters.';
comment on column source.fema_disasters."incidentType" is
'Kind of incident, such as Fire, Flood, Hurricane, Severe Storm, Biological.';
comment on column source.fema_disasters."entryDate" is
'When the disaster was entered into FEMA''s system; ISO 8601, UTC.';
comment on column source.fema_disasters."updateDate" is
'When the disaster was last changed there; ISO 8601, UTC.';
comment on column source.fema_disasters."closeoutDate" is
'When all financial transactions of all programs were completed; empty before.';
comment on column source.fema_disasters."region" is
'FEMA region, 1 to 10.';
comment on column source.fema_disasters."ihProgramDeclared" is
'1 if the Individuals and Households program was declared, else 0; empty where not known.';
comment on column source.fema_disasters."iaProgramDeclared" is
'1 if the Individual Assistance program was declared, else 0; empty where not known.';
comment on column source.fema_disasters."paProgramDeclared" is
'1 if the Public Assistance program was declared, else 0; empty where not known.';
comment on column source.fema_disasters."hmProgramDeclared" is
'1 if the Hazard Mitigation program was declared, else 0; empty where not known.';
comment on column source.fema_disasters."designatedIncidentTypes" is
'Codes of all kinds of incident the declaration names, with commas between; empty before 2018 '
'or so.';
comment on column source.fema_disasters."declarationRequestDate" is
'When the governor or tribe asked for the declaration; ISO 8601, UTC.';
comment on column source.fema_disasters."id" is
'Identifier of the record; it does not persist: a changed record returns under another.';
comment on column source.fema_disasters."hash" is
'Hash of the record''s fields, made by FEMA.';
comment on column source.fema_disasters."lastRefresh" is
'When FEMA last loaded the record into its data store; changes even if the content does not.';
