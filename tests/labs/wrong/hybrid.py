"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import numpy as np

POINTS = {
    "window-sink": 0,
    "window-large": 0,
    "ring-pieces": 0,
    "gaps": 0,
    "limits": 0,
    "kept-share": 0,
    "close-from": 0,
    "keys-read": 0,
    "reach": 0,
    "place-fewest": 0,
    "choose": 0,
}


# %% window-answer
def window_attention(q, k, v, window, sinks=None):
    """Add the sink to the sum once for each key."""
    heads, tokens, d = q.shape
    k, v = (np.repeat(x, heads // len(x), axis=0) for x in (k, v))
    back = np.arange(tokens)[:, None] - np.arange(tokens)
    scores = np.where((back >= 0) & (back < window), q @ k.transpose(0, 2, 1) / np.sqrt(d), -np.inf)
    highest = scores.max(axis=2, keepdims=True)
    if sinks is not None:
        highest = np.maximum(highest, sinks[:, None, None])
    raised = np.exp(scores - highest)
    sink = 0 if sinks is None else np.exp(sinks[:, None, None] - highest)
    return raised @ v / (raised + sink).sum(axis=2, keepdims=True)


# %% ring-answer
class WindowCache:
    """Drop what is old before the piece has attended."""

    def __init__(self, window, d, width):
        self.window = window
        self.k, self.v = np.zeros((0, d)), np.zeros((0, width))

    def read(self, q, k, v):
        """Append, drop, attend."""
        self.k = np.concatenate([self.k, k])[-self.window :].copy()
        self.v = np.concatenate([self.v, v])[-self.window :].copy()
        back = len(self.k) - len(q) + np.arange(len(q))[:, None] - np.arange(len(self.k))
        scores = np.where((back >= 0) & (back < self.window), q @ self.k.T / np.sqrt(q.shape[1]), -1e9)
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return raised @ self.v / raised.sum(axis=1, keepdims=True)


# %% gaps-answer
def gaps(layers):
    """Count what follows each full layer, the end of the list included."""
    runs = "".join(layer[0] for layer in layers).split("f")[1:]
    return [len(run) for run in runs]


# %% limits-answer
def limits(layers, full_heads, sliding_heads):
    """Count layers where heads should be counted."""
    full = layers.count("full_attention")
    return len(layers) / full, len(layers) / full


# %% share-answer
def kept_share(full, sliding, window, tokens):
    """Count whole windows, also while there are fewer tokens."""
    return (full * tokens + sliding * window) / ((full + sliding) * tokens)


# %% close-answer
def close_from(full, sliding, window, excess):
    """Take the excess as absolute."""
    return int(np.ceil(sliding * window / ((full + sliding) * excess)))


# %% keys-answer
def keys_read(tokens, window):
    """Let each token read whole windows, also at the beginning."""
    return tokens * (tokens + 1) // 2 if window is None else tokens * min(window, tokens)


# %% reach-answer
def reach(kinds, window, tokens):
    """Add up whole windows, the token itself each time."""
    return tokens if "F" in kinds else min(tokens, len(kinds) * window)


# %% place-answer
def place(layers, most):
    """Put a full layer wherever the count comes round, counted in sliding layers."""
    kinds = ["F" if layer % most == 0 else "S" for layer in range(layers)]
    return "".join(kinds[:-1]) + "F"


# %% choose-answer
def choose(proposals, times, tokens):
    """Take the widest window, whatever the number of full layers."""
    good = []
    for kinds, window in proposals:
        full = kinds.count("F")
        if len(kinds) * tokens >= times * (full * tokens + (len(kinds) - full) * min(window, tokens)):
            good.append((kinds, window))
    return max(good, key=lambda each: each[1], default=None)
