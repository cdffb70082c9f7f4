"""What failed data tests say, in the words of their authors where pytest has none.

Of `assert codes.is_unique` pytest tells `assert np.False_`: the condition itself tells more.
"""

import ast
import re
from pathlib import Path

MOST_CHARACTERS = 200  # of a condition
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?(?:::(.+?)(?: - (.*))?)?$", re.MULTILINE)
_TRUTH = r"(?:not )?(?:np\.)?(?:True|False)_?"
_SAYS_NOTHING = re.compile(rf"(?:AssertionError: )?assert \(?{_TRUTH}(?: (?:and|or) {_TRUTH})*\)?")


def reasons(output: str, tests: Path) -> str:
    """The failures that pytest reports with `-rfE --tb=line`, as one text; empty without one.

    Parameters
    ----------
    output: what pytest printed.
    tests:  the file of the tests.
    """
    lines = re.findall(rf"^.*{re.escape(tests.name)}:(\d+): (.*)$", output, re.MULTILINE)
    told = []
    for name, message in _FAILED.findall(output):
        at = next((line for line in lines if line[1] == message), None)
        if at and _SAYS_NOTHING.fullmatch(message):
            lines.remove(at)
            message = f"not so: {_condition(tests, int(at[0]))}"
        told.append(" - ".join(filter(None, [name, message])))
    return "; ".join(filter(None, told))


def _condition(tests: Path, line: int) -> str:
    """The condition that is asserted in a line."""
    for node in ast.walk(ast.parse(tests.read_text("utf-8"))):
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or node.lineno):
            return ast.unparse(node.test)[:MOST_CHARACTERS]
    return f"line {line} of {tests.name}"
