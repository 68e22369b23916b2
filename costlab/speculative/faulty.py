"""Rules that are wrong, kept to be shown wrong: one source article's loop, and what engines have shipped by mistake.

Nothing here is for use. `MISTAKES` holds one-line changes of `verify`, most of them from bug reports; `law` says what a
position then emits, `decide` plays rounds for `write_texts`. `article_loop` is the loop of the article as it stands,
whose single faults can be taken out.

>>> import numpy as np
>>> from costlab.speculative import distance
>>> from costlab.speculative.faulty import MISTAKES
>>> p, q = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.5, 0.3])
>>> {key: round(float(distance(mistake.law(p, q), p)), 2) for key, mistake in MISTAKES.items() if len(key) == 1}
{'A': 0.8, 'B': 0.2, 'C': 0.3, 'D': 0.15, 'E': 0.0, 'F': 0.05, 'G': 0.3}

Chapter: speculative
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Bools, Floats, Ints
from costlab.speculative.candidates import Candidates, Chosen, best_candidates, distinct_candidates, try_in_turn
from costlab.speculative.rules import Streams, check_laws, distribution, draw, exact, one_hot, residual
from costlab.speculative.simulate import Rounds, chances_of, closed, leading

# --- one round -------------------------------------------------------------------------------------------------

#: Chance with which each token is kept if it was drafted, from p and q, [..., vocabulary].
Chance = Callable[[Floats, Floats], Floats]
#: Law of the token emitted for a drafted one not kept, from p and q, [..., vocabulary], and the drafted token, [...].
Instead = Callable[[Floats, Floats, Ints], Floats]


@dataclass(frozen=True)
class Mistake:
    """A round that is not `verify`'s."""

    says: str  # what it does
    chance: Chance  # with which it keeps a drafted token
    instead: Instead | None  # what it draws otherwise; None: the round emits nothing then, and the next one tries again
    greedy: bool = False  # it drafts the likeliest token, and still takes q for its law
    late: bool = False  # it tests each drafted token by the target's law of the token after it
    shared: bool = False  # it uses one uniform for all accept tests of a round
    uniform: float | None = None  # the one uniform of all its accept tests, where it seeds its stream before each

    def drawn_from(self, q: ArrayLike) -> Floats:
        """Return the law that drafts truly come from, [..., vocabulary]."""
        law = np.asarray(q, dtype=np.float64)
        return one_hot(law.argmax(axis=-1), law.shape[-1]) if self.greedy else law

    def kept(self, p: Floats, q: Floats) -> Floats:
        """Return the chance with which each token is kept if it was drafted, [..., vocabulary]."""
        chance = self.chance(p, q)
        return chance if self.uniform is None else np.asarray(self.uniform < chance, dtype=np.float64)

    def law(self, p: ArrayLike, q: ArrayLike) -> Floats:
        """Return the law of the first token that one position emits, however many rounds that takes, [vocabulary].

        NaN where it never emits one.
        """
        p, q = check_laws(p, "p", (None,)), check_laws(q, "q", (None,))
        drawn, chance = self.drawn_from(q), self.kept(p, q)
        law = drawn * chance
        if self.instead is None:
            return np.asarray(law / law.sum() if law.any() else np.full(len(p), np.nan), dtype=np.float64)
        for token in np.flatnonzero(drawn):
            law = law + drawn[token] * (1 - chance[token]) * self.instead(p, q, np.asarray(token))
        return np.asarray(law, dtype=np.float64)

    def decide(self, drafted: Ints, q: Floats, p: Floats, accept: Floats, last: Floats) -> Rounds:
        """Play many rounds; arguments are those of `verify_many`, and nothing is checked."""
        rounds, length = np.arange(len(drafted)), drafted.shape[1]
        tested = p[:, 1:] if self.late else p[:, :-1]
        uniforms = accept[:, :1] if self.shared else accept if self.uniform is None else self.uniform
        accepted = leading(uniforms < chances_of(drafted, self.chance(tested, q)))
        law, refused = p[rounds, accepted], np.flatnonzero(accepted < length)
        if self.instead is not None:
            at = refused, accepted[refused]
            law[refused] = self.instead(tested[at], q[at], drafted[at])
        tokens = closed(drafted, accepted, draw(law, last))
        if self.instead is None:
            tokens[refused, accepted[refused]] = -1
        return Rounds(tokens, accepted)


def _ratio(p: Floats, q: Floats) -> Floats:
    return exact(p, q).chance


def _residual(p: Floats, q: Floats, token: Ints) -> Floats:
    return residual(p, q)


def _target(p: Floats, q: Floats, token: Ints) -> Floats:
    return p


#: The wrong rounds by name. A to D, F and G lose the law at one position, E only where the context matters.
MISTAKES: dict[str, Mistake] = {
    "A": Mistake("argmax draft tested by p/q; nothing is emitted when it fails", _ratio, None, greedy=True),
    "B": Mistake("argmax draft tested by p/q; the residual when it fails", _ratio, _residual, greedy=True),
    "C": Mistake("drawn draft; nothing is emitted when it fails, and another is drawn", _ratio, None),
    "D": Mistake("drawn draft; the target's law, not the residual, when it fails", _ratio, _target),
    "E": Mistake("each drafted token tested by the next token's law", _ratio, _residual, late=True),
    "F": Mistake("kept if a draw from the target equals it; another draw when it does not", lambda p, q: p, _target),
    "G": Mistake("always the residual", lambda p, q: np.zeros_like(p), _residual),
    "reseeded": Mistake("each accept test after the same seed", _ratio, _residual, uniform=0.6),
    "shared": Mistake("one uniform for the accept tests of a round", _ratio, _residual, shared=True),
}


def anticipating(checks: Callable[[Floats], Bools]) -> Mistake:
    """Return the rule that drops a drafted token after seeing it, with all behind it, and goes on as if undrafted.

    Args:
        checks: which tokens are not dropped, from q, [..., vocabulary].

    Source: DSpark, arXiv 2607.05147 sec. 3.2.2, for what is wrong with it.
    """

    def chance(p: Floats, q: Floats) -> Floats:
        return np.where(checks(q), _ratio(p, q), 0.0)

    def instead(p: Floats, q: Floats, token: Ints) -> Floats:
        checked = np.take_along_axis(checks(q), token[..., None], axis=-1)
        return np.where(checked, residual(p, q), p)

    return Mistake("a drafted token is dropped for what it is", chance, instead)


MISTAKES["drops doubtful"] = anticipating(lambda q: q >= 0.1)

# --- several candidates ----------------------------------------------------------------------------------------


def unscaled_candidates(q: ArrayLike, k: int, rng: np.random.Generator) -> Candidates:
    """Draw k candidates without replacement and take q, without the earlier ones, for their laws: not renormalised."""
    drawn = distinct_candidates(q, k, rng)
    laws = np.tile(np.asarray(q, dtype=np.float64), (len(drawn.tokens), 1))
    for place, token in enumerate(drawn.tokens[:-1]):
        laws[place + 1 :, token] = 0.0
    return Candidates(drawn.tokens, laws)


def ranked_candidates(q: ArrayLike, k: int) -> Candidates:
    """Return the k likeliest tokens as if each had been drawn from q."""
    best = best_candidates(q, k)
    return Candidates(best.tokens, np.tile(np.asarray(q, dtype=np.float64), (len(best.tokens), 1)))


def choose_unchecked(candidates: Candidates, p: ArrayLike, rng: np.random.Generator | Streams) -> Chosen:
    """Choose as `choose` does, from laws that it would refuse."""
    accept, last = rng if isinstance(rng, Streams) else Streams(rng, rng)
    law = check_laws(p, "p", (None,))
    candidate, left = try_in_turn(*candidates, law, accept.random(len(candidates.tokens)))
    token = draw(left, last.random()) if candidate is None else candidates.tokens[candidate]
    return Chosen(int(token), candidate)


# --- the article's loop ----------------------------------------------------------------------------------------

#: A model as the article calls it: logits [tokens, vocabulary] of a text, row i for the token after token i.
Forward = Callable[[Sequence[int]], Floats]


@dataclass(frozen=True)
class ArticleRun:
    """What the article's loop did and what it reports of itself."""

    tokens: tuple[int, ...]  # prompt and output
    finished: bool  # whether the output was complete before the passes were used up
    accepted: tuple[int, ...]  # drafted tokens kept in each pass of the target
    length: int  # drafted tokens a pass

    @property
    def idle_share(self) -> float:
        """Share of passes that emitted nothing; NaN without a pass."""
        return float(np.mean(np.equal(self.accepted, 0))) if self.accepted else math.nan

    @property
    def reported_rate(self) -> float:
        """What it calls its acceptance rate: kept over drafted tokens, those behind a refusal included."""
        return float(np.mean(self.accepted)) / self.length if self.accepted else math.nan

    @property
    def reported_speedup(self) -> float:
        """What it calls its speed-up, from that rate alone; no draft's cost enters."""
        return article_speedup(self.reported_rate, self.length)


def article_speedup(rate: float, length: int) -> float:
    """Return the article's speed-up from what it calls its acceptance rate and the drafted tokens of a pass."""
    return 1 / (1 - rate + rate / length)


def article_loop(
    target: Forward,
    draft: Forward,
    prompt: Sequence[int],
    tokens: int,
    rng: np.random.Generator,
    length: int = 5,
    most_passes: int = 2000,
    softmaxed: bool = False,
    right_row: bool = False,
) -> ArticleRun:
    """Decode as the article's loop does, faults and all.

    It drafts by argmax and tests by the ratio of the target's raw logit to the draft's probability, in the row one too
    late; it emits nothing at a refusal and a token of the target when all is kept; it counts the prompt as output.

    Args:
        target: the model whose text is wanted.
        draft: the one that drafts.
        prompt: tokens to begin after, at least one.
        tokens: of prompt and output together.
        rng: what tests and last tokens are drawn with.
        length: drafted tokens a pass.
        most_passes: give up after so many; the article's has no such end.
        softmaxed: repair: the target's probability in place of its logit.
        right_row: repair: the row that predicts the drafted token.
    """
    text = list(prompt)
    accepted: list[int] = []
    while len(text) < tokens and len(accepted) < most_passes:
        drafted, chances = _article_draft(draft, text, length)
        logits = target([*text, *drafted])
        rows = len(text) + np.arange(length) - right_row
        scores = (distribution(logits[rows]) if softmaxed else logits[rows])[np.arange(length), drafted]
        kept = leading((rng.random(length) < scores / chances)[None])[0]
        accepted.append(int(kept))
        text += drafted[:kept]
        if kept == length:
            text.append(int(draw(distribution(logits[-1]), rng.random())))
    return ArticleRun(tuple(text), len(text) >= tokens, tuple(accepted), length)


def _article_draft(draft: Forward, text: Sequence[int], length: int) -> tuple[list[int], Floats]:
    """Return the likeliest tokens one after the other, and the draft's probability of each."""
    drafted: list[int] = []
    chances = []
    for _ in range(length):
        law = distribution(draft([*text, *drafted])[-1])
        drafted.append(int(law.argmax()))
        chances.append(law.max())
    return drafted, np.array(chances)
