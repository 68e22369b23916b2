"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import numpy as np

POINTS = {
    "cache-grouped": 0,
    "cache-short": 0,
    "compress-large": 0,
    "overlap-first": 0,
    "index-scores": 0,
    "choose-ties": 0,
    "attend-sink": 0,
    "attend-large": 0,
    "stream-small": 0,
    "recall": 0,
    "operations": 0,
}


# %% grouped-answer
def grouped_bytes(config, tokens):
    """Give windows as many heads as the full layers, as the model that is shown has."""
    total = 0
    for layer_type in config["layer_types"]:
        total += tokens if layer_type == "full_attention" else min(tokens, config["sliding_window"])
    return total * 2 * config["num_key_value_heads"] * (config["head_dim"] + config["v_head_dim"])


# %% compressed-answer
def compressed_bytes(config, tokens):
    """Count parts of entries for blocks that are not complete."""
    plain = config["head_dim"] - config["qk_rope_head_dim"]
    entry = plain + plain // 64 + 2 * config["qk_rope_head_dim"] + 1
    index_key = config["index_head_dim"] / 2 + config["index_head_dim"] / 32
    total = config["num_hidden_layers"] * min(tokens, config["sliding_window"]) * entry
    for ratio in config["compress_ratios"][: config["num_hidden_layers"]]:
        if ratio:
            total += tokens / ratio * (entry + (index_key if ratio == 4 else 0))
    return total


# %% compress-answer
def compress(contents, gates, block):
    """Raise the gates as they are."""
    used = len(contents) // block * block
    c, z = (x[:used].reshape(-1, block, x.shape[1]) for x in (contents, gates))
    return (np.exp(z) * c).sum(axis=1) / np.exp(z).sum(axis=1)


# %% overlap-answer
def compress_overlapping(contents, gates, block):
    """Put zeros where the first block has no block before it, in the softmax too."""
    entries = []
    for start in range(0, contents.shape[1] // block * block, block):
        if start:
            c, z = contents[1, start - block : start], gates[1, start - block : start]
        else:
            c = z = np.zeros((block, contents.shape[2]))
        c = np.concatenate([c, contents[0, start : start + block]])
        weights = np.exp(np.concatenate([z, gates[0, start : start + block]]))
        entries.append((weights * c).sum(axis=0) / weights.sum(axis=0))
    return np.array(entries)


# %% scores-answer
def index_scores(queries, weights, keys):
    """Add up the heads first, then apply the ReLU."""
    return np.maximum(np.einsum("th,thd,bd->tb", weights, queries, keys), 0)


# %% choose-answer
def choose(scores, block, k):
    """Reverse the order to have the best first, which also reverses ties."""
    chosen = np.zeros(scores.shape, dtype=bool)
    for t, row in enumerate(scores):
        chosen[t, np.argsort(row[: (t + 1) // block])[::-1][:k]] = True
    return chosen


# %% attend-answer
def attend(queries, entries, window, sinks):
    """Forget the sink."""
    read = np.concatenate([entries, window])
    logits = queries @ read.T / np.sqrt(queries.shape[1])
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ read


# %% stream-answer
class OpenBlock:
    """Keep the whole open block."""

    def __init__(self, block, width):
        self.block = block
        self.contents = self.gates = np.zeros((0, width))

    def read(self, contents, gates):
        """Append, and compress what is complete."""
        self.contents = np.concatenate([self.contents, contents])
        self.gates = np.concatenate([self.gates, gates])
        entries = []
        while len(self.contents) >= self.block:
            c, z = self.contents[: self.block], self.gates[: self.block]
            weights = np.exp(z - z.max(axis=0))
            entries.append((weights * c).sum(axis=0) / weights.sum(axis=0))
            self.contents, self.gates = self.contents[self.block :], self.gates[self.block :]
        return np.array(entries).reshape(-1, self.contents.shape[1])


# %% recall-answer
def recalls(scores, wanted):
    """Average the questions' own recalls, whatever each wants."""
    order = np.argsort(-scores, axis=1, kind="stable")
    found = np.take_along_axis(wanted, order, axis=1).cumsum(axis=1)
    return (found / wanted.sum(axis=1, keepdims=True)).mean(axis=0)


# %% operations-answer
def decode_operations(config, active, tokens):
    """Score only the entries that are read."""
    total = 2 * active
    for ratio in config["compress_ratios"][: config["num_hidden_layers"]]:
        vectors = min(tokens, config["sliding_window"])
        if ratio == 4:
            chosen = min(tokens // 4, config["index_topk"])
            total += 2 * chosen * config["index_n_heads"] * config["index_head_dim"]
            vectors += chosen
        elif ratio:
            vectors += tokens // ratio
        total += 4 * vectors * config["num_attention_heads"] * config["head_dim"]
    return total
