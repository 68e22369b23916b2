"""What a command of the command line prints in both its forms, run once."""

import contextlib
import importlib
import io
import shlex
from argparse import Namespace
from typing import NamedTuple

import pytest

from costlab.cli.main import main
from costlab.cli.output import printed


class Told(NamedTuple):
    """What a command prints, for people and with --json, and its exit status."""

    text: str
    json: str
    status: int


def told_of(line: str) -> Told:
    """Run a command once, a line without `costlab`; both forms are of one answer."""
    forms = []

    def both(answer, args):
        forms.append(printed(answer, Namespace(**{**vars(args), "json": True})))
        return printed(answer, args)

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.setattr(importlib.import_module(main.__module__), "printed", both)
        status = main(shlex.split(line))
    return Told(out.getvalue(), f"{forms[0]}\n", status)
