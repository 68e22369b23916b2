"""Pages whose content follows from their key, so that whoever is served one can tell whether it is right."""

import numpy as np

from costlab.cache.store import Geometry


def page_of(key: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(key)
    return {"a": rng.random((2, 8, 4), np.float32), "b": rng.integers(-9, 9, 5).astype(np.int16)}


GEOMETRY = Geometry.of(page_of(0))
MANY = 5000  # keys, more than any test writes


def is_right(key: int, page: dict[str, np.ndarray]) -> bool:
    expected = page_of(key)
    return page.keys() == expected.keys() and all(np.array_equal(page[n], a) for n, a in expected.items())


def served_right(store, keys) -> int:
    """Load keys one by one, raise unless each served page is right, and return how many were served."""
    count = 0
    for key in keys:
        for page in store.load([key]):
            assert is_right(key, page), f"page {key} is wrong"
            count += 1
    return count
