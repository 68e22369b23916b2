"""One round of speculative decoding: which drafted tokens are kept, and what is emitted after them.

A draft proposes g tokens; the target gives, in one pass, the law of each of them and of the token behind the last.
p is the target's law and q the law that a token was drafted from, after temperature, top-k and top-p. A drafted
token x is kept with chance min(1, p(x)/q(x)). At the first one that is not, the round ends with a token drawn from the
residual, norm(max(0, p - q)); if all are kept it ends with one more token, drawn from the target's last row. So a round
emits 1 to g + 1 tokens, and their law is the target's whatever the draft (`Rule.law` adds it up).

>>> import numpy as np
>>> from costlab.speculative import exact, one_hot, verify
>>> p, q = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.5, 0.3])
>>> exact(p, q).chance.round(3).tolist(), exact(p, q).instead.tolist(), exact(p, q).law(q).round(3).tolist()
([1.0, 0.4, 0.333], [1.0, 0.0, 0.0], [0.7, 0.2, 0.1])
>>> verify([1], one_hot([1], 3), [p, p], np.random.default_rng(0))  # a drafted token that was not drawn: q is one-hot
Round(tokens=array([0]), accepted=0)

Chapter: speculative
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from costlab.arrays import ArrayLike, Bools, Floats, Ints
from costlab.checks import indices, whole

#: How far a law's sum may lie from 1: what a softmax in float32 leaves.
TOLERANCE = 1e-5

# --- laws ------------------------------------------------------------------------------------------------------


def distribution(
    logits: ArrayLike, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Floats:
    """Return the law that a token is drawn from: logits over the temperature, cut to `top_k`, then to `top_p`.

    The target's law comes first: what a decoder keeps is the law after these three (arXiv 2211.17192 sec. 2.2). A
    draft may use others, if q is the law that its tokens were drawn from.

    Args:
        logits: [..., vocabulary]; -inf rules a token out.
        temperature: 0 puts all on the largest logit, the first of several.
        top_k: keep the tokens whose logit is at least the k-th largest; ties with it stay.
        top_p: keep the smallest set of the likeliest tokens that reaches this; of equal tokens the first go in.

    Returns:
        Laws, [..., vocabulary].

    Raises:
        ValueError: logits that are NaN, +inf or -inf throughout; a temperature below 0, a top_k below 1 or a top_p
            outside 0 to 1.
    """
    scores = np.asarray(logits, dtype=np.float64)
    most = _largest(scores)
    if not 0 <= temperature < np.inf:
        raise ValueError(f"temperature = {temperature} should be a number of at least 0")
    if top_k is not None and whole(top_k, "top_k") < 1:
        raise ValueError(f"top_k = {top_k} should be at least 1; None keeps all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p = {top_p} should be above 0 and at most 1; None keeps all tokens")
    if temperature == 0:
        return one_hot(scores.argmax(axis=-1), scores.shape[-1])
    with np.errstate(over="ignore"):  # to -inf: a probability of 0
        law = scores - most
        if temperature != 1:
            law /= temperature
    if top_k is not None and top_k < law.shape[-1]:
        least = np.partition(law, -int(top_k), axis=-1)[..., -int(top_k), None]
        law[law < least] = -np.inf
    law = _normalise(np.exp(law, out=law))
    if top_p is not None and top_p < 1:
        law = _normalise(np.where(_nucleus(law, top_p), law, 0.0))
    return law


def _largest(logits: Floats) -> Floats:
    """Return each row's largest logit, [..., 1]; it is finite only where the row is in order."""
    if not logits.ndim or not logits.shape[-1]:
        raise ValueError(f"logits of shape {logits.shape} should be (..., vocabulary)")
    most = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(most).all():
        wrong = np.isnan(logits) | (logits == np.inf)
        if not wrong.any():
            row = np.argwhere(most == -np.inf)[0, :-1].tolist()
            raise ValueError(f"logits rule out every token of row {row}: all are -inf")
        where = tuple(np.argwhere(wrong)[0].tolist())
        raise ValueError(f"logit {logits[where]} at {where} should be a finite number, or -inf for a token ruled out")
    return np.asarray(most, dtype=np.float64)


def _nucleus(law: Floats, top_p: float) -> Bools:
    """Return which tokens make up the smallest set that reaches `top_p`."""
    order = np.argsort(-law, axis=-1, kind="stable")
    falling = np.take_along_axis(law, order, axis=-1)
    before = np.cumsum(falling, axis=-1) - falling  # the chance of all that are likelier
    kept = np.zeros(law.shape, dtype=bool)
    np.put_along_axis(kept, order, before < top_p, axis=-1)
    return kept


def _normalise(weights: Floats) -> Floats:
    """Divide weights by their sums, in place."""
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def one_hot(token: ArrayLike, vocabulary: int) -> Floats:
    """Return the law that has all on one token: that of a draft which does not draw (argmax, lookup, top-k children).

    Args:
        token: one, or an array of them, [...].
        vocabulary: tokens to choose from.

    Returns:
        Laws, [..., vocabulary].

    Raises:
        ValueError: a token outside the vocabulary.
    """
    tokens = check_tokens(token, whole(vocabulary, "vocabulary"))
    law = np.zeros((*tokens.shape, vocabulary))
    np.put_along_axis(law, tokens[..., None], 1.0, axis=-1)
    return law


def check_tokens(tokens: ArrayLike, vocabulary: int) -> Ints:
    """Return tokens as int64.

    Raises:
        ValueError: quoting a token outside the vocabulary, and its position.
    """
    found = indices(tokens, "tokens")
    outside = (found < 0) | (found >= vocabulary)
    if outside.any():
        where = np.argwhere(outside)[0].tolist()
        raise ValueError(f"token {found[outside][0]} at {where} should lie between 0 and {vocabulary - 1}")
    return found


def check_laws(laws: ArrayLike, what: str, shape: tuple[int | None, ...] | None = None) -> Floats:
    """Return laws as float64.

    Args:
        laws: [..., vocabulary].
        what: the word for the message.
        shape: what the shape should be; None stands for any size.

    Raises:
        ValueError: quoting a probability that is NaN or negative, a sum that is not 1, or the shape.
    """
    found = np.asarray(laws, dtype=np.float64)
    if shape is not None and not _fits(found.shape, shape):
        wanted = ", ".join("vocabulary" if size is None else str(size) for size in shape)
        raise ValueError(f"{what} of shape {found.shape} should be ({wanted})")
    if not found.ndim or not found.shape[-1]:
        raise ValueError(f"{what} of shape {found.shape} should be (..., vocabulary)")
    sums = found @ np.ones(found.shape[-1])  # a third faster than `sum`, and most of what a check takes
    if not (found.min(initial=0.0) >= 0 and (np.abs(sums - 1) <= TOLERANCE).all()):  # NaN fails both
        raise ValueError(_fault(found, sums, what))
    return found


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (None, s) for w, s in zip(wanted, shape, strict=True))


def _fault(laws: Floats, sums: Floats, what: str) -> str:
    wrong = ~(laws >= 0)
    if wrong.any():
        where = tuple(np.argwhere(wrong)[0].tolist())
        return f"{what}: probability {laws[where]} at {where} should be at least 0"
    where = tuple(np.argwhere(~(np.abs(sums - 1) <= TOLERANCE))[0].tolist())
    return (
        f"{what}: a law sums to {sums[where]:.6g}, at {where}; it should sum to 1 (`distribution` makes laws of logits)"
    )


def check_vocabulary(target: Sequence[object], draft: Sequence[object]) -> None:
    """Raise unless the tokens of target and draft mean the same, each by its number.

    A draft with the target's tokens in another order has laws of the right shape; what it proposes is nonsense.

    Args:
        target: what each of the target's tokens stands for, in order.
        draft: the same of the draft.

    Raises:
        ValueError: another number of tokens, or quoting the first that differs.
    """
    if len(target) != len(draft):
        raise ValueError(f"the target's vocabulary has {len(target)} tokens and the draft's {len(draft)}: not the same")
    for token, (theirs, own) in enumerate(zip(target, draft, strict=True)):
        if theirs != own:
            raise ValueError(f"token {token} is {theirs!r} to the target and {own!r} to the draft: not one vocabulary")


# --- the rule at one position ----------------------------------------------------------------------------------


def acceptance(p: ArrayLike, q: ArrayLike) -> Floats:
    """Return the chance that a token drafted from q is kept: the sum of min(p, q), [...].

    Source: arXiv 2211.17192 theorem 3.5.
    """
    return np.asarray(np.minimum(p, q).sum(axis=-1), dtype=np.float64)


def residual(p: ArrayLike, q: ArrayLike) -> Floats:
    """Return the law that replaces a token not kept: norm(max(0, p - q)).

    Where p nowhere exceeds q, which is where both are the same, no token is refused; p itself is returned there, so
    that rounding never makes a NaN.

    Args:
        p: the target's laws, [..., vocabulary].
        q: the draft's, of that shape.

    Source: arXiv 2211.17192 sec. 2.3; arXiv 2302.01318 (modified rejection sampling).
    """
    law = np.asarray(p, dtype=np.float64)
    more = np.maximum(law - np.asarray(q, dtype=np.float64), 0.0)
    total = more.sum(axis=-1, keepdims=True)
    if not total.all():
        more, total = np.where(total == 0, law, more), np.where(total == 0, law.sum(axis=-1, keepdims=True), total)
    return np.asarray(more / total, dtype=np.float64)


class Rule(NamedTuple):
    """What is done with a token drafted at one position."""

    chance: Floats  # with which each token is kept if it was drafted, [..., vocabulary]
    instead: Floats  # law of the token that is emitted if it was not kept, [..., vocabulary]

    def law(self, q: ArrayLike) -> Floats:
        """Return the law of the token emitted for one drafted from q: kept, or drawn instead, [..., vocabulary]."""
        kept = np.asarray(q, dtype=np.float64) * self.chance
        return np.asarray(kept + (1 - kept.sum(axis=-1, keepdims=True)) * self.instead, dtype=np.float64)


def exact(p: ArrayLike, q: ArrayLike) -> Rule:
    """Return the rule that keeps the target's law: chance min(1, p/q), and the residual instead.

    Its law is min(p, q) + (1 - acceptance) x residual = min(p, q) + max(0, p - q) = p. What q = 0 never drafts has
    chance 1.

    Source: arXiv 2211.17192 appendix A.1; arXiv 2302.01318 theorem 1.
    """
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    return Rule(np.where(q > p, p, 1.0) / np.where(q > p, q, 1.0), residual(p, q))


# --- a round ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """What one pass of the target emits."""

    tokens: Ints  # the drafted tokens that were kept and one more, [accepted + 1]
    accepted: int  # drafted tokens kept


class Streams(NamedTuple):
    """Two random streams: with them apart, the drafts change no draw of the last token, and none is used twice."""

    accept: np.random.Generator  # one uniform for each drafted token, whether or not it is looked at
    last: np.random.Generator  # draws from the target and from residuals


def verify(drafted: ArrayLike, q: ArrayLike, p: ArrayLike, rng: np.random.Generator | Streams) -> Round:
    """Keep drafted tokens up to the first refusal and emit one token more; the law of all is the target's.

    A draft that does not draw its tokens (argmax, lookup) has `one_hot` laws. No drafted tokens: one token of p.

    Args:
        drafted: tokens, [g].
        q: the law that each was drawn from, [g, vocabulary].
        p: the target's laws at these positions and at the next, [g + 1, vocabulary].
        rng: a generator, or two: of the accept tests and of the last token.

    Raises:
        ValueError: laws that are none, or of another vocabulary; a drafted token that q rules out.

    Source: arXiv 2211.17192 algorithm 1; arXiv 2302.01318 (the same, found at the same time).
    """
    p = check_laws(p, "p", (np.size(drafted) + 1, None))
    tokens = check_tokens(np.ravel(drafted), p.shape[-1])
    q = check_laws(np.reshape(q, (0, p.shape[-1])) if not np.size(q) else q, "q", (len(tokens), p.shape[-1]))
    at = np.arange(len(tokens))
    check_drafted(tokens, q[at, tokens])
    accept, last = rng if isinstance(rng, Streams) else Streams(rng, rng)
    kept = accept.random(len(tokens)) * q[at, tokens] < p[at, tokens]  # u < p/q, without the division
    accepted = int(np.logical_and.accumulate(kept).sum())
    law = p[-1] if accepted == len(tokens) else residual(p[accepted], q[accepted])
    return Round(np.append(tokens[:accepted], draw(law, last.random())), accepted)


def match(drafted: ArrayLike, p: ArrayLike, rng: np.random.Generator | Streams) -> Round:
    """Draw each token from the target and emit it; go on as long as it is the drafted one.

    Exact for every draft, for each token is the target's own draw; no q is needed. A drawn draft is kept with chance
    sum(p q), less often than `verify` keeps it. At temperature 0 this is the test of equal argmax.

    Args:
        drafted: tokens, [g].
        p: the target's laws at these positions and at the next, [g + 1, vocabulary].
        rng: a generator, or two, of which the last token's is used.

    Raises:
        ValueError: laws that are none, or a token outside their vocabulary.
    """
    p = check_laws(p, "p", (np.size(drafted) + 1, None))
    tokens = check_tokens(np.ravel(drafted), p.shape[-1])
    last = rng.last if isinstance(rng, Streams) else rng
    drawn = draw(p, last.random(len(p)))
    accepted = int(np.logical_and.accumulate(drawn[:-1] == tokens).sum())
    return Round(drawn[: accepted + 1], accepted)


def check_drafted(tokens: Ints, chances: Floats) -> None:
    """Raise if a token was drafted that its law rules out.

    Args:
        tokens: drafted, [...].
        chances: q of each, [...].

    Raises:
        ValueError: quoting the token and its position.
    """
    if not np.all(chances):
        where = np.argwhere(chances == 0)[0].tolist()
        token = tokens[tuple(where)]
        raise ValueError(
            f"token {token} at position {where[0] if len(where) == 1 else where} was drafted where q = 0; q should be "
            "the law that it was drawn from (`one_hot` for argmax and lookup)"
        )


def draw(laws: Floats, uniforms: ArrayLike) -> Ints:
    """Return the token at which a law's running sum passes each uniform; one of probability 0 is never drawn.

    Args:
        laws: [..., vocabulary]; they need not sum to 1 exactly.
        uniforms: between 0 and 1, without 1, [...].

    Returns:
        Tokens, [...].
    """
    sums = np.cumsum(laws, axis=-1)
    level = np.asarray(uniforms)[..., None] * sums[..., -1:]  # below the last sum, so one sum is above it
    return np.asarray((sums > level).argmax(axis=-1), dtype=np.int64)
