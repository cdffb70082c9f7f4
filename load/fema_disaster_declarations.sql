create table if not exists source.fema_disaster_declarations (
    "femaDeclarationString" text,
    "disasterNumber" text,
    "state" text,
    "declarationType" text,
    "declarationDate" text,
    "fyDeclared" text,
    "incidentType" text,
    "declarationTitle" text,
    "ihProgramDeclared" text,
    "iaProgramDeclared" text,
    "paProgramDeclared" text,
    "hmProgramDeclared" text,
    "incidentBeginDate" text,
    "incidentEndDate" text,
    "disasterCloseoutDate" text,
    "tribalRequest" text,
    "fipsStateCode" text,
    "fipsCountyCode" text,
    "placeCode" text,
    "designatedArea" text,
    "declarationRequestNumber" text,
    "lastIAFilingDate" text,
    "incidentId" text,
    "region" text,
    "designatedIncidentTypes" text,
    "lastRefresh" text,
    "hash" text,
    "id" text
);

comment on table source.fema_disaster_declarations is
'Areas designated in federally declared disasters since 1953 (OpenFEMA, Disaster Declarations
Summaries, version 2): one row per disaster and designated area.
Publisher: Federal Emergency Management Agency.
Page: https://www.fema.gov/openfema-data-page/disaster-declarations-summaries-v2
Licence: public domain (U.S. government work); FEMA does not endorse derived products.';

comment on column source.fema_disaster_declarations."femaDeclarationString" is
'Declaration type, disaster number and state with hyphens between, as DR-4393-NC.';
comment on column source.fema_disaster_declarations."disasterNumber" is
'Number of the disaster, assigned in sequence.';
comment on column source.fema_disaster_declarations."state" is
'State, district, territory or freely associated state (FM, MH, PW) in two letters.';
comment on column source.fema_disaster_declarations."declarationType" is
'DR major disaster, EM emergency, FM fire management, FS fire suppression.';
comment on column source.fema_disaster_declarations."declarationDate" is
'When the disaster was declared; ISO 8601, UTC.';
comment on column source.fema_disaster_declarations."fyDeclared" is
'Fiscal year (from October) in which it was declared.';
comment on column source.fema_disaster_declarations."incidentType" is
'Kind of incident, such as Fire, Flood, Hurricane, Severe Storm, Biological.';
comment on column source.fema_disaster_declarations."declarationTitle" is
'Title of the disaster, in capitals.';
comment on column source.fema_disaster_declarations."ihProgramDeclared" is
'Whether the Individuals and Households program was declared: 1 or 0.';
comment on column source.fema_disaster_declarations."iaProgramDeclared" is
'Whether the Individual Assistance program was declared: 1 or 0.';
comment on column source.fema_disaster_declarations."paProgramDeclared" is
'Whether the Public Assistance program was declared: 1 or 0.';
comment on column source.fema_disaster_declarations."hmProgramDeclared" is
'Whether the Hazard Mitigation program was declared: 1 or 0.';
comment on column source.fema_disaster_declarations."incidentBeginDate" is
'When the incident itself began; ISO 8601, UTC.';
comment on column source.fema_disaster_declarations."incidentEndDate" is
'When the incident itself ended; empty while it lasts and for many fires.';
comment on column source.fema_disaster_declarations."disasterCloseoutDate" is
'When all financial transactions of all programs were completed; empty before.';
comment on column source.fema_disaster_declarations."tribalRequest" is
'Whether a tribal nation asked for the declaration, not a state: 1 or 0.';
comment on column source.fema_disaster_declarations."fipsStateCode" is
'State code (FIPS 5-2), two digits.';
comment on column source.fema_disaster_declarations."fipsCountyCode" is
'County code within the state (FIPS 6-4), three digits; 000 for a whole state and for places '
'that are no county.';
comment on column source.fema_disaster_declarations."placeCode" is
'FEMA''s code of the area: 99 and the county code for a county, 0 for the whole state, another '
'number for a reservation or another place.';
comment on column source.fema_disaster_declarations."designatedArea" is
'Name of the area, its kind in brackets, as Autauga (County).';
comment on column source.fema_disaster_declarations."declarationRequestNumber" is
'Number of the request for the declaration.';
comment on column source.fema_disaster_declarations."lastIAFilingDate" is
'Last day on which individuals could ask for assistance; empty where none could.';
comment on column source.fema_disaster_declarations."incidentId" is
'FEMA''s number of the incident; several disasters may share it.';
comment on column source.fema_disaster_declarations."region" is
'FEMA region, 1 to 10.';
comment on column source.fema_disaster_declarations."designatedIncidentTypes" is
'Codes of all kinds of incident the declaration names, with commas between; empty in older '
'ones.';
comment on column source.fema_disaster_declarations."lastRefresh" is
'When FEMA last loaded the record into its data store; changes even if the content does not.';
comment on column source.fema_disaster_declarations."hash" is
'Hash of the record''s fields, made by FEMA.';
comment on column source.fema_disaster_declarations."id" is
'Identifier of the record, unique; it does not persist: a changed record returns under another.';
