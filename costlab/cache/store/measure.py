"""How fast a store's tiers are on this machine, by loading real pages, and what that predicts for a prompt.

Chapter: tiers
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from costlab.arrays import ArrayLike
from costlab.cache.sim.loading import timeline
from costlab.cache.store.pages import Bytes, Geometry
from costlab.cache.store.store import Store


@dataclass(frozen=True)
class Speeds:
    """How fast `Store.load` is, by where the pages are."""

    memory_bytes_per_s: float  # from the memory pool, bytes per second
    ram_bytes_per_s: float  # from the RAM tier, bytes per second
    warm_file_bytes_per_s: float  # from files that the system still holds in memory, bytes per second
    cold_file_bytes_per_s: float  # from files that only the disk holds, bytes per second

    def of(self, tier: str) -> float:
        """Return the speed of "memory", "ram", "warm file" or "cold file"."""
        return float(getattr(self, f"{tier.replace(' ', '_')}_bytes_per_s"))


def speeds(geometry: Geometry, pages: int = 16, repeats: int = 5, folder: str | Path | None = None) -> Speeds:
    """Measure how fast pages of a geometry come out of each tier; the best of `repeats`.

    Args:
        geometry: of the pages.
        pages: how many are loaded at a time.
        repeats: how often.
        folder: on the disk to measure; None: the system's folder for temporary files.

    Raises:
        StoreError: no room for the pages.
    """
    row = np.random.default_rng(0).integers(0, 256, geometry.row_bytes, dtype=np.uint8)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        memory = stack.enter_context(_filled(Store(geometry, pages), row, pages))
        ram = stack.enter_context(_filled(Store(geometry, 1, pages), row, pages))
        files = stack.enter_context(_filled(Store(geometry, 1, folder=home), row, pages))
        files.flush()
        return Speeds(
            _bytes_per_s(memory, pages, repeats),
            _bytes_per_s(ram, pages, repeats),
            _bytes_per_s(files, pages, repeats),
            _bytes_per_s(files, pages, repeats, lambda: cool(home)),
        )


def _filled(store: Store, row: Bytes, pages: int) -> Store:
    store.put(range(pages), [store.geometry.views(row)] * pages)
    return store


def _bytes_per_s(store: Store, pages: int, repeats: int, before: Callable[[], object] = lambda: None) -> float:
    times = []
    for _ in range(repeats):
        before()
        start = perf_counter()
        came = store.load(range(pages))
        times.append(perf_counter() - start)
        assert len(came) == pages
    return pages * store.geometry.page_bytes / min(times)


def cool(folder: str | Path) -> None:
    """Ask the system to forget what it holds of a store's files in memory, so that the disk itself is read next.

    Raises:
        OSError: the system has no such call.
    """
    if not hasattr(os, "posix_fadvise"):
        raise OSError("this system cannot be asked to forget a file's pages (posix_fadvise)")
    for path in Path(folder).glob("*.page"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def predicted_ttft_s(
    load_bytes: Sequence[float], bytes_per_s: ArrayLike, compute_s: Sequence[float], mode: str = "serial"
) -> float:
    """Return the time to the first token that the loading simulator predicts.

    Args:
        load_bytes: what each layer loads.
        bytes_per_s: of the tier that it comes from; one number, or one per layer.
        compute_s: what each layer computes after that.
        mode: of `costlab.cache.sim.loading`; "serial" is how `costlab.nn.serving.prefix` serves.

    Raises:
        ValueError: as many loads as layers are needed; an unknown mode.
    """
    return timeline(np.asarray(load_bytes) / np.asarray(bytes_per_s), compute_s, mode).finish_s
