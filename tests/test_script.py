"""The messages of a script about unexpected errors."""

import ast
import errno
import itertools
import os
import sys

import pytest

from pipeline import __main__ as command_line
from pipeline import errors
from pipeline.cli import accept
from pipeline.errors import PipelineError, SourceError
from pipeline.settings import ROOT
from pipeline.stages import load, script


def test_a_disk_that_fails_is_named_and_no_fault_of_ours(here, capsys):
    told = script.as_source_error(OSError(errno.EIO, "Input/output error", "data/raw/quakes.csv"))
    assert isinstance(told, SourceError)
    assert "the disk cannot be read or written" in told.what
    assert "data/raw/quakes.csv" in told.what
    assert capsys.readouterr().err == ""


def test_a_full_disk_ends_the_run(here):
    with pytest.raises(PipelineError, match="the disk is full: data/raw/quakes") as caught:
        script.as_source_error(
            OSError(errno.ENOSPC, "No space left on device", "data/raw/quakes.csv")
        )
    assert not isinstance(caught.value, SourceError)


def test_a_fault_of_ours_leaves_its_traceback_in_the_log(here, capsys):
    try:
        {}["mag"]
    except KeyError as error:
        told = script.as_source_error(error)
    assert told.what.startswith("KeyError: 'mag'")
    assert "KeyError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "the disk is full: x"), (errno.EIO, "the disk cannot be")]
)
def test_a_failing_disk_is_reported_in_one_line(here, example, monkeypatch, capsys, number, said):
    def fail(*words):
        raise OSError(number, os.strerror(number), "x")

    monkeypatch.setattr(accept, "run", fail)
    monkeypatch.setattr(sys, "argv", ["run_pipeline.sh", "accept", "stations"])
    monkeypatch.setenv("STAGES", "api")
    assert command_line.main() == errors.FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"run_pipeline.sh: {said}")


# Options are written out


def test_no_option_may_be_abbreviated(monkeypatch, capsys):
    parser = command_line._parser(["api", "transform", "publish"])
    options = {text for action in parser._actions for text in action.option_strings}
    options = {text for text in options if text.startswith("--")}
    assert {"--rollback", "--force", "--accept-contract", "--if-missed"} <= options
    for option in sorted(options):
        for end in range(3, len(option)):
            for word in (option[:end], f"{option[:end]}=1"):
                if option[:end] in options:
                    continue
                with pytest.raises(SystemExit) as ended:
                    script.parse_with(parser, ["publish", word])
                assert ended.value.code == errors.USAGE, word
                assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("word", ["--forc", "--off", "--accept-c=x", "--he", "--f"])
def test_no_option_of_a_script_may_be_abbreviated(monkeypatch, word):
    from pipeline.stages import transform

    monkeypatch.setattr(sys, "argv", ["a_script.py", word])
    with pytest.raises(SystemExit) as ended:
        script.parse("what it does", transform.add_options)
    assert ended.value.code == errors.USAGE


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["load", "stations", "lines"], ["--force", "--allow-older"]),
        (["night", "stations"], ["--offline", "--if-missed", "--force"]),
        (["accept", "stations"], ["--header"]),
        (["transform"], ["--accept-contract=stations", "--accept-rows=stations", "--force"]),
        (["publish"], ["--rollback"]),
        (["publish"], ["--rollback=7", "--force"]),
        (["drill", "stations"], ["--keep", "--offline"]),
        (["doctor"], ["--offline"]),
        (["db", "psql"], ["--prod"]),
    ],
)
def test_options_and_names_stand_in_any_order(monkeypatch, words, options):
    """A command, its names and options in every order; also options as two arguments."""
    seen = []
    monkeypatch.setattr(command_line, "_command", lambda *words: seen.append(words[2:]) or 0)
    options = [tuple(option.split("=")) for option in options]
    for order in itertools.permutations([*((word,) for word in words), *options]):
        if [word for (word, *more) in order if not more and word[0] != "-"] != words:
            continue
        monkeypatch.setattr(sys, "argv", ["run_pipeline.sh", *itertools.chain(*order), "--", "-c"])
        assert command_line.main() == errors.OK, order
        assert sys.argv[1] == words[0]
    assert len(seen) >= len(words) + len(options)
    assert all(one == seen[0] for one in seen)
    assert [seen[0][0].command, *seen[0][0].names] == words
    assert seen[0][1] == ["-c"]


def test_without_a_command_it_is_the_night(monkeypatch):
    seen = []
    monkeypatch.setattr(command_line, "_command", lambda *words: seen.append(words[2]) or 0)
    for words in ([], ["--offline"], ["--force", "--offline"]):
        monkeypatch.setattr(sys, "argv", ["run_pipeline.sh", *words])
        assert command_line.main() == errors.OK
        assert sys.argv[1:] == ["night", *words]
    assert [(one.command, one.names) for one in seen] == [("night", [])] * 3


@pytest.mark.parametrize("order", [["stations", "--force"], ["--force", "stations"]])
def test_a_stage_of_one_source_takes_its_name_at_any_place(example, monkeypatch, order):
    seen = []
    monkeypatch.setattr(load, "run", lambda here, source, *flags: seen.append((source, *flags)))
    monkeypatch.setattr(
        script, "run", lambda *words: words[3](None, script.parse("", load.add_options))
    )
    monkeypatch.setattr(sys, "argv", ["load.py", *order])
    load.main()
    assert seen == [("stations", True, False)]


def test_every_parser_of_the_project_takes_options_written_out():
    for path in [*ROOT.glob("pipeline/*.py"), *ROOT.glob("bench/**/*.py"), *ROOT.glob("api/*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("ArgumentParser"):
                given = {word.arg: ast.unparse(word.value) for word in call.keywords}
                assert given.get("allow_abbrev") == "False", path.name
