"""Forks a child for each step that is asked for on its standard input, one JSON object a line.

    zygote.py CLONE PAGE OUTPUT

It only imports what the steps import: nothing of a step is kept.
"""

import importlib
import json
import os
import runpy
import struct
import sys
import traceback
import warnings

LEADER = 5 * 8  # where struct page of faulty.c has the leader of the run


def main() -> None:
    """Fork until standard input ends; each child's exit code goes to standard output."""
    clone, page, output = sys.argv[1:]
    sys.path[0] = clone
    for name in (
        "pipeline.__main__",
        "pipeline.cli.night",
        "pipeline.stages.api",
        "pipeline.stages.load",
    ):
        importlib.import_module(name)
    importlib.import_module("pipeline.cli.accept")
    importlib.import_module("dbt.cli.main")
    importlib.import_module("dbt.adapters.postgres")
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            _become(asked, page, output)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(asked: dict, page: str, output: str) -> None:
    """Become the step, from its first argument to its exit code."""
    os.setsid()
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(source, target)
    os.environ.update(asked["environment"], INJECTION_STEP=page)
    with open(page, "r+b") as file:  # noqa: PTH123
        file.seek(LEADER)
        file.write(struct.pack("=q", os.getpid()))
    code = 1
    try:
        code = _run(asked["words"])
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(words: list[str]) -> int:
    sys.argv = list(words)
    warnings.simplefilter("ignore")
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
        return 0
    return importlib.import_module(words[0]).main() or 0


if __name__ == "__main__":
    main()
