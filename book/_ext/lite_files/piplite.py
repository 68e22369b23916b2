"""Stands in for the installer of JupyterLite's kernel: all that a lab imports is in the site's own lock."""

from pathlib import Path

CARRIED = {"ipykernel", "comm", "pyodide-kernel", "jedi", "ipython"}  # what the kernel asks for as it starts
# Run as the kernel starts. It has switched on completions by jedi, which is not here; IPython's own need nothing.
# And JupyterLite ends a run of all cells at the first that fails, even where a cell's tag says that it may: so an
# error is printed, and the cell counts as done.
STARTUP = """
def _print_error(kind, value, lines):
    import sys

    print(*lines, sep="\\n", file=sys.stderr)


get_ipython().Completer.use_jedi = False
get_ipython()._showtraceback = _print_error
"""


async def install(requirements: object, **options: object) -> None:
    """Pass over what the kernel's start asks for, and refuse the rest: nothing is loaded from another host."""
    if requirements not in CARRIED:
        raise ImportError(f"{requirements!r} cannot be installed here: labs have NumPy, Matplotlib and costlab")


folder = Path.home() / ".ipython" / "profile_default" / "startup"
folder.mkdir(parents=True, exist_ok=True)
(folder / "labs.py").write_text(STARTUP)
