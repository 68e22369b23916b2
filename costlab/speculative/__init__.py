"""The speculative lever: several tokens out of one pass of the target, at exactly the target's law. NumPy only."""

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

__all__ = [
    "Round", "Rule", "Streams", "acceptance", "check_laws", "check_vocabulary", "distribution", "draw", "exact",
    "match", "one_hot", "residual", "verify",
]  # fmt: skip
