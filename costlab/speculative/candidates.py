"""Several candidates for one position, tried in turn, and the walk down a token tree, which does so node by node.

A refused candidate was not wasted: it tells what the target's law still lacks. After candidate i, drawn from q_i, is
refused, p becomes norm(max(0, p - q_i)), and the next is tried against that. q_i must be the law that candidate i was
drawn from once the earlier ones were: the same q for independent draws; q without the earlier ones, renormalised, for
distinct draws; all on the token itself where nothing was drawn, as for the k likeliest.

>>> import numpy as np
>>> from costlab.speculative import best_candidates, distinct_laws
>>> q = np.array([0.5, 0.3, 0.2])
>>> best_candidates(q, 2).tokens.tolist(), distinct_laws(q, [0, 1]).tolist()
([0, 1], [[0.5, 0.3, 0.2], [0.0, 0.6, 0.4]])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from costlab.arrays import ArrayLike, Floats, Ints
from costlab.checks import count, indices
from costlab.speculative.rules import Streams, check_drafted, check_laws, check_tokens, draw, one_hot, residual

# --- proposing -------------------------------------------------------------------------------------------------


class Candidates(NamedTuple):
    """Tokens proposed for one position, and what each was drawn from."""

    tokens: Ints  # in the order in which they are tried, [k]
    laws: Floats  # law of each once the earlier ones were drawn, [k, vocabulary]


def independent_candidates(q: ArrayLike, k: int, rng: np.random.Generator) -> Candidates:
    """Draw k candidates from q, each as if alone; a token may come twice.

    Args:
        q: a law, [vocabulary].
        k: how many.
        rng: what they are drawn with.

    Source: SpecInfer, arXiv 2305.09781 (multi-step speculative sampling).
    """
    laws = np.tile(check_laws(q, "q", (None,)), (count(k, "k"), 1))
    return Candidates(draw(laws, rng.random(len(laws))), laws)


def distinct_candidates(q: ArrayLike, k: int, rng: np.random.Generator) -> Candidates:
    """Draw k candidates from q without replacement; fewer if fewer have a probability above 0.

    Args:
        q: a law, [vocabulary].
        k: how many.
        rng: what they are drawn with.

    Source: Sequoia, arXiv 2402.12374 (sampling without replacement).
    """
    left = check_laws(q, "q", (None,)).copy()
    tokens: list[int] = []
    for _ in range(min(count(k, "k"), int(np.count_nonzero(left)))):
        tokens.append(int(draw(left, rng.random())))
        left[tokens[-1]] = 0.0
    return Candidates(np.array(tokens), distinct_laws(q, tokens))


def distinct_laws(q: ArrayLike, tokens: ArrayLike) -> Floats:
    """Return the law of each candidate drawn without replacement: q without the earlier ones, made to sum to 1 again.

    Args:
        q: a law, [vocabulary].
        tokens: distinct candidates in the order of their drawing, [k].

    Returns:
        Laws, [k, vocabulary].

    Raises:
        ValueError: a token that comes twice, or that q rules out.
    """
    law = check_laws(q, "q", (None,))
    drawn = check_tokens(tokens, len(law))
    if len(set(drawn.tolist())) < len(drawn):
        raise ValueError(f"tokens = {drawn.tolist()} drawn without replacement should be distinct")
    check_drafted(drawn, law[drawn])
    laws = np.tile(law, (len(drawn), 1))
    for place, token in enumerate(drawn[:-1]):
        laws[place + 1 :, token] = 0.0
    return np.asarray(laws / laws.sum(axis=-1, keepdims=True), dtype=np.float64)


def best_candidates(q: ArrayLike, k: int) -> Candidates:
    """Return the k likeliest tokens, of equal ones the lower first; as nothing is drawn, their laws are one-hot.

    Args:
        q: a law, [vocabulary].
        k: how many; no more than there are tokens.

    Source: SafeAILab/EAGLE, `eagle/model/utils.py`, which verifies the children of its trees so.
    """
    law = check_laws(q, "q", (None,))
    tokens = np.argsort(-law, kind="stable")[: count(k, "k")]
    return Candidates(tokens, one_hot(tokens, len(law)))


# --- choosing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """What one position emits."""

    token: int  # kept candidate, or drawn after all were refused
    candidate: int | None  # which candidate was kept; None: none


def choose(tokens: ArrayLike, laws: ArrayLike, p: ArrayLike, rng: np.random.Generator | Streams) -> Chosen:
    """Keep the first of several candidates that passes, or draw another token; its law is the target's.

    Args:
        tokens: candidates, [k].
        laws: what each was drawn from, [k, vocabulary].
        p: the target's law, [vocabulary].
        rng: a generator, or two: of the accept tests and of the last token.

    Raises:
        ValueError: laws that are none, or a candidate that its law rules out.

    Source: SpecInfer, arXiv 2305.09781; Sequoia, arXiv 2402.12374.
    """
    target = check_laws(p, "p", (None,))
    drafted, laws = _checked(tokens, laws, len(target))
    accept, last = rng if isinstance(rng, Streams) else Streams(rng, rng)
    candidate, left = try_in_turn(drafted, laws, target, accept.random(len(drafted)))
    token = draw(left, last.random()) if candidate is None else drafted[candidate]
    return Chosen(int(token), candidate)


def try_in_turn(tokens: Ints, laws: Floats, p: Floats, uniforms: Floats) -> tuple[int | None, Floats]:
    """Test candidates one after the other: what `choose` and `walk` share, without their checks.

    Args:
        tokens: candidates, [k].
        laws: what each was drawn from, [k, vocabulary].
        p: the target's law, [vocabulary].
        uniforms: one for each test, [k].

    Returns:
        Which candidate was kept, None if none was; and the law that is left of p.
    """
    for candidate, (token, law, uniform) in enumerate(zip(tokens, laws, uniforms, strict=True)):
        if uniform * law[token] < p[token]:
            return candidate, p
        p = residual(p, law)
    return None, p


def _checked(tokens: ArrayLike, laws: ArrayLike, vocabulary: int) -> tuple[Ints, Floats]:
    """Return drafted tokens and the laws that they were drawn from."""
    drafted = check_tokens(np.ravel(tokens), vocabulary)
    given = np.reshape(laws, (0, vocabulary)) if not np.size(laws) else laws
    found = check_laws(given, "q", (len(drafted), vocabulary))
    check_drafted(drafted, found[np.arange(len(drafted)), drafted])
    return drafted, found


# --- trees -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walk:
    """What one pass over a token tree emits."""

    tokens: Ints  # those of the kept nodes and one more, [kept + 1]
    nodes: tuple[int, ...]  # kept nodes from the root's child downwards: rows of the pass whose cache stays


def walk(
    tokens: ArrayLike, parents: Sequence[int], q: ArrayLike, p: ArrayLike, rng: np.random.Generator | Streams
) -> Walk:
    """Go down a tree of drafted tokens as long as a child is kept, then emit one token more.

    At each node its children are candidates for the next position. A chain is walked as `verify` does it, by the same
    uniforms.

    Args:
        tokens: drafted, one a node, [nodes].
        parents: of each node the node before it that it hangs from, -1 for the root, which is the text so far; the
            children of a node are tried in the order of their numbers.
        q: the law that each was drawn from once its elder siblings were, [nodes, vocabulary].
        p: the target's laws behind the root and behind each node, [1 + nodes, vocabulary].
        rng: a generator, or two: of the accept tests, one uniform a node, and of the last token.

    Raises:
        ValueError: laws that are none, a parent that is no earlier node, or a token that its law rules out.

    Source: SpecInfer, arXiv 2305.09781.
    """
    p = check_laws(p, "p", (np.size(tokens) + 1, None))
    drafted, q = _checked(tokens, q, p.shape[-1])
    children = _children(parents, len(drafted))
    accept, last = rng if isinstance(rng, Streams) else Streams(rng, rng)
    uniforms, nodes = accept.random(len(drafted)), [-1]
    while True:
        ahead = children[nodes[-1] + 1]
        kept, law = try_in_turn(drafted[ahead], q[ahead], p[nodes[-1] + 1], uniforms[ahead])
        if kept is None:
            return Walk(np.append(drafted[nodes[1:]], draw(law, last.random())), tuple(nodes[1:]))
        nodes.append(ahead[kept])


def _children(parents: Sequence[int], nodes: int) -> list[list[int]]:
    """Return the children of the root and of each node, [1 + nodes]."""
    above = indices(parents, "parents").tolist()
    if len(above) != nodes:
        raise ValueError(f"{len(above)} parents should be {nodes}, one for each token")
    children: list[list[int]] = [[] for _ in range(nodes + 1)]
    for node, parent in enumerate(above):
        if not -1 <= parent < node:
            raise ValueError(f"parent {parent} of node {node} should be -1 or a node before it")
        children[parent + 1].append(node)
    return children
