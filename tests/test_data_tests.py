"""The reasons given for failed data tests."""

import os
import re
import subprocess
import sys

import pytest

from pipeline.stages import data_tests

TESTS = """
import re

import helpers
import numpy as np
import pandas as pd
import pytest

ONE = pd.Series(["a", "a"])


def test_one():
    assert ONE.is_unique


def test_two():
    assert ONE.str.fullmatch(
        "b"
    ).all()


def test_three():
    assert {"a", "b"} <= {"a"}


def test_four():
    assert not (ONE == "a").all()


def test_five():
    assert (ONE == "b").all(), "words of the author"


def test_six():
    assert all(text == "b" for text in ONE)


def test_seven():
    assert np.bool_(True) and (ONE == "b").any()


@pytest.mark.parametrize("sign", ["b", "c d"])
def test_eight(sign):
    assert (ONE == sign).all()


def test_nine():
    raise ValueError("another error")


def test_ten(nothing):
    pass


def test_eleven():
    assert re.fullmatch("a", "b")


def test_twelve():
    assert np.int64(0) or []


def test_thirteen():
    assert (ONE == "b").all() is True


@pytest.mark.parametrize("words", ["a - b", "c - assert d"])
def test_fourteen(words):
    assert (ONE == words).all()


def test_fifteen():
    helpers.check(ONE)


def test_sixteen():
    raise AssertionError


def test_seventeen(checked):
    pass


def test_passes():
    assert ONE.notna().all()
"""


HELPERS = """
def check(values):
    assert values.is_unique
"""
FIXTURES = """
import numpy as np
import pytest


@pytest.fixture
def checked():
    assert np.array([0]).any()
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("data tests") / "test_some_source.py"
    path.write_text(TESTS)
    path.with_name("helpers.py").write_text(HELPERS)
    path.with_name("conftest.py").write_text(FIXTURES)
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=line", "--no-header"]
    command += ["-p", "no:cacheprovider", f"--rootdir={path.parent}", str(path)]
    done = subprocess.run(
        command,
        cwd=path.parent,
        env=os.environ | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return data_tests.reasons(done.stdout, path)


@pytest.mark.parametrize(
    "words",
    [
        "test_one - not so: ONE.is_unique;",
        "test_two - not so: ONE.str.fullmatch('b').all();",
        "test_three - AssertionError: assert {'a', 'b'} <= {'a'};",
        "test_four - not so: not (ONE == 'a').all();",
        "test_five - AssertionError: words of the author;",
        "test_six - not so: all((text == 'b' for text in ONE));",
        "test_seven - not so: np.bool_(True) and (ONE == 'b').any();",
        "test_eight[b] - not so: (ONE == sign).all();",
        "test_eight[c d] - not so: (ONE == sign).all();",
        "test_nine - ValueError: another error",
        "test_eleven - not so: re.fullmatch('a', 'b');",
        "test_twelve - not so: np.int64(0) or [];",
        "test_thirteen - not so: (ONE == 'b').all() is True;",
        "test_fourteen[a - b] - not so: (ONE == words).all();",
        "test_fourteen[c - assert d] - not so: (ONE == words).all();",
        "test_fifteen - not so: values.is_unique;",
        "test_sixteen - not so: line ",
        "test_seventeen - a condition of its fixtures is not so",
    ],
)
def test_the_condition_is_shown_where_pytest_shows_only_its_truth(told, words):
    assert words in told


def test_no_reason_is_only_a_truth_value(told):
    assert "np." not in re.sub(r"not so: [^;]*", "", told)
    assert "assert False" not in told
    assert "test_ten" in told
    assert "test_passes" not in told
