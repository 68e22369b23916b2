"""The speculative lever: several tokens out of one pass of the target, at exactly the target's law. NumPy only."""

from costlab.speculative.goodput import Admission, admit, batch_goodput, latency_per_token
from costlab.speculative.rules import (
    Round,
    Rule,
    Streams,
    acceptance,
    check_laws,
    check_vocabulary,
    distribution,
    draw,
    exact,
    match,
    one_hot,
    residual,
    verify,
)
from costlab.speculative.theory import (
    arithmetic_factor,
    best_length,
    by_position,
    conditional,
    expected_tokens,
    implied_acceptance,
    pass_cost,
    round_cost,
    speedup,
    survival,
    tokens_law,
)
from costlab.speculative.trees import (
    Tree,
    best_tree,
    fastest_tree,
    node_survival,
    rank_shares,
    tree_cost,
    tree_tokens,
)

__all__ = [
    "Admission", "Round", "Rule", "Streams", "Tree", "acceptance", "admit", "arithmetic_factor", "batch_goodput",
    "best_length", "best_tree", "by_position", "check_laws", "check_vocabulary", "conditional", "distribution", "draw",
    "exact", "expected_tokens", "fastest_tree", "implied_acceptance", "latency_per_token", "match", "node_survival",
    "one_hot", "pass_cost", "rank_shares", "residual", "round_cost", "speedup", "survival", "tokens_law", "tree_cost",
    "tree_tokens", "verify",
]  # fmt: skip
