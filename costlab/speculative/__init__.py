"""The speculative lever: several tokens out of one pass of the target, at exactly the target's law. NumPy only."""

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
from costlab.speculative.lossy import distance, ensemble, lenient, typical
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
    random_pair,
    text_law,
    verify_many,
    write_texts,
)

__all__ = [
    "Candidates", "Chosen", "Draft", "Goodness", "Pair", "Round", "Rounds", "Rule", "Streams", "Walk", "Written",
    "acceptance", "best_candidates", "check_laws", "check_non_anticipating", "check_vocabulary", "chi_square",
    "choose", "count_texts", "distance", "distinct_candidates", "distinct_laws", "distribution", "draft", "draw",
    "ensemble", "exact", "independent_candidates", "lenient", "match", "one_hot", "power", "random_pair", "residual",
    "text_law", "typical", "until_doubt", "verify", "verify_many", "walk", "while_likely", "while_sure",
    "write_texts",
]  # fmt: skip
