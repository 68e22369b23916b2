"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import hashlib
import itertools
import math

import numpy as np

POINTS = {
    "bytes": 0,
    "spacing": 0,
    "exclusive": 0,
    "inclusive": 0,
    "years": 0,
    "selective": 0,
    "homes": 0,
    "ends-edges": 0,
    "store-whole": 0,
    "store-checked": 0,
}


# %% bytes-answer
def token_bytes(full, sliding, window, spacing):
    """Store overlapping windows twice."""
    return full + sliding * window / spacing


# %% spacing-answer
def spacing_for(times, full, sliding, window):
    """Compare with the full layers alone."""
    spare = full * times - full
    return sliding * window / spare if spare > 0 else None


# %% exclusive-answer
def exclusive(references, sizes):
    """Leave the page below when a copy goes up."""
    tiers = [{} for _ in sizes]
    found, written = [0] * (len(sizes) + 1), [0] * (len(sizes) - 1)
    for page in references:
        where = next((i for i, tier in enumerate(tiers) if page in tier), len(tiers))
        found[where] += 1
        moving = page
        for i, tier in enumerate(tiers):
            tier.pop(moving, None)
            tier[moving] = True
            if len(tier) <= sizes[i]:
                break
            moving = next(iter(tier))
            del tier[moving]
            if i < len(written):
                written[i] += 1
    return found, written


# %% inclusive-answer
def inclusive(references, sizes):
    """Count a use in the tier that answers, and not below it."""
    tiers = [{} for _ in sizes]
    found, written = [0] * (len(sizes) + 1), [0] * (len(sizes) - 1)
    for page in references:
        where = next((i for i, tier in enumerate(tiers) if page in tier), len(tiers))
        found[where] += 1
        if where == len(tiers):
            written = [n + 1 for n in written]
        for tier, size in list(zip(tiers, sizes, strict=True))[: where + 1]:
            tier.pop(page, None)
            tier[page] = True
            if len(tier) > size:
                del tier[next(iter(tier))]
    return found, written


# %% years-answer
def drive_years(drives, drive_bytes, writes_a_day, warranty_years, written_bytes_s):
    """Write everything to each drive."""
    allowed = drive_bytes * writes_a_day * 365 * warranty_years
    return allowed / (written_bytes_s * 365 * 86_400) if written_bytes_s else math.inf


# %% selective-answer
def selective(references, uses):
    """Find a page at the very reference that writes it."""
    _, counts = np.unique(np.array(references), return_counts=True)
    return int((counts >= uses).sum()), int(np.maximum(counts - uses + 1, 0).sum())


# %% homes-answer
def homes(offers):
    """Let each cheaper rent have its turn."""
    names = sorted(offers, key=lambda name: -offers[name][0])
    found = [(names[0], 0.0)]
    for fast, slow in itertools.pairwise(names):
        (p, r), (q, s) = offers[fast], offers[slow]
        found.append((slow, (s - r) / (p - q)))
    return found


# %% ends-answer
def both_ends(computes, loads):
    """Stop as soon as computing has caught up with loading, and take the last of equal splits."""
    ends = [max(sum(computes[:k]), sum(loads[k:])) for k in range(len(computes) + 1)]
    best = min(ends)
    return len(ends) - 1 - ends[::-1].index(best), best


# %% store-answer
def save(disk, name, page):
    """Write over the old page, with a digest of the page alone, and sync both."""
    disk.write(name, hashlib.sha256(page).digest() + page)
    disk.sync(name)
    disk.sync_folder()


def load(disk, name):
    """Check the digest."""
    data = disk.read(name)
    if data is None:
        return None
    digest, page = data[:32], data[32:]
    return page if hashlib.sha256(page).digest() == digest else None
