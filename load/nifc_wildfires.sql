create table if not exists source.nifc_wildfires (
    "feature_id" text,
    "OBJECTID" text,
    "SourceOID" text,
    "ABCDMisc" text,
    "ADSPermissionState" text,
    "ContainmentDateTime" text,
    "ControlDateTime" text,
    "CreatedBySystem" text,
    "IncidentSize" text,
    "DiscoveryAcres" text,
    "DispatchCenterID" text,
    "EstimatedCostToDate" text,
    "FinalAcres" text,
    "FinalFireReportApprovedByTitle" text,
    "FinalFireReportApprovedByUnit" text,
    "FinalFireReportApprovedDate" text,
    "FireBehaviorGeneral" text,
    "FireBehaviorGeneral1" text,
    "FireBehaviorGeneral2" text,
    "FireBehaviorGeneral3" text,
    "FireCause" text,
    "FireCauseGeneral" text,
    "FireCauseSpecific" text,
    "FireCode" text,
    "FireDepartmentID" text,
    "FireDiscoveryDateTime" text,
    "FireMgmtComplexity" text,
    "FireOutDateTime" text,
    "FireStrategyConfinePercent" text,
    "FireStrategyFullSuppPercent" text,
    "FireStrategyMonitorPercent" text,
    "FireStrategyPointZonePercent" text,
    "FSJobCode" text,
    "FSOverrideCode" text,
    "GACC" text,
    "ICS209ReportDateTime" text,
    "ICS209ReportForTimePeriodFrom" text,
    "ICS209ReportForTimePeriodTo" text,
    "ICS209ReportStatus" text,
    "IncidentManagementOrganization" text,
    "IncidentName" text,
    "IncidentShortDescription" text,
    "IncidentTypeCategory" text,
    "IncidentTypeKind" text,
    "InitialLatitude" text,
    "InitialLongitude" text,
    "InitialResponseAcres" text,
    "InitialResponseDateTime" text,
    "IrwinID" text,
    "IsFireCauseInvestigated" text,
    "IsFireCodeRequested" text,
    "IsFSAssisted" text,
    "IsMultiJurisdictional" text,
    "IsQuarantined" text,
    "IsReimbursable" text,
    "IsTrespass" text,
    "IsUnifiedCommand" text,
    "IsValid" text,
    "LocalIncidentIdentifier" text,
    "ModifiedBySystem" text,
    "PercentContained" text,
    "PercentPerimeterToBeContained" text,
    "POOCity" text,
    "POOCounty" text,
    "POODispatchCenterID" text,
    "POOFips" text,
    "POOJurisdictionalAgency" text,
    "POOJurisdictionalUnit" text,
    "POOJurisdictionalUnitParentUnit" text,
    "POOLandownerCategory" text,
    "POOLandownerKind" text,
    "POOLegalDescPrincipalMeridian" text,
    "POOLegalDescQtr" text,
    "POOLegalDescQtrQtr" text,
    "POOLegalDescRange" text,
    "POOLegalDescSection" text,
    "POOLegalDescTownship" text,
    "POOPredictiveServiceAreaID" text,
    "POOProtectingAgency" text,
    "POOProtectingUnit" text,
    "POOState" text,
    "PredominantFuelGroup" text,
    "PredominantFuelModel" text,
    "PrimaryFuelModel" text,
    "SecondaryFuelModel" text,
    "TotalIncidentPersonnel" text,
    "UniqueFireIdentifier" text,
    "WFDSSDecisionStatus" text,
    "EstimatedFinalCost" text,
    "OrganizationalAssessment" text,
    "StrategicDecisionPublishDate" text,
    "CreatedOnDateTime_dt" text,
    "ModifiedOnDateTime_dt" text,
    "IsCpxChild" text,
    "CpxName" text,
    "CpxID" text,
    "SourceGlobalID" text,
    "GlobalID" text,
    "IncidentComplexityLevel" text,
    "geometry" text
);

comment on table source.nifc_wildfires is
'Wildland fires burning now: wildfires, prescribed fires and complexes (WFIGS, layer
Incident_Locations_Current, from IRWIN): one row per feature, nearly always per incident.
Publisher: National Interagency Fire Center.
Page: https://data-nifc.opendata.arcgis.com/datasets/nifc::wfigs-current-interagency-fire-locations
Licence: public domain (U.S. government work).';

comment on column source.nifc_wildfires."feature_id" is
'Number of the feature in the layer, as OBJECTID.';
comment on column source.nifc_wildfires."OBJECTID" is
'Number of the feature in the layer; changes when the layer is rebuilt.';
comment on column source.nifc_wildfires."SourceOID" is
'OBJECTID of the incident''s record in the source of the layer.';
comment on column source.nifc_wildfires."ABCDMisc" is
'FireCode of the Forest Service for the cost of fires of size class A to D.';
comment on column source.nifc_wildfires."ADSPermissionState" is
'Rule of precedence in force when a system last changed the record: DEFAULT, CERTIFIED and '
'others.';
comment on column source.nifc_wildfires."ContainmentDateTime" is
'When the fire was declared contained: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."ControlDateTime" is
'When the fire was declared under control: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."CreatedBySystem" is
'System that created the record in IRWIN.';
comment on column source.nifc_wildfires."IncidentSize" is
'Size of the incident, acres.';
comment on column source.nifc_wildfires."DiscoveryAcres" is
'Estimated size when it was discovered, acres.';
comment on column source.nifc_wildfires."DispatchCenterID" is
'Dispatch center that supports the incident.';
comment on column source.nifc_wildfires."EstimatedCostToDate" is
'Estimated cost up to now, US dollars.';
comment on column source.nifc_wildfires."FinalAcres" is
'Size when it was over, acres.';
comment on column source.nifc_wildfires."FinalFireReportApprovedByTitle" is
'Title of the person who approved the final report.';
comment on column source.nifc_wildfires."FinalFireReportApprovedByUnit" is
'Unit of the person who approved the final report.';
comment on column source.nifc_wildfires."FinalFireReportApprovedDate" is
'When the final report was approved: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."FireBehaviorGeneral" is
'General fire behavior: Minimal, Moderate, Active, Extreme.';
comment on column source.nifc_wildfires."FireBehaviorGeneral1" is
'Specific fire behavior, first term.';
comment on column source.nifc_wildfires."FireBehaviorGeneral2" is
'Specific fire behavior, second term.';
comment on column source.nifc_wildfires."FireBehaviorGeneral3" is
'Specific fire behavior, third term.';
comment on column source.nifc_wildfires."FireCause" is
'Human, Natural, Undetermined or Unknown.';
comment on column source.nifc_wildfires."FireCauseGeneral" is
'General cause, such as Fireworks or Lightning.';
comment on column source.nifc_wildfires."FireCauseSpecific" is
'Specific cause.';
comment on column source.nifc_wildfires."FireCode" is
'Code under which federal agencies book the cost.';
comment on column source.nifc_wildfires."FireDepartmentID" is
'State code and number of the fire department.';
comment on column source.nifc_wildfires."FireDiscoveryDateTime" is
'When the fire was discovered or confirmed: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."FireMgmtComplexity" is
'Complexity of the management, from Type 1 (highest) to Type 5 Incident; older field.';
comment on column source.nifc_wildfires."FireOutDateTime" is
'When the fire was declared out: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."FireStrategyConfinePercent" is
'Part of the perimeter managed by confining, percent.';
comment on column source.nifc_wildfires."FireStrategyFullSuppPercent" is
'Part of the perimeter managed by full suppression, percent.';
comment on column source.nifc_wildfires."FireStrategyMonitorPercent" is
'Part of the perimeter managed by monitoring, percent.';
comment on column source.nifc_wildfires."FireStrategyPointZonePercent" is
'Part of the perimeter managed by protecting points or zones, percent.';
comment on column source.nifc_wildfires."FSJobCode" is
'Job code of the Forest Service.';
comment on column source.nifc_wildfires."FSOverrideCode" is
'Override code (region and unit) of the Forest Service.';
comment on column source.nifc_wildfires."GACC" is
'Geographic area coordination center, by its code.';
comment on column source.nifc_wildfires."ICS209ReportDateTime" is
'When the newest status report (ICS 209) was made: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."ICS209ReportForTimePeriodFrom" is
'Start of the time that report covers: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."ICS209ReportForTimePeriodTo" is
'End of the time that report covers: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."ICS209ReportStatus" is
'Kind of that report: I initial, U update, F final.';
comment on column source.nifc_wildfires."IncidentManagementOrganization" is
'Who manages the incident, such as Type 1 Team.';
comment on column source.nifc_wildfires."IncidentName" is
'Name of the incident.';
comment on column source.nifc_wildfires."IncidentShortDescription" is
'Where it is, in words.';
comment on column source.nifc_wildfires."IncidentTypeCategory" is
'WF wildfire, RX prescribed fire, CX complex (several incidents under one command).';
comment on column source.nifc_wildfires."IncidentTypeKind" is
'FI: fire.';
comment on column source.nifc_wildfires."InitialLatitude" is
'Latitude first reported, degrees.';
comment on column source.nifc_wildfires."InitialLongitude" is
'Longitude first reported, degrees.';
comment on column source.nifc_wildfires."InitialResponseAcres" is
'Estimated size when the first crew came, acres.';
comment on column source.nifc_wildfires."InitialResponseDateTime" is
'When the first crew came: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."IrwinID" is
'Identifier of the incident in IRWIN, in braces. The same incident may be in the layer twice.';
comment on column source.nifc_wildfires."IsFireCauseInvestigated" is
'1 if the cause was or is investigated, else 0.';
comment on column source.nifc_wildfires."IsFireCodeRequested" is
'1 if a FireCode was asked for, else 0.';
comment on column source.nifc_wildfires."IsFSAssisted" is
'1 if the Forest Service assisted on land of others, else 0.';
comment on column source.nifc_wildfires."IsMultiJurisdictional" is
'1 if land of several jurisdictions burns, else 0.';
comment on column source.nifc_wildfires."IsQuarantined" is
'1 if the record may conflict with another; such records are not in this layer.';
comment on column source.nifc_wildfires."IsReimbursable" is
'1 if the cost may be reimbursed by another agency, else 0.';
comment on column source.nifc_wildfires."IsTrespass" is
'1 if those who caused the fire may be billed, else 0.';
comment on column source.nifc_wildfires."IsUnifiedCommand" is
'1 if several agencies command together, else 0.';
comment on column source.nifc_wildfires."IsValid" is
'1 for a valid record; others are not in this layer.';
comment on column source.nifc_wildfires."LocalIncidentIdentifier" is
'Number of the incident within its unit and year.';
comment on column source.nifc_wildfires."ModifiedBySystem" is
'System that last changed the record in IRWIN.';
comment on column source.nifc_wildfires."PercentContained" is
'Part of the perimeter that is contained, percent.';
comment on column source.nifc_wildfires."PercentPerimeterToBeContained" is
'Part of the perimeter that is to be contained, percent.';
comment on column source.nifc_wildfires."POOCity" is
'City nearest to the point of origin.';
comment on column source.nifc_wildfires."POOCounty" is
'County of the point of origin, its name.';
comment on column source.nifc_wildfires."POODispatchCenterID" is
'Dispatch center of the point of origin.';
comment on column source.nifc_wildfires."POOFips" is
'County of the point of origin, its code (FIPS 6-4), five digits.';
comment on column source.nifc_wildfires."POOJurisdictionalAgency" is
'Agency with jurisdiction at the point of origin.';
comment on column source.nifc_wildfires."POOJurisdictionalUnit" is
'Unit with jurisdiction at the point of origin.';
comment on column source.nifc_wildfires."POOJurisdictionalUnitParentUnit" is
'The unit above that one.';
comment on column source.nifc_wildfires."POOLandownerCategory" is
'Who owns the land at the point of origin, such as BLM, State, Private.';
comment on column source.nifc_wildfires."POOLandownerKind" is
'Federal, Private or Other.';
comment on column source.nifc_wildfires."POOLegalDescPrincipalMeridian" is
'Public land survey at the point of origin: principal meridian.';
comment on column source.nifc_wildfires."POOLegalDescQtr" is
'Public land survey: quarter section.';
comment on column source.nifc_wildfires."POOLegalDescQtrQtr" is
'Public land survey: quarter of the quarter section.';
comment on column source.nifc_wildfires."POOLegalDescRange" is
'Public land survey: range.';
comment on column source.nifc_wildfires."POOLegalDescSection" is
'Public land survey: section.';
comment on column source.nifc_wildfires."POOLegalDescTownship" is
'Public land survey: township.';
comment on column source.nifc_wildfires."POOPredictiveServiceAreaID" is
'Predictive service area of the point of origin.';
comment on column source.nifc_wildfires."POOProtectingAgency" is
'Agency that protects the point of origin.';
comment on column source.nifc_wildfires."POOProtectingUnit" is
'Unit that protects the point of origin.';
comment on column source.nifc_wildfires."POOState" is
'State of the point of origin (ISO 3166-2), as US-CA.';
comment on column source.nifc_wildfires."PredominantFuelGroup" is
'Group of the main fuel.';
comment on column source.nifc_wildfires."PredominantFuelModel" is
'Main fuel, as a fuel model of Scott and Burgan.';
comment on column source.nifc_wildfires."PrimaryFuelModel" is
'Fuel model of most of the fire (one of Anderson''s 13, with its name).';
comment on column source.nifc_wildfires."SecondaryFuelModel" is
'Fuel model of the second largest part of the fire.';
comment on column source.nifc_wildfires."TotalIncidentPersonnel" is
'Number of people at work.';
comment on column source.nifc_wildfires."UniqueFireIdentifier" is
'Year, protecting unit and local number with hyphens between.';
comment on column source.nifc_wildfires."WFDSSDecisionStatus" is
'Whether a decision was made in the decision support system (WFDSS).';
comment on column source.nifc_wildfires."EstimatedFinalCost" is
'Estimated cost when all is over, US dollars.';
comment on column source.nifc_wildfires."OrganizationalAssessment" is
'Kind of organization recommended for the incident.';
comment on column source.nifc_wildfires."StrategicDecisionPublishDate" is
'When the newest strategic decision was published: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."CreatedOnDateTime_dt" is
'When the record was created in IRWIN: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."ModifiedOnDateTime_dt" is
'When the record was last changed in IRWIN: milliseconds since 1970-01-01 00:00 UTC.';
comment on column source.nifc_wildfires."IsCpxChild" is
'1 if the incident is part of a complex, else 0.';
comment on column source.nifc_wildfires."CpxName" is
'Name of that complex.';
comment on column source.nifc_wildfires."CpxID" is
'IrwinID of that complex.';
comment on column source.nifc_wildfires."SourceGlobalID" is
'GlobalID of the incident''s record in the source of the layer, in braces.';
comment on column source.nifc_wildfires."GlobalID" is
'Identifier of the feature in the layer.';
comment on column source.nifc_wildfires."IncidentComplexityLevel" is
'Complexity, from Type 1 (highest) to Type 5 Incident.';
comment on column source.nifc_wildfires."geometry" is
'GeoJSON Point in WGS 84: where the fire began, longitude and latitude.';
