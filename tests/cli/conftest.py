"""What the tests of the command line share."""

import json
from datetime import date

import pytest

from costlab.cli import clock
from costlab.cli.main import main


@pytest.fixture(autouse=True)
def a_fixed_day(monkeypatch):
    """The shell's default day is one on which the lists had been read, whenever the tests run."""
    monkeypatch.setattr(clock, "today", lambda: date(2026, 11, 25))


@pytest.fixture
def run(capsys):
    """A function that gives exit status, stdout and stderr of a command line, in this process."""

    def run(line):
        try:
            status = main(line.split())
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def document(run):
    """A function that gives what a command prints with --json, checked to be standard JSON (no NaN, no Infinity)."""

    def document(line, status=0):
        found, out, err = run(f"{line} --json")
        assert (found, err) == (status, "")
        read = json.loads(out, parse_constant=refuse)
        assert list(read) == ["schema", "verb", "inputs", "rows", "notes", "sources"]
        assert (read["schema"], read["verb"]) == (1, line.split()[0])
        return read

    return document


def refuse(constant):
    raise AssertionError(f"not JSON: {constant}")
