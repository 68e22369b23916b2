"""Claims about speculative decoding, settled."""

from __future__ import annotations

import numpy as np

from costlab import arch, catalog, checks
from costlab.arrays import Floats
from costlab.catalog import MeasuredSpeedup
from costlab.claims import articles
from costlab.claims.ledger import V4_PRO, Settled, Values, agrees, graded, ratio, settles
from costlab.speculative import expected_tokens


@settles("spec-2-3x")
def _spec_2_3x(given: Values) -> Settled:
    rows = [row for record in catalog.tables().speedups.values() for row in _rows(record)]
    inside = [given["low"] <= gain <= given["high"] for _, gain in rows]
    gains = [gain for _, gain in rows]
    computed = (
        f"{sum(inside)} of {len(rows)} published speed-ups are from {given['low']:g} to {given['high']:g}; "
        f"all are from {min(gains):.2f} to {max(gains):.2f}"
    )
    alone, many = ([gain for batch, gain in rows if batch and (batch == 1) == single] for single in (True, False))
    loss = sum(gain < 1 for gain in gains)
    why = (
        f"The middle is {_middle(alone)} for a single sequence and {_middle(many)} for a batch; in {loss} rows "
        "drafting costs throughput, and so it costs money"
    )
    return graded(inside), computed, f"{why}."


def _rows(record: MeasuredSpeedup) -> list[tuple[int | None, float]]:
    """(batch, speed-up) of each published figure; no batch where the source names none."""
    return list(zip(record.batches or (None,), record.speedups, strict=True))


def _middle(gains: list[float]) -> str:
    return f"{np.median(gains):.2f}" if gains else "not published"


@settles("spec-formula")
def _spec_formula(given: Values) -> Settled:
    drafted, accepted = checks.count(given["tokens"], "tokens"), np.linspace(given["low"], given["high"], 5).tolist()
    ours, theirs = np.array([_both(a, drafted) for a in accepted]).T
    short = np.abs(theirs / ours - 1)
    computed = ", ".join(
        f"{there:.2f} where {here:.2f} follows at acceptance {a:g}"
        for a, here, there in zip(accepted, ours, theirs, strict=True)
    )
    single = np.array([_both(a, 1) for a in accepted])
    why = (
        f"Off by {short.min():.0%} to {short.max():.0%}. With a single drafted token it says {_range(single[:, 1])} where "
        f"{_range(single[:, 0])} follow; where all is accepted it reaches {_both(1.0, drafted)[1]:g}, not "
        f"{_both(1.0, drafted)[0]:g}; and its draft costs nothing"
    )
    return graded(agrees(there, here, 0.05) for here, there in zip(ours, theirs, strict=True)), computed, f"{why}."


def _range(values: Floats) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def _both(acceptance: float, drafted: int) -> tuple[float, float]:
    """Tokens of a pass with a draft that costs nothing, and E's speed-up, fed with the rate that E's loop measures."""
    tokens = expected_tokens(acceptance, drafted)
    return tokens, articles.article_speedup((tokens - 1) / drafted, drafted)


@settles("spec-draft-size")
def _spec_draft_size(given: Values) -> Settled:
    drafters = {model.name: model.params.mtp for model in arch.models().values() if model.params.mtp}
    pro = arch.load(V4_PRO)
    sizes = ", ".join(f"{name} {size / 1e9:.2g}B" for name, size in drafters.items())
    computed = f"parameters of the MTP modules that draft: {sizes}"
    why = (
        f"V4-Pro's has {ratio(pro.params.mtp, given['draft']):,.0f} times the {given['draft'] / 1e6:g}M that E names, for a "
        f"target of {pro.params.total / 1e12:.2f}T; it is one more layer of the model, trained with it"
    )
    same = agrees(given["draft"], pro.params.mtp, 0.05) and agrees(given["target"], pro.params.total, 0.01)
    return "holds" if same else "wrong", computed, f"{why}."
