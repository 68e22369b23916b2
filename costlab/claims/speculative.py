"""Claims about speculative decoding, settled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from costlab import arch, catalog, checks
from costlab.arrays import Floats
from costlab.catalog import MeasuredSpeedup
from costlab.claims.ledger import V4_PRO, Settled, Values, agrees, graded, ratio, settles
from costlab.speculative import Pair, distance, exact, expected_tokens, faulty, random_pair

ONE_TABLE = "mimo-v2-flash-"  # its records in the catalog: six rows of one table, of five batches each


@settles("spec-2-3x")
def _spec_2_3x(given: Values) -> Settled:
    records = catalog.tables().speedups
    rows = [row for record in records.values() for row in _rows(record)]
    others = [row for key, record in records.items() if not key.startswith(ONE_TABLE) for row in _rows(record)]
    inside = [given["low"] <= gain <= given["high"] for _, gain in rows]
    gains = [gain for _, gain in rows]
    computed = (
        f"{sum(inside)} of {len(rows)} published speed-ups are from {given['low']:g} to {given['high']:g}, and "
        f"{len(rows) - len(others)} of all are cells of one table, MiMo-V2-Flash's; "
        f"all are from {min(gains):.2f} to {max(gains):.2f}"
    )
    alone = [gain for batch, gain in rows if batch == 1]
    many, elsewhere = ([gain for batch, gain in each if batch and batch > 1] for each in (rows, others))
    loss = sum(gain < 1 for gain in gains)
    why = (
        f"The middle is {_middle(alone)} for a single sequence and {_middle(many)} for a batch, "
        f"{_middle(elsewhere)} without that table; in {loss} rows "
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
        f"{there:.2f} where {here:.2f} follows at acceptance {a:g} (r = {(here - 1) / drafted:.2f})"
        for a, here, there in zip(accepted, ours, theirs, strict=True)
    )
    single = np.array([_both(a, 1) for a in accepted])
    why = (
        f"Off by {short.min():.0%} to {short.max():.0%}. With a single drafted token it says {_range(single[:, 1])} "
        f"where {_range(single[:, 0])} follow; where all is accepted it reaches {_both(1.0, drafted)[1]:g}, not "
        f"{_both(1.0, drafted)[0]:g}; and its draft costs nothing"
    )
    return graded(agrees(there, here, 0.05) for here, there in zip(ours, theirs, strict=True)), computed, f"{why}."


def _range(values: Floats) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def _both(acceptance: float, drafted: int) -> tuple[float, float]:
    """Tokens of a pass with a draft that costs nothing, and E's speed-up, fed with the rate that E's loop measures."""
    tokens = expected_tokens(acceptance, drafted)
    return tokens, faulty.article_speedup((tokens - 1) / drafted, drafted)


@settles("spec-draft-size")
def _spec_draft_size(given: Values) -> Settled:
    drafters = {model.name: model.params.mtp for model in arch.models().values() if model.params.mtp}
    pro = arch.load(V4_PRO)
    sizes = ", ".join(f"{name} {size / 1e9:.2g}B" for name, size in drafters.items())
    computed = f"parameters of the MTP modules that draft: {sizes}"
    why = (
        f"V4-Pro's has {ratio(pro.params.mtp, given['draft']):,.0f} times the {given['draft'] / 1e6:g}M that E names, "
        f"for a target of {pro.params.total / 1e12:.2f}T. It is a further layer of the model, trained with it"
    )
    same = agrees(given["draft"], pro.params.mtp, 0.05) and agrees(given["target"], pro.params.total, 0.02)
    return "holds" if same else "wrong", computed, f"{why}."


@settles("spec-lossless")
def _spec_lossless(given: Values) -> Settled:
    pairs = [
        random_pair(int(given["vocabulary"]), given["acceptance"], np.random.default_rng(seed))
        for seed in range(int(given["pairs"]))
    ]
    written, mended = (
        [_loop(pair, given, repaired, seed) for seed, pair in enumerate(pairs)] for repaired in (False, True)
    )
    unfinished, still = (sum(not run.finished for run in runs) for runs in (written, mended))
    idle = float(np.mean([run.idle_share for run in written]))
    emitted, right = (float(np.mean([_bias(pair, law) for pair in pairs])) for law in (_as_written, _as_published))
    needed = given["wanted"] / expected_tokens(given["acceptance"], int(given["drafted"]))
    computed = (
        f"{unfinished} of {len(pairs)} runs of its code don't finish in {given['passes']:,.0f} passes where about "
        f"{needed:.0f} are enough for the published rule; {idle:.0%} of the passes emit nothing. With its row and its "
        f"probabilities mended {still} of {len(pairs)} don't, and the mean distance of what it emits at a position to "
        f"the target's law is {emitted:.2f} (total variation)"
    )
    why = (
        "It tests the draft's likeliest token as if it had been drawn, emits nothing at a refusal, and tries the same "
        "token again. Its extra token, which is to mend a bias, comes only where all is accepted and mends nothing. "
        f"The published rule's distance is {right:.2f}"
    )
    return graded((unfinished == 0, emitted < 0.01)), computed, f"{why}."


def _loop(pair: Pair, given: Values, repaired: bool, seed: int) -> faulty.ArticleRun:
    """Run E's loop on a pair whose logits are centred, which is kind: a logit below zero is never accepted."""
    logits = np.log(pair.target + 1e-6), np.log(pair.draft + 1e-6)
    target, draft = ((table - table.mean(axis=-1, keepdims=True)).__getitem__ for table in logits)
    return faulty.article_loop(
        lambda text: target(list(text)),
        lambda text: draft(list(text)),
        [0],
        int(given["wanted"]) + 1,  # it counts the prompt
        np.random.default_rng(seed),
        length=int(given["drafted"]),
        most_passes=int(given["passes"]),
        softmaxed=repaired,
        right_row=repaired,
    )


def _bias(pair: Pair, law: Callable[[Floats, Floats], Floats]) -> float:
    """Return the mean distance over contexts of what a rule emits to the target's law."""
    emitted = [law(p, q) for p, q in zip(pair.target, pair.draft, strict=True)]
    return float(np.mean(distance(emitted, pair.target)))


def _as_written(p: Floats, q: Floats) -> Floats:
    return faulty.MISTAKES["A"].law(p, q)


def _as_published(p: Floats, q: Floats) -> Floats:
    return exact(p, q).law(q)
