"""What the tests of speculative decoding share: exact laws of code that draws, and laws by enumeration.

`exactly` finds the law of a function of uniforms without sampling: it looks for the places at which the outcome
changes, by bisection, one uniform after the other in the order in which they decide, and adds up the lengths between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise, product
from typing import Any

import numpy as np

from costlab.speculative import Pair, Streams
from costlab.speculative.faulty import Mistake

END = 1 - 2.0**-53  # the largest uniform


class Dial:
    """A generator whose uniforms are set beforehand."""

    def __init__(self, *uniforms: float) -> None:
        self.left = list(uniforms)

    def random(self, size: int | None = None) -> Any:
        given, self.left = np.split(np.array(self.left), [1 if size is None else size])
        assert len(given) == (1 if size is None else size), "it drew more than it should"
        return given[0] if size is None else given


def streams(uniforms: tuple[float, ...], tests: int) -> Streams:
    """The first uniforms for the accept tests, the others for the last token."""
    return Streams(Dial(*uniforms[:tests]), Dial(*uniforms[tests:]))  # type: ignore[arg-type]


Outcome = Callable[[tuple[float, ...]], Hashable]


def exactly(outcome: Outcome, size: int, fixed: tuple[float, ...] = ()) -> dict[Any, float]:
    """The law of an outcome of `size` uniforms, in each of which it changes at most once from one value to the next."""
    if len(fixed) == size:
        return {outcome(fixed): 1.0}
    law: dict[Any, float] = defaultdict(float)
    for low, high in pieces(outcome, size, fixed):
        for found, chance in exactly(outcome, size, (*fixed, (low + high) / 2)).items():
            law[found] += (high - low) * chance
    return dict(law)


def pieces(outcome: Outcome, size: int, fixed: tuple[float, ...]) -> Iterator[tuple[float, float]]:
    """Where the next uniform changes nothing, whatever the later ones are."""
    later = size - len(fixed) - 1

    def look(uniform: float) -> tuple[Hashable, ...]:
        return tuple(outcome((*fixed, uniform, *[other] * later)) for other in ((0.0, END) if later else (0.0,)))

    def split(low: float, high: float, first: Any, last: Any) -> Iterator[float]:
        if first == last:
            return
        middle = (low + high) / 2
        if high - low < 1e-15:
            yield middle
            return
        found = look(middle)
        yield from split(low, middle, first, found)
        yield from split(middle, high, found, last)

    borders = [0.0, *split(0.0, END, look(2.0**-60), look(END)), 1.0]
    return pairwise(borders)


def first_token(law: dict[Any, float], vocabulary: int) -> np.ndarray:
    """The law of the first token of outcomes that are tuples of tokens."""
    found = np.zeros(vocabulary)
    for outcome, chance in law.items():
        found[outcome[0]] += chance
    return found


def completed(law: dict[tuple[int, ...], float], table: np.ndarray, context: int, tokens: int) -> np.ndarray:
    """The law of the first tokens after a context, if one round is followed by draws from the target's table."""
    found = np.zeros([len(table)] * tokens)
    for emitted, chance in law.items():
        missing = tokens - len(emitted)
        for rest in product(range(len(table)), repeat=max(0, missing)):
            path = (context, *emitted, *rest)[: tokens + 1]
            extra = [table[a, b] for a, b in zip(path[len(emitted) :], path[len(emitted) + 1 :], strict=False)]
            found[path[1:]] += chance * np.prod(extra)
    return found


# --- wrong rounds ----------------------------------------------------------------------------------------------


def round_law(mistake: Mistake, pair: Pair, context: int, length: int) -> dict[tuple[int, ...], float]:
    """The law of what one wrong round emits after a context, by adding up all drafts and refusals."""
    law: dict[tuple[int, ...], float] = defaultdict(float)

    def go(kept: tuple[int, ...], chance: float, bound: float) -> None:
        last = (context, *kept)[-1]
        if len(kept) == length:
            for token in range(pair.vocabulary):
                law[(*kept, token)] += chance * pair.target[last, token]
            return
        q = pair.draft[last]
        for token in np.flatnonzero(mistake.drawn_from(q)):
            p = pair.target[token if mistake.late else last]
            passes = float(mistake.kept(p, q)[token])
            keep = min(bound, passes) / bound if mistake.shared else passes  # a shared uniform is below all bounds
            drafted = chance * float(mistake.drawn_from(q)[token])
            if keep > 0:
                go((*kept, int(token)), drafted * keep, min(bound, passes))
            if mistake.instead is None:
                law[kept] += drafted * (1 - keep)
                continue
            for other, share in enumerate(mistake.instead(p, q, np.asarray(token))):
                law[(*kept, other)] += drafted * (1 - keep) * share

    go((), 1.0, 1.0)
    return dict(law)


def mistaken_text_law(mistake: Mistake, pair: Pair, tokens: int, length: int) -> np.ndarray:
    """The law of the first tokens after each token that wrong rounds write, in the columns of `text_law`."""
    rounds = [round_law(mistake, pair, context, length) for context in range(pair.vocabulary)]

    def after(context: int, missing: int) -> np.ndarray:
        found = np.zeros([pair.vocabulary] * missing)
        for emitted, chance in rounds[context].items():
            if len(emitted) >= missing:
                found[emitted[:missing]] += chance
            elif emitted:
                found[emitted] += chance * after(emitted[-1], missing - len(emitted))
        return found / found.sum()  # a round that emits nothing is tried again

    return np.array([after(context, tokens).ravel() for context in range(pair.vocabulary)])
