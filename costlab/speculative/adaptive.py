"""A draft whose length is decided as it is drawn, by rules that leave the target's law alone.

Whether the target checks a token must be decided before that token is drawn. A rule that looks at the drawn token and
then drops it changes which tokens come to be checked, and so the law: p = (0.7, 0.3), q = (0.5, 0.5), checked only when
token 0 was drawn, emits (0.85, 0.15). To keep a doubtful token and stop after it is fine. `draft` asks its rule before
each draw and shows it nothing else than what is drawn already and the next token's law, so no rule can look ahead;
`check_non_anticipating` refuses one that is given as a function of whole drafts.

Source: DSpark, arXiv 2607.05147 sec. 3.2.2 and appendix A.

>>> import numpy as np
>>> from costlab.speculative import draft, until_doubt
>>> found = draft(lambda tokens: np.array([0.6, 0.4]), until_doubt(0.5), 8, np.random.default_rng(2))
>>> found.tokens.tolist()
[0, 0, 1]
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from costlab.arrays import Floats, Ints
from costlab.checks import count
from costlab.speculative.rules import check_laws, draw

#: Whether to draft one token more, from the chances q(x) of those drafted, [k], and the next one's law, [vocabulary].
More = Callable[[Floats, Floats], bool]


class Draft(NamedTuple):
    """Drafted tokens and what they were drawn from, as `verify` takes them."""

    tokens: Ints  # [g]
    q: Floats  # law of each, [g, vocabulary]


def draft(law_after: Callable[[Ints], Floats], more: More, longest: int, rng: np.random.Generator) -> Draft:
    """Draw tokens one after the other for as long as the rule asks for more.

    Args:
        law_after: the draft's law of the next token, [vocabulary], after the drafted ones, [k].
        more: the rule; it is asked before each draw.
        longest: most tokens.
        rng: what they are drawn with.

    Raises:
        ValueError: a law that is none.
    """
    tokens, laws, chances = np.zeros(0, dtype=np.int64), np.zeros((0, 0)), np.zeros(0)
    for _ in range(count(longest, "longest")):
        law = check_laws(law_after(tokens), "the draft's law", (None,))
        laws = laws.reshape(-1, len(law))
        if not more(chances, law):
            break
        token = draw(law, rng.random())
        tokens, laws, chances = np.append(tokens, token), np.vstack([laws, law]), np.append(chances, law[token])
    return Draft(tokens, laws)


def until_doubt(least: float) -> More:
    """Return the rule that stops after a token whose chance was below `least`; the token stays in the draft."""
    return lambda chances, law: not chances.size or bool(chances[-1] >= least)


def while_sure(least: float) -> More:
    """Return the rule that stops before a position whose likeliest token has a chance below `least`."""
    return lambda chances, law: bool(law.max() >= least)


def while_likely(least: float) -> More:
    """Return the rule that stops once the product of the drafted tokens' chances is below `least`."""
    return lambda chances, law: bool(chances.prod() >= least)


def check_non_anticipating(checks: Callable[[tuple[int, ...]], bool], vocabulary: int, longest: int) -> None:
    """Raise if a rule looks at a drawn token to decide whether the target checks that token.

    Args:
        checks: whether the last of these drafted tokens is checked; the rule to be tried.
        vocabulary: tokens to choose from; all drafts over it are tried.
        longest: most drafted tokens.

    Raises:
        ValueError: quoting two tokens of which, at one place, one is checked and the other is not.
    """
    for length in range(count(longest, "longest")):
        for before in product(range(count(vocabulary, "vocabulary")), repeat=length):
            if not all(checks(before[: end + 1]) for end in range(length)):
                continue
            answers = [bool(checks((*before, token))) for token in range(vocabulary)]
            if len(set(answers)) > 1:
                raise ValueError(
                    f"after the drafted tokens {before}, token {answers.index(True)} would be checked and token "
                    f"{answers.index(False)} would not: decide before the token is drawn, or keep it and stop after it"
                )
