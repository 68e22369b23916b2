"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import math

import numpy as np

POINTS = {
    "attained": 0,
    "intensity": 0,
    "decode": 0,
    "prefill": 0,
    "leaves": 0,
    "never": 0,
    "split": 0,
    "room": 0,
    "design": 0,
    "fit": 0,
    "left": 0,
}


# %% attained-answer
def attained(flops, moved_bytes, chip):
    """First move, then compute."""
    return flops / (flops / chip.flops_s + moved_bytes / chip.bytes_s)


# %% intensity-answer
def intensity(batch, rows, columns, size):
    """Count the matrix alone."""
    return 2 * batch / size


# %% decode-answer
def decode_s(batch, context, model, chip):
    """Read the weights for each sequence."""
    flops = batch * (2 * model.params + context * model.seen_flops)
    moved = batch * (model.weight_bytes + context * model.kept_bytes)
    return max(flops / chip.flops_s, moved / chip.bytes_s)


# %% prefill-answer
def prefill_s(new, prefix, model, chip):
    """Let every token look at the whole prompt."""
    flops = new * (2 * model.params + (prefix + new) * model.seen_flops)
    moved = model.weight_bytes + (prefix + new) * model.kept_bytes
    return max(flops / chip.flops_s, moved / chip.bytes_s)


# %% leaves-answer
def leaves_at(context, model, chip):
    """Forget the caches."""
    return model.weight_bytes / chip.bytes_s * chip.flops_s / (2 * model.params + context * model.seen_flops)


# %% never-answer
def never_from(model, chip):
    """Forget that attention computes, too."""
    return 2 * model.params / chip.flops_s * chip.bytes_s / model.kept_bytes


# %% split-answer
def cache_on_chip(cache_bytes, heads, group):
    """Split whatever there is over all chips."""
    return cache_bytes / group


# %% room-answer
def room(memory_bytes, weight_bytes, cache_bytes, chips, group):
    """Pool the free memory of all replicas."""
    return max(0, math.floor(chips // group * (0.9 * memory_bytes - weight_bytes) / cache_bytes))


# %% design-answer
def cheapest(groups, room, step_s, speed, rent):
    """Take the cheapest, whatever was promised."""
    usd, group, batch = min(
        (rent * group / 3600 * step_s(group, batch) / batch * 1e6, group, batch)
        for group in groups
        for batch in range(1, room(group) + 1)
    )
    return group, batch, usd


# %% fit-answer
def efficiency(ideal_s, took_s):
    """Take the mean of the shares."""
    return np.mean(np.divide(ideal_s, took_s))


# %% left-answer
def left_out(ideal_s, took_s, fit):
    """Fit to all steps, the one left out among them."""
    return (np.array(ideal_s) / fit(ideal_s, took_s) / took_s - 1).tolist()
