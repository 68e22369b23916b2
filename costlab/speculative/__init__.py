"""The speculative lever: several tokens out of one pass of the target, at exactly the target's law. NumPy only.

Chapter: speculative
"""

from costlab.speculative.adaptive import (
    Draft,
    check_non_anticipating,
    draft,
    until_doubt,
    while_likely,
    while_sure,
)
from costlab.speculative.candidates import (
    Candidates,
    Chosen,
    Walk,
    best_candidates,
    choose,
    distinct_candidates,
    distinct_laws,
    independent_candidates,
    walk,
)
from costlab.speculative.goodness import Goodness, chi_square, power
from costlab.speculative.goodput import Admission, admit, batch_goodput, latency_per_token
from costlab.speculative.lossy import distance, ensemble, lenient, typical
from costlab.speculative.plan import Speculation, speculate
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
from costlab.speculative.simulate import (
    Pair,
    Rounds,
    Written,
    count_texts,
    decide_many,
    random_pair,
    text_law,
    verify_many,
    write_texts,
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
    "Admission", "Candidates", "Chosen", "Draft", "Goodness", "Pair", "Round", "Rounds", "Rule", "Speculation",
    "Streams", "Tree", "Walk", "Written", "acceptance", "admit", "arithmetic_factor", "batch_goodput",
    "best_candidates", "best_length", "best_tree", "by_position", "check_laws", "check_non_anticipating",
    "check_vocabulary", "chi_square", "choose", "conditional", "count_texts", "decide_many", "distance",
    "distinct_candidates", "distinct_laws", "distribution", "draft", "draw", "ensemble", "exact", "expected_tokens",
    "fastest_tree", "implied_acceptance", "independent_candidates", "latency_per_token", "lenient", "match",
    "node_survival", "one_hot", "pass_cost", "power", "random_pair", "rank_shares", "residual", "round_cost",
    "speculate", "speedup", "survival", "text_law", "tokens_law", "tree_cost", "tree_tokens", "typical", "until_doubt",
    "verify", "verify_many", "walk", "while_likely", "while_sure", "write_texts",
]  # fmt: skip
