"""Wildfires: the features of every page, one row each.

One row is one incident; a few incidents have two rows.
"""

from pathlib import Path

from pipeline.formats import geojson
from pipeline.formats.legible import Legible
from pipeline.raw.snapshot import Snapshot
from pipeline.stages.preprocess import run

# The fields of the layer, so that the columns exist even when no fire burns.
PROPERTIES = """
OBJECTID SourceOID ABCDMisc ADSPermissionState ContainmentDateTime ControlDateTime
CreatedBySystem IncidentSize DiscoveryAcres DispatchCenterID EstimatedCostToDate FinalAcres
FinalFireReportApprovedByTitle FinalFireReportApprovedByUnit FinalFireReportApprovedDate
FireBehaviorGeneral FireBehaviorGeneral1 FireBehaviorGeneral2 FireBehaviorGeneral3 FireCause
FireCauseGeneral FireCauseSpecific FireCode FireDepartmentID FireDiscoveryDateTime
FireMgmtComplexity FireOutDateTime FireStrategyConfinePercent FireStrategyFullSuppPercent
FireStrategyMonitorPercent FireStrategyPointZonePercent FSJobCode FSOverrideCode GACC
ICS209ReportDateTime ICS209ReportForTimePeriodFrom ICS209ReportForTimePeriodTo
ICS209ReportStatus IncidentManagementOrganization IncidentName IncidentShortDescription
IncidentTypeCategory IncidentTypeKind InitialLatitude InitialLongitude InitialResponseAcres
InitialResponseDateTime IrwinID IsFireCauseInvestigated IsFireCodeRequested IsFSAssisted
IsMultiJurisdictional IsQuarantined IsReimbursable IsTrespass IsUnifiedCommand IsValid
LocalIncidentIdentifier ModifiedBySystem PercentContained PercentPerimeterToBeContained POOCity
POOCounty POODispatchCenterID POOFips POOJurisdictionalAgency POOJurisdictionalUnit
POOJurisdictionalUnitParentUnit POOLandownerCategory POOLandownerKind
POOLegalDescPrincipalMeridian POOLegalDescQtr POOLegalDescQtrQtr POOLegalDescRange
POOLegalDescSection POOLegalDescTownship POOPredictiveServiceAreaID POOProtectingAgency
POOProtectingUnit POOState PredominantFuelGroup PredominantFuelModel PrimaryFuelModel
SecondaryFuelModel TotalIncidentPersonnel UniqueFireIdentifier WFDSSDecisionStatus
EstimatedFinalCost OrganizationalAssessment StrategicDecisionPublishDate CreatedOnDateTime_dt
ModifiedOnDateTime_dt IsCpxChild CpxName CpxID SourceGlobalID GlobalID IncidentComplexityLevel
""".split()  # noqa: SIM905 - one name per line would not be easier to read


def make_legible(snapshot: Snapshot, output: Path) -> Legible:
    """Flatten the features of all pages into rows; there may be no feature at all."""
    return geojson.write_csv(snapshot.files, output, properties=PROPERTIES)


if __name__ == "__main__":
    run(make_legible)
