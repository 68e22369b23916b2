"""The Python that runs a student's cells: an ordinary kernel in which a cell harms no later one by accident.

`exit()` ends it at once, not after the reply, so that the cell that calls it is the one that fails. Streams that a
cell closed or replaced are there again for the next. What a cell prints beyond 2 MB goes nowhere.
"""

import os
import sys

MOST_PRINTED = 2_000_000  # characters of a cell


def contain() -> None:
    """Change a kernel that has been made and not yet started."""
    from ipykernel.iostream import OutStream
    from IPython import get_ipython

    shell, streams, folder = get_ipython(), (sys.stdout, sys.stderr), os.getcwd()
    write, most, printed = OutStream.write, MOST_PRINTED, 0

    def write_some(self: OutStream, text: str) -> int | None:
        nonlocal printed
        room, printed = max(0, most - printed), printed + len(text)
        return write(self, text[:room]) if room else len(text)

    def anew(info: object) -> None:
        nonlocal printed
        printed = 0
        sys.stdout, sys.stderr = streams
        os.chdir(folder)

    OutStream.write = write_some
    OutStream.close = lambda self: None
    shell.events.register("pre_run_cell", anew)
    shell.events.register("post_run_cell", anew)  # before the kernel itself writes to the streams
    shell.observe(lambda change: os._exit(0), "exit_now")


if __name__ == "__main__":
    sys.path[0] = ""  # as in a notebook: the working folder, not this file's
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(["--HistoryManager.enabled=False", *sys.argv[1:]])
    contain()
    del contain, MOST_PRINTED
    app.start()
