"""The messages of failed data tests; where pytest's message says nothing, the asserted condition.

For `assert codes.is_unique` pytest prints `assert np.False_`; the condition itself says more.
"""

import ast
import re
from pathlib import Path

MOST_CHARACTERS = 200  # of a condition
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?(?:::(.+))?$", re.MULTILINE)
_AT = re.compile(r"^(\S.*\.py):(\d+): (.*)$", re.MULTILINE)
# A false value, or a true one that must be false, without anything else.
_VALUE = (
    r"(?:not )?(?:(?:np\.)?(?:True|False)_?|None|nan|NaT|<NA>|-?[0-9.]+|np\.\w+\([^()]*\)"
    r"|\[\]|\(\)|\{\}|''|b''|set\(\)|array\(.*\))"
)
_SAYS_NOTHING = re.compile(
    rf"(?:AssertionError: )?assert \(?{_VALUE}(?: (?:and|or) {_VALUE})*\)?(?: (?:is|==) {_VALUE})?"
    r"|AssertionError:?"
)


def reasons(output: str, tests: Path) -> str:
    """Return the failures that pytest prints with `-rfE --tb=line`, as one text.

    Parameters
    ----------
    output: what pytest printed.
    tests:  the file of the tests.
    """
    lines = _AT.findall(output)
    messages = []
    for failure in _FAILED.findall(output):
        # ` - ` stands before the message, and may also be part of a parameter.
        at = next((line for line in lines if failure.endswith(f" - {line[2]}")), None)
        name, _, message = failure.partition(" - ")
        if at and _SAYS_NOTHING.fullmatch(at[2].strip()):
            lines.remove(at)
            name = failure.removesuffix(f" - {at[2]}")
            message = f"not so: {_condition(tests.parent / at[0], int(at[1]))}"
        elif not at and _SAYS_NOTHING.fullmatch(message.strip()):
            message = "a condition of its fixtures is not so"  # pytest does not say where
        messages.append(" - ".join(filter(None, [name, message])))
    return "; ".join(filter(None, messages))


def _condition(path: Path, line: int) -> str:
    """Return the condition that is asserted in a line of the tests, or of code that they call."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, ValueError, SyntaxError):
        return f"line {line} of {path.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or node.lineno):
            return ast.unparse(node.test)[:MOST_CHARACTERS]
    return f"line {line} of {path.name}"
