"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import numpy as np

POINTS = {
    "chance": 0,
    "residual": 0,
    "share": 0,
    "round-residual": 0,
    "lookup": 0,
    "sure": 0,
    "mended-law": 0,
    "stop": 0,
    "after-all": 0,
    "ring-refuse": 0,
    "tokens": 0,
    "conditional": 0,
    "best": 0,
}


# %% chance-answer
def chance(p, q):
    """Divide by zero where a token is never drafted."""
    return np.minimum(1, p / q)


# %% residual-answer
def residual(p, q):
    """Divide by zero where both laws are the same."""
    return np.maximum(p - q, 0) / np.maximum(p - q, 0).sum()


# %% share-answer
def accepted_share(p, q):
    """Take the chance that a token of the target equals the drafted one."""
    return float((p * q).sum())


# %% round-answer
def play_round(drafted, q, p, accept, last):
    """Draw from the target, not from the residual, after a rejection."""
    kept = 0
    while kept < len(drafted) and accept[kept] < p[kept][drafted[kept]] / q[kept][drafted[kept]]:
        kept += 1
    return [*drafted[:kept], draw(p[kept], last)]  # noqa: F821 (the lab's)


# %% lookup-answer
def lookup(text, n, length):
    """Take the first earlier place."""
    for start in range(len(text) - n):
        if text[start : start + n] == text[-n:]:
            return text[start + n : start + n + length]
    return []


# %% sure-answer
def sure_round(drafted, p, accept, last):
    """Draw from the target after a rejection; the rejected token can come again."""
    for i, token in enumerate(drafted):
        if accept[i] >= p[i][token]:
            return [*drafted[:i], draw(p[i], last)]  # noqa: F821 (the lab's)
    return [*drafted, draw(p[-1], last)]  # noqa: F821 (the lab's)


# %% mended-answer
def mended(target, draft, text, length, rng):
    """Mend the rows, the softmax and the draft, and draw from the target after a rejection."""
    drafted, q = [], []
    for _ in range(length):
        q.append(softmax(draft(text + drafted)[-1]))  # noqa: F821 (the lab's)
        drafted.append(draw(q[-1], rng.random()))  # noqa: F821 (the lab's)
    logits = target(text + drafted)
    for i, token in enumerate(drafted):
        p = softmax(logits[len(text) + i - 1])  # noqa: F821 (the lab's)
        if rng.random() >= p[token] / q[i][token]:
            return [*drafted[:i], draw(p, rng.random())]  # noqa: F821 (the lab's)
    return [*drafted, draw(softmax(logits[-1]), rng.random())]  # noqa: F821 (the lab's)


# %% generate-answer
def generate(one_round, prompt, max_new_tokens, stop):
    """Look for the stop token at the end of a round only."""
    new, passes = [], 0
    while len(new) < max_new_tokens and new[-1:] != [stop]:
        new += one_round(prompt + new)
        passes += 1
    return new[:max_new_tokens], passes


# %% after-answer
def after_round(tokens, drafted, accepted, held):
    """Forget that the draft has not read its own last token."""
    return tokens + accepted, tokens + accepted


# %% ring-answer
class Ring:
    """Measure how far it goes back from the rows that it has now, not from the most that it had."""

    def __init__(self, window, extra, width):
        self.window, self.extra = window, extra
        self.slots = np.zeros((window + extra, width))
        self.length = 0

    def append(self, rows):
        """Write each row into its slot."""
        for row in rows:
            self.slots[self.length % len(self.slots)] = row
            self.length += 1

    def last(self):
        """Read the last window."""
        numbers = range(max(0, self.length - self.window), self.length)
        return np.array([self.slots[i % len(self.slots)] for i in numbers])

    def rewind(self, length):
        """Go back by no more than the extra slots."""
        if not self.length - self.extra <= length <= self.length:
            raise ValueError(length)
        self.length = length


# %% tokens-answer
def tokens_per_round(acceptances):
    """Add up the acceptances as if each token were emitted whatever became of those before it."""
    return 1 + np.cumsum([0.0, *acceptances])


# %% conditional-answer
def conditional(curve):
    """Take the steps of the curve."""
    return np.diff(curve, prepend=1.0)


# %% best-answer
def best(tokens, round_s, batches, target_s):
    """Hold the whole round to the target, not each token of it."""
    plans = [(b, k) for b in batches for k in range(len(tokens)) if round_s(b, k) <= target_s]
    return max(plans, key=lambda plan: plan[0] * tokens[plan[1]] / round_s(*plan), default=None)
