"""Many rounds at once: `verify` over arrays of rounds, and texts of a small target whose law depends on the context.

`verify_many` takes the uniforms themselves, so its decisions are those of `verify` with the same ones. A `Pair` is a
target and a draft that are Markov chains: the law of the next token is a row of a table, chosen by the last token. Its
texts have a known law (`text_law`), so a rule can be tested on it, context and all.

>>> import numpy as np
>>> from costlab.speculative import random_pair, write_texts
>>> pair = random_pair(8, acceptance=0.8, rng=np.random.default_rng(0))
>>> written = write_texts(pair, np.zeros(100, int), tokens=2000, length=4, rng=np.random.default_rng(1))
>>> round(float(written.text.size / written.passes.sum()), 1), round((1 - 0.8**5) / (1 - 0.8), 1)
(3.4, 3.4)

Chapter: speculative
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Bools, Floats, Ints
from costlab.checks import count
from costlab.speculative.rules import (
    acceptance,
    check_drafted,
    check_laws,
    check_tokens,
    draw,
    residual,
)

# --- many rounds -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rounds:
    """What many passes emit."""

    tokens: Ints  # kept drafts and one more; -1 behind a round's end, [rounds, g + 1]
    accepted: Ints  # drafted tokens kept, [rounds]

    @property
    def emitted(self) -> Ints:
        """Tokens that each round emits, [rounds]."""
        return np.asarray((self.tokens >= 0).sum(axis=-1), dtype=np.int64)


def verify_many(drafted: ArrayLike, q: ArrayLike, p: ArrayLike, accept: ArrayLike, last: ArrayLike) -> Rounds:
    """Verify many rounds, each with laws of its own, as `verify` does each by the same uniforms.

    Args:
        drafted: tokens, [rounds, g].
        q: the law that each was drawn from, [rounds, g, vocabulary].
        p: the target's laws, [rounds, g + 1, vocabulary].
        accept: uniforms of the accept tests, [rounds, g].
        last: uniforms of the last token, [rounds].

    Raises:
        ValueError: laws that are none, shapes that do not fit, or a drafted token that q rules out.
    """
    return decide_many(*check_rounds(drafted, q, p), np.asarray(accept), np.asarray(last))


def decide_many(drafted: Ints, q: Floats, p: Floats, accept: Floats, last: Floats) -> Rounds:
    """Verify many rounds of laws that are known to be laws; arguments are those of `verify_many`.

    Raises:
        ValueError: a drafted token that q rules out.
    """
    chances, wanted = chances_of(drafted, q), chances_of(drafted, p)
    check_drafted(drafted, chances)
    accepted = leading(accept * chances < wanted)
    rounds, refused = np.arange(len(drafted)), accepted < drafted.shape[1]
    law = p[rounds, accepted]  # [rounds, vocabulary]
    law[refused] = residual(law[refused], q[rounds[refused], accepted[refused]])
    return Rounds(closed(drafted, accepted, draw(law, last)), accepted)


def check_rounds(drafted: ArrayLike, q: ArrayLike, p: ArrayLike) -> tuple[Ints, Floats, Floats]:
    """Return tokens [rounds, g], q [rounds, g, vocabulary] and p [rounds, g + 1, vocabulary].

    Raises:
        ValueError: laws that are none, or shapes that do not fit.
    """
    if np.ndim(drafted) != 2:
        raise ValueError(f"drafted of shape {np.shape(drafted)} should be (rounds, g)")
    rounds, length = np.shape(drafted)
    p = check_laws(p, "p", (rounds, length + 1, None))
    q = check_laws(q, "q", (rounds, length, p.shape[-1]))
    return check_tokens(drafted, p.shape[-1]), q, p


def chances_of(tokens: Ints, laws: Floats) -> Floats:
    """Return the probability of each token by its law, [rounds, g]; laws may have a row more than there are tokens."""
    rounds, length = tokens.shape
    return np.asarray(laws[np.arange(rounds)[:, None], np.arange(length), tokens], dtype=np.float64)


def leading(kept: Bools) -> Ints:
    """Return how many tests of each round pass before the first that does not, [rounds]."""
    return np.asarray(np.logical_and.accumulate(kept, axis=-1).sum(axis=-1), dtype=np.int64)


def closed(drafted: Ints, accepted: Ints, last: Ints) -> Ints:
    """Return each round's kept tokens, its last token, and -1 behind it, [rounds, g + 1]."""
    tokens = np.full((len(drafted), drafted.shape[1] + 1), -1)
    tokens[:, :-1] = np.where(np.arange(drafted.shape[1]) < accepted[:, None], drafted, -1)
    tokens[np.arange(len(drafted)), accepted] = last
    return tokens


# --- texts of Markov chains ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A target and a draft whose laws depend on the last token."""

    target: Floats  # law of the token after each token, [vocabulary, vocabulary]
    draft: Floats  # the draft's, of that shape

    def __post_init__(self) -> None:
        size = len(check_laws(self.target, "target"))
        check_laws(self.target, "target", (size, size))
        check_laws(self.draft, "draft", (size, size))

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return len(self.target)

    @property
    def acceptance(self) -> Floats:
        """Chance that a token drafted after each token is kept, [vocabulary]."""
        return acceptance(self.target, self.draft)


def random_pair(vocabulary: int, acceptance: float, rng: np.random.Generator, concentration: float = 0.4) -> Pair:
    """Return a pair of one acceptance in every context: each draft row mixes the target's with another random law.

    Args:
        vocabulary: number of tokens.
        acceptance: chance that a drafted token is kept, above 0 and at most 1.
        rng: what the tables are drawn with.
        concentration: of the Dirichlet laws that the rows come from; the smaller, the fewer likely tokens in a row.

    Raises:
        ValueError: an acceptance that random laws don't come down to.
    """
    if not 0 < acceptance <= 1:
        raise ValueError(f"acceptance = {acceptance} should be above 0 and at most 1")
    rows = [_random_row(vocabulary, acceptance, rng, concentration) for _ in range(count(vocabulary, "vocabulary"))]
    target, draft = (np.array(each) for each in zip(*rows, strict=True))
    return Pair(target, draft)


def _random_row(size: int, wanted: float, rng: np.random.Generator, concentration: float) -> tuple[Floats, Floats]:
    for _ in range(10_000):
        p, other = rng.dirichlet([concentration] * size, 2)
        apart = 1 - acceptance(p, other)
        if apart >= 1 - wanted and p.min() >= 0 and apart:
            share = (1 - wanted) / apart
            return p, (1 - share) * p + share * other
    raise ValueError(f"acceptance = {wanted} is too low for random laws of concentration {concentration}")


def draft_texts(table: Floats, context: Ints, length: int, rng: np.random.Generator) -> Ints:
    """Draw tokens one after the other from a table of laws.

    Args:
        table: law of the token after each token, [vocabulary, vocabulary].
        context: the last token of each text, [texts].
        length: tokens to draw.
        rng: what they are drawn with.

    Returns:
        Tokens, [texts, length].
    """
    tokens = np.empty((len(context), length), dtype=np.int64)
    for place in range(length):
        context = tokens[:, place] = draw(table[context], rng.random(len(context)))
    return tokens


#: What decides a round: drafted, q, p, accept and last, shaped as for `verify_many`.
Decide = Callable[[Ints, Floats, Floats, Floats, Floats], Rounds]


def play_rounds(
    pair: Pair,
    context: Ints,
    length: int,
    rng: np.random.Generator,
    decide: Decide = decide_many,
    drawn_from: Floats | None = None,
) -> Rounds:
    """Draft, and decide by p and q, one round after each context.

    Args:
        pair: target and draft.
        context: the last token of each text, [texts].
        length: drafted tokens a round, g.
        rng: what drafts, tests and last tokens are drawn with.
        decide: the rule.
        drawn_from: table that drafts are drawn from, if that is not the pair's, which the rule is told of: a mistake.
    """
    drafted = draft_texts(pair.draft if drawn_from is None else drawn_from, context, length, rng)
    seen = np.column_stack([context, drafted])  # what each law is the law after, [texts, g + 1]
    accept, last = rng.random(drafted.shape), rng.random(len(drafted))
    return decide(drafted, pair.draft[seen[:, :-1]], pair.target[seen], accept, last)


@dataclass(frozen=True)
class Written:
    """Texts written round by round."""

    text: Ints  # their tokens, -1 where a text was not finished, [texts, tokens]
    passes: Ints  # of the target over each text, [texts]


def write_texts(
    pair: Pair,
    context: ArrayLike,
    tokens: int,
    length: int,
    rng: np.random.Generator,
    decide: Decide = decide_many,
    drawn_from: Floats | None = None,
    most_passes: int = 10_000,
) -> Written:
    """Continue many texts by rounds until each has its tokens; what a last round emits beyond them is cut.

    Args:
        pair: target and draft.
        context: the token that each text begins after, [texts].
        tokens: to write in each.
        length: drafted tokens a round, g.
        rng: what drafts, tests and last tokens are drawn with.
        decide: the rule.
        drawn_from: as for `play_rounds`.
        most_passes: give up a text after so many; only a wrong rule comes that far.
    """
    last = check_tokens(context, pair.vocabulary).copy()
    text, filled = np.full((len(last), tokens), -1), np.zeros(len(last), dtype=np.int64)
    passes = np.zeros_like(filled)
    for _ in range(most_passes):
        left = np.flatnonzero(filled < tokens)
        if not left.size:
            break
        found = play_rounds(pair, last[left], length, rng, decide, drawn_from)
        passes[left] += 1
        rows, places = np.nonzero(found.tokens >= 0)
        at, into, what = left[rows], filled[left[rows]] + places, found.tokens[rows, places]
        last[at] = what  # in the order of places, so the last one stays
        filled[left] += found.emitted
        fits = into < tokens
        text[at[fits], into[fits]] = what[fits]
    return Written(text, passes)


def text_law(table: ArrayLike, tokens: int) -> Floats:
    """Return the law of the first tokens after each token: a row each, a column for each text in the order of digits.

    Args:
        table: law of the token after each token, [vocabulary, vocabulary].
        tokens: length of the texts.

    Returns:
        Laws, [vocabulary, vocabulary ** tokens].
    """
    step = check_laws(table, "table")
    law = step
    for _ in range(tokens - 1):  # texts of one token more: each times the row of its last token
        law = (law.reshape(len(step), -1, len(step), 1) * step).reshape(len(step), -1)
    return np.asarray(law, dtype=np.float64)


def count_texts(context: ArrayLike, text: ArrayLike, vocabulary: int) -> Ints:
    """Return how often each text came after each token, in the columns of `text_law`.

    Args:
        context: the token that each text begins after, [texts].
        text: its tokens, [texts, tokens].
        vocabulary: number of tokens.

    Returns:
        Counts, [vocabulary, vocabulary ** tokens].

    Raises:
        ValueError: a text that was not finished.
    """
    written = check_tokens(text, vocabulary)
    columns = vocabulary ** written.shape[-1]
    place = check_tokens(context, vocabulary)
    for token in written.T:
        place = place * vocabulary + token
    return np.bincount(place, minlength=vocabulary * columns).reshape(vocabulary, columns).astype(np.int64)
