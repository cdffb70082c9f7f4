"""Data tests of fema_disaster_declarations.csv."""


def test_every_row_has_an_id_of_its_own(table):
    ids = table.id.execute()
    assert ids.notna().all(), "a row without an id"
    assert ids.is_unique, f"duplicated ids: {ids[ids.duplicated()].head(3).tolist()}"


def test_codes_have_their_leading_zeros(table):
    codes = table.select("disasterNumber", "fipsStateCode", "fipsCountyCode", "placeCode").execute()
    assert codes.disasterNumber.str.fullmatch("[0-9]{1,4}").all()
    assert codes.fipsStateCode.str.fullmatch("[0-9]{2}").all()
    assert codes.fipsCountyCode.str.fullmatch("[0-9]{3}").all()
    assert codes.placeCode.str.fullmatch("[0-9]{1,6}").all()


def test_a_place_code_of_99_is_the_county_code(table):
    codes = table.select("fipsCountyCode", "placeCode").execute()
    counties = codes[(codes.fipsCountyCode != "000") & codes.placeCode.str.startswith("99")]
    fitting = (counties.placeCode == "99" + counties.fipsCountyCode).mean()
    assert counties.empty or fitting > 0.99, f"only {fitting:.1%} of the place codes fit"


def test_dates_are_iso_8601_in_utc(table):
    for column in ("declarationDate", "incidentBeginDate", "incidentEndDate"):
        dates = table[column].execute().dropna()
        odd = dates[~dates.str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")]
        assert odd.empty, f"{column}: {odd.head(3).tolist()}"


def test_declaration_types_are_known(table):
    assert set(table.declarationType.execute()) <= {"DR", "EM", "FM", "FS"}


def test_programs_are_flags(table):
    for program in ("ih", "ia", "pa", "hm"):
        flags = table[f"{program}ProgramDeclared"].execute().dropna().str.lower()
        assert set(flags) <= {"0", "1", "false", "true"}
