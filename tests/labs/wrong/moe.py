"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import numpy as np

POINTS = {
    "router-ties": 0,
    "bias-weight": 0,
    "simulate": 0,
    "bytes": 0,
    "dispatch-order": 0,
    "factor-least": 0,
    "place-example": 0,
    "place-skewed": 0,
    "exchange-bytes": 0,
}

EXPERTS, TOP_K, EXPERT_BYTES = 384, 6, 822.1e9  # the notebook defines these


# %% router
def route(logits, k, scale):
    """Reverse the order to have the best first, which also reverses ties."""
    scores = np.sqrt(np.logaddexp(0, logits))
    experts = np.argsort(scores, axis=-1)[:, ::-1][:, :k]
    chosen = np.take_along_axis(scores, experts, axis=-1)
    return experts, scale * chosen / chosen.sum(axis=-1, keepdims=True)


# %% biased-router
def route_biased(logits, bias, k, scale):
    """Weigh by the biased scores."""
    scores = 1 / (1 + np.exp(-logits)) + bias
    experts = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    chosen = np.take_along_axis(scores, experts, axis=-1)
    return experts, scale * chosen / chosen.sum(axis=-1, keepdims=True)


# %% simulate-answer
def simulate(experts, k, batch, trials, rng):
    """Draw the experts of a token with replacement."""
    return float(np.mean([np.unique(rng.integers(0, experts, k * batch)).size / experts for _ in range(trials)]))


# %% bytes-answer
def gb_per_token(batch):
    """Forget all weights but the experts."""
    return (1 - (1 - TOP_K / EXPERTS) ** batch) * EXPERT_BYTES / batch / 1e9


# %% dispatch-answer
def dispatch(chosen, total, rows):
    """Serve tokens in order, with all their choices."""
    kept, filled = np.zeros(chosen.shape, dtype=bool), np.zeros(total, dtype=int)
    for token, experts in enumerate(chosen):
        for choice, expert in enumerate(experts):
            kept[token, choice] = filled[expert] < rows
            filled[expert] += kept[token, choice]
    return kept, int((~kept).sum()), int(total * rows - kept.sum())


# %% factor-answer
def least_factor(loads, share):
    """Drop nothing at all."""
    return loads.max() / loads.mean()


# %% place-answer
def place(loads, ranks, redundant):
    """One further copy for each of the heaviest, then fill in order."""
    heaviest = np.resize(np.argsort(-loads, kind="stable"), redundant)
    return np.concatenate([np.arange(len(loads)), heaviest]).reshape(ranks, -1)


# %% exchange-answer
def exchange_bytes(k, ranks, hidden, layers):
    """Forget that some visits stay on the chip."""
    return layers * k * hidden * 3
