"""Directory listings: the newest file that matches a pattern, and no other link."""

import pytest
from publisher import Answer
from upstream.listing import STYLES, page

from pipeline import settings
from pipeline.connectors import listing
from pipeline.errors import SourceError, Transient
from pipeline.raw.candidate import Candidate
from pipeline.raw.source import Source

HOST = "data.example.gov"
FOLDER = f"https://{HOST}/pub/csvfiles/"
STORMS = r"StormEvents_details-ftp_v1\.0_d(\d{4})_c(\d{8})\.csv\.gz"
SOURCE = Source("T", "P", "https://e.gov/", "L", "https://l.gov/", "csv")


@pytest.fixture
def candidate(here, publisher, monkeypatch):
    monkeypatch.setenv("MIRRORS", f"{HOST}={publisher.url}")
    monkeypatch.setenv("FETCH_PATIENCE", "0")
    settings.load.cache_clear()
    return Candidate(settings.load(), SOURCE, "alpha", None)


def storm(year, created):
    return f"StormEvents_details-ftp_v1.0_d{year}_c{created}.csv.gz"


@pytest.mark.parametrize("style", STYLES)
def test_the_newest_creation_of_each_year(candidate, publisher, style):
    names = [
        storm(2024, 20250401),
        storm(2025, 20260218),
        storm(2025, 20250818),
        storm(2023, 20250731),
        storm(2023, 20240731),
        "StormEvents_fatalities-ftp_v1.0_d2025_c20270101.csv.gz",
        storm(2026, 20260301) + ".md5",
        "legacy/",
        storm(2027, 20270101) + "/",
    ]
    publisher.answers["/pub/csvfiles/"] = [Answer(page("/pub/csvfiles/", names, style))]
    wanted = [storm(2023, 20250731), storm(2024, 20250401), storm(2025, 20260218)]
    assert listing.newest(candidate, FOLDER, STORMS) == [FOLDER + name for name in wanted]


def test_numbers_are_compared_as_numbers(candidate, publisher):
    publisher.answers["/pub/csvfiles/"] = [
        Answer(page("/pub/csvfiles/", ["v9.csv", "v10.csv", "v2.csv"]))
    ]
    assert listing.newest(candidate, FOLDER, r"v(\d+)\.csv") == [FOLDER + "v10.csv"]


def census(publisher, newest_folder):
    root = "/popest/datasets/"
    tree = {
        root: ["2010-2020/", "2020-2024/", "2020-2025/", "2020/", "readme.txt"],
        f"{root}2020-2024/": ["cities/", "counties/"],
        f"{root}2020-2024/counties/": ["asrh/", "totals/"],
        f"{root}2020-2024/counties/totals/": ["co-est2024-alldata.csv", "co-est2024-pop.csv"],
        f"{root}2020-2025/": newest_folder,
        f"{root}2020-2025/counties/": ["totals/"],
        f"{root}2020-2025/counties/totals/": ["co-est2025-alldata.csv"],
    }
    for path, names in tree.items():
        publisher.answers[path] = [Answer(page(path, names))]
    return f"https://{HOST}{root}"


CENSUS = r"2020-(\d{4})/counties/totals/co-est(?P<vintage>\d{4})-alldata\.csv"


def test_the_newest_folder_is_gone_into(candidate, publisher):
    root = census(publisher, ["counties/", "state/"])
    found = listing.newest(candidate, root, CENSUS)
    assert found == [root + "2020-2025/counties/totals/co-est2025-alldata.csv"]
    assert f"{'/popest/datasets/'}2020-2024/" not in publisher.paths()


@pytest.mark.parametrize("names", [["state/"], [], ["counties"]])
def test_a_folder_that_is_only_being_filled_gives_way_to_the_one_before(
    candidate, publisher, names
):
    root = census(publisher, names)
    found = listing.newest(candidate, root, CENSUS)
    assert found == [root + "2020-2024/counties/totals/co-est2024-alldata.csv"]


@pytest.mark.parametrize("names", [[], ["other.csv"], ["co-est2024-alldata.csv/"]])
def test_nothing_of_the_pattern_is_an_error(candidate, publisher, names):
    publisher.answers["/pub/csvfiles/"] = [Answer(page("/pub/csvfiles/", names))]
    with pytest.raises(SourceError) as caught:
        listing.newest(candidate, FOLDER, r"co-est(\d{4})-alldata\.csv")
    assert FOLDER in caught.value.what
    assert r"co-est(\d{4})-alldata\.csv" in caught.value.what
    assert "moved" in caught.value.remedy


def test_links_that_lead_elsewhere_are_no_entries(candidate, publisher):
    links = [
        "https://evil.example/pub/csvfiles/v9.csv",
        "//evil.example/pub/csvfiles/v9.csv",
        "http://data.example.gov/pub/csvfiles/v9.csv",
        "../v9.csv",
        "/v9.csv",
        "deeper/v9.csv",
        "..%2fv9.csv",
        "v9.csv?download=1",
        "javascript:v9.csv",
        "http://[broken/v9.csv",
        "/pub/csvfiles/v1.csv",
        "./v2.csv#top",
        "v%33.csv",
        "v2.csv",
    ]
    body = "".join(f'<A HREF="{link}">x</A>' for link in links)
    body += "<!-- <a href='v8.csv'> --><img href='v7.csv'><a name='v6.csv'>v6.csv</a>"
    publisher.answers["/pub/csvfiles/"] = [Answer(f"<html>{body}</html>".encode())]
    assert listing.entries(candidate, FOLDER) == ["v1.csv", "v2.csv", "v3.csv"]


def test_names_are_quoted_in_addresses(candidate, publisher):
    names = ["a b 1.csv", "a b 2.csv", "a&b 3.csv"]
    publisher.answers["/pub/csvfiles/"] = [Answer(page("/pub/csvfiles/", names))]
    assert listing.newest(candidate, FOLDER, r"a b (\d)\.csv") == [FOLDER + "a%20b%202.csv"]


def test_a_page_without_its_end_is_asked_for_again(candidate, publisher):
    whole = page("/pub/csvfiles/", ["v1.csv"])
    publisher.answers["/pub/csvfiles/"] = [Answer(whole[:-20], length=None)]
    with pytest.raises(Transient, match="has no end"):
        listing.newest(candidate, FOLDER, r"v(\d)\.csv")
    publisher.answers["/pub/csvfiles/"] = [Answer(whole, length=None)]
    assert listing.newest(candidate, FOLDER, r"v(\d)\.csv") == [FOLDER + "v1.csv"]


def test_a_huge_page_is_no_listing(candidate, publisher, monkeypatch):
    monkeypatch.setattr(listing, "MAX_LISTING_BYTES", 10)
    publisher.answers["/pub/csvfiles/"] = [Answer(page("/pub/csvfiles/", ["v1.csv"]))]
    with pytest.raises(SourceError, match="a listing of over 10 bytes"):
        listing.newest(candidate, FOLDER, r"v(\d)\.csv")
