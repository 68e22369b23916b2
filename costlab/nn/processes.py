"""How processes that compute with torch are started."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence


def start_method(modules: Sequence[str]) -> str:
    """Return how to start: on Linux processes are forked off one that has loaded torch, elsewhere each loads it.

    The first call of a process decides what that one loads; what it lacks, each process loads for itself.

    Args:
        modules: to load beside the caller's main module.
    """
    if sys.platform != "linux":
        return "spawn"  # on macOS a fork after torch has loaded may hang
    multiprocessing.set_forkserver_preload(["__main__", *modules])
    return "forkserver"
