"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import numpy as np

POINTS = {
    "prefix-bytes": 0,
    "keep-hours": 0,
    "lru-uses": 0,
    "distances": 0,
    "curve": 0,
    "best-capacity": 0,
    "window-wide": 0,
    "window-whole": 0,
    "beats-well": 0,
    "look-ahead": 0,
    "first-token": 0,
    "cheapest": 0,
}


# %% bytes-answer
def prefix_bytes(full, sliding, window, per_token, tokens):
    """Count whole windows, also while there are fewer tokens."""
    return per_token * (full * tokens + sliding * window)


# %% keep-answer
def keep_hours(kept, load_s, recompute_s, chips, usd_per_chip_hour, usd_per_gb_hour):
    """Forget that a hit takes time too."""
    return recompute_s * chips * usd_per_chip_hour / 3600 / (kept / 1e9 * usd_per_gb_hour)


# %% lru-answer
class LRU:
    """First in, first out: a hit changes nothing."""

    def __init__(self, capacity):
        self.order = []

    def hit(self, block):
        """Do nothing."""

    def add(self, block):
        """Put the block at the end."""
        self.order.append(block)

    def evict(self):
        """Take the first."""
        return self.order.pop(0)


# %% distances-answer
def stack_distances(references):
    """Count references in between, not different blocks."""
    last, distances = {}, []
    for now, block in enumerate(references):
        distances.append(now - last[block] - 1 if block in last else np.inf)
        last[block] = now
    return distances


# %% curve-answer
def hit_curve(distances, largest):
    """Count a distance of c as a hit with c blocks."""
    return np.array([np.sum(distances <= capacity) for capacity in range(largest + 1)])


# %% worth-answer
def best_capacity(hits, usd_per_hit, usd_per_block):
    """Stop at the first block that does not pay for itself."""
    capacity = 0
    while capacity + 1 < len(hits) and (hits[capacity + 1] - hits[capacity]) * usd_per_hit > usd_per_block:
        capacity += 1
    return capacity


# %% reusable-answer
def reusable(prompt, tokens, pages, windows, block, window):
    """Look at the last block's window only, and reuse a whole prompt whole."""
    best = 0
    for n in range(1, len(prompt) + 1):
        if prompt[n - 1] not in pages:
            break
        if prompt[n - 1] in windows:
            best = n
    return best * block


# %% policy-answer
class Better:
    """Guests first: blocks that were asked for once go before all others."""

    def __init__(self, capacity):
        self.guests, self.regulars = {}, {}

    def hit(self, block):
        """Make the block a regular, used just now."""
        self.guests.pop(block, None)
        self.regulars.pop(block, None)
        self.regulars[block] = True

    def add(self, block):
        """Begin as a guest, whatever was known of the block before."""
        self.guests[block] = True

    def evict(self):
        """Take the oldest guest, or the regular not used for longest."""
        line = self.guests or self.regulars
        block = next(iter(line))
        del line[block]
        return block


# %% ahead-answer
def look_ahead(loads, computes):
    """Start a load when the layer before has computed, not when it starts to."""
    loaded = done = 0.0
    for load, compute in zip(loads, computes, strict=True):
        loaded = max(loaded, done) + load
        done = max(done, loaded) + compute
    return done


# %% first-answer
def first_token_s(hits, references, requests, blocks, seconds):
    """Treat each tier as a cache of its own."""
    found = [hits(size) for size in blocks]
    found.append(references - sum(found))
    return sum(n * s for n, s in zip(found, seconds, strict=True)) / requests


# %% cheapest-answer
def cheapest(options, wait, rent, target):
    """Grow the tier that helps most for its rent, step by step, until the target is met."""
    at = [0] * len(options)

    def sizes(steps):
        return tuple(sizes[step] for sizes, step in zip(options, steps, strict=True))

    while wait(sizes(at)) > target:
        more = [[*at[:i], at[i] + 1, *at[i + 1 :]] for i in range(len(at)) if at[i] + 1 < len(options[i])]
        if not more:
            return None
        at = max(more, key=lambda each: (wait(sizes(at)) - wait(sizes(each))) / (rent(sizes(each)) - rent(sizes(at))))
    return sizes(at)
