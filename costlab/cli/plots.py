"""The option --plot: a figure into a file, and a refusal before the work, not after it."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path

#: Endings of files that figures are written to.
ENDINGS = (".svg", ".png", ".pdf")


def add_plot(verb: argparse.ArgumentParser, help: str) -> None:
    """Add --plot to a verb."""
    verb.add_argument("--plot", metavar="FILE", help=help)


def plotter(path: str | None, figure: str) -> Callable[..., None] | None:
    """Return what draws a figure into a file, given what the figure shows; None where no file is asked for.

    Args:
        path: as `--plot` has it.
        figure: the drawing function, as "module.function" of `costlab.explore`, which is imported only here.

    Raises:
        ValueError: a folder that is not there, another ending, no matplotlib; when called, a file that cannot be
            written.
    """
    if path is None:
        return None
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"--plot {path!r}: there is no such folder")
    if Path(path).suffix not in ENDINGS:
        raise ValueError(f"--plot {path!r} should end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    module, _, name = figure.rpartition(".")
    try:
        import matplotlib

        matplotlib.use("Agg")
        draw = getattr(importlib.import_module(f"costlab.explore.{module}"), name)
    except ImportError as error:
        raise ValueError(f"--plot needs matplotlib (pip install matplotlib): {error}") from None

    def write(shown: object, **options: object) -> None:
        try:
            draw(shown, path, **options)
        except OSError as error:
            raise ValueError(f"--plot {path!r} cannot be written: {error.strerror}") from None

    return write
