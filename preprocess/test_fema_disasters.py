"""Data tests of fema_disasters.csv."""


def test_every_disaster_has_a_number_of_its_own(table):
    numbers = table.disasterNumber.execute()
    assert numbers.str.fullmatch(r"[0-9]{1,4}").all(), "an invalid disaster number"
    twice = numbers[numbers.duplicated()]
    assert twice.empty, f"duplicated numbers: {twice.head(3).tolist()}"


def test_dates_are_iso_8601_in_utc(table):
    for column in ("declarationDate", "incidentBeginDate", "incidentEndDate"):
        dates = table[column].execute().dropna()
        odd = dates[~dates.str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")]
        assert odd.empty, f"{column}: {odd.head(3).tolist()}"


def test_states_are_two_letters(table):
    assert table.stateCode.execute().str.fullmatch("[A-Z]{2}").all()


def test_declaration_types_are_known(table):
    known = {"Major Disaster", "Emergency", "Fire Management", "Fire Suppression"}
    assert set(table.declarationType.execute()) <= known


def test_programs_are_flags(table):
    for program in ("ih", "ia", "pa", "hm"):
        assert set(table[f"{program}ProgramDeclared"].execute().dropna()) <= {"0", "1"}
