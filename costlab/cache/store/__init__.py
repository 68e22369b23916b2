"""A prefix store that is real: pages of keys and values in memory, in RAM and in files that survive a kill.

The simulator next door (`costlab.cache`) counts pages; this holds them. In order of the data's way down: `pages`
(named arrays, their geometry and checksum), `order` (who was used when), `arena` (a pool of slots), `writer` (the
thread to the disk), `files` (the folder), `store` (the three tiers together), `measure` (how fast each tier is).

>>> import numpy as np
>>> from costlab.cache.store import Geometry, Store
>>> page = {"layer0": np.ones((2, 16, 80), np.float32)}
>>> with Store(Geometry.of(page), memory_pages=4) as store:
...     put = store.put([b"block 0", b"block 1"], [page, page])
...     store.match([b"block 0", b"block 1", b"block 2"]), float(store.load([b"block 1"])[0]["layer0"].sum())
(2, 2560.0)

Chapter: tiers
"""

from costlab.cache.store.disk import Disk, DiskFull, FolderInUse, ReadOnly, StoreError
from costlab.cache.store.files import GeometryMismatch
from costlab.cache.store.measure import Speeds, cool, predicted_ttft_s, speeds
from costlab.cache.store.pages import Array, Geometry, Page, PageKey, Spec
from costlab.cache.store.store import Stats, Store, WritePolicy

__all__ = [
    "Array", "Disk", "DiskFull", "FolderInUse", "Geometry", "GeometryMismatch", "Page", "PageKey", "ReadOnly",
    "Spec", "Speeds", "Stats", "Store", "StoreError", "WritePolicy", "cool", "predicted_ttft_s", "speeds",
]  # fmt: skip
