"""Claims about speculative decoding, settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from costlab import arch, catalog, checks
from costlab.arrays import Floats
from costlab.catalog import MeasuredSpeedup
from costlab.claims.ledger import V4_PRO, Settled, Values, ratio, settles
from costlab.claims.parts import literal, part
from costlab.speculative import Pair, distance, exact, expected_tokens, faulty, random_pair

ONE_TABLE = "mimo-v2-flash-"  # its records in the catalog: six rows of one table, of five batches each


@settles("spec-2-3x", "speculative#sec-speculative-loses")
def _spec_2_3x(given: Values) -> Settled:
    said = given["low"], given["high"]
    parts = [
        part(f"middle of the published speed-ups of {name}", "times", said,
             f"claims.speculative.middle_speedup({few}, {most})", 0.02, beyond=beyond, number="low,high")
        for name, few, most, beyond in (
            ("a single sequence", 1, 1, False), ("several at once", 2, 10_000, True)
        )
    ]  # fmt: skip
    records = catalog.tables().speedups
    rows = [row for record in records.values() for row in _rows(record)]
    others = [row for key, record in records.items() if not key.startswith(ONE_TABLE) for row in _rows(record)]
    inside, gains = [said[0] <= gain <= said[1] for _, gain in rows], [gain for _, gain in rows]
    elsewhere = [gain for batch, gain in others if batch and batch > 1]
    why = (
        f"Of the published speed-ups {sum(inside)} of {len(rows)} are from {said[0]:g} to {said[1]:g}, and "
        f"{len(rows) - len(others)} of all are cells of one table, MiMo-V2-Flash's; all are from {min(gains):.2f} to "
        f"{max(gains):.2f}. The middle is {_middle(parts[0].computed)} for a single sequence and "
        f"{_middle(parts[1].computed)} for a batch, {_middle(_median(elsewhere))} without that table. In "
        f"{sum(gain < 1 for gain in gains)} rows drafting costs throughput, and so it costs money."
    )
    return Settled(parts, why, "one sequence is served at a time, so that the chip has arithmetic to spare")


def middle_speedup(least: int, most: int) -> float:
    """Return the median of the published speed-ups at batches of so many sequences; infinite where there is none."""
    rows = [row for record in catalog.tables().speedups.values() for row in _rows(record)]
    return _median([gain for batch, gain in rows if batch and least <= batch <= most])


def _rows(record: MeasuredSpeedup) -> list[tuple[int | None, float]]:
    """(batch, speed-up) of each published figure; no batch where the source names none."""
    return list(zip(record.batches or (None,), record.speedups, strict=True))


def _median(gains: list[float]) -> float:
    return float(np.median(gains)) if gains else np.inf


def _middle(gain: float | None) -> str:
    return f"{gain:.2f}" if gain is not None and np.isfinite(gain) else "not published"


@settles("spec-formula", "speculative#sec-speculative-article")
def _spec_formula(given: Values) -> Settled:
    drafted, accepted = checks.count(given["tokens"], "tokens"), np.linspace(given["low"], given["high"], 5).tolist()
    rows = [both(a, drafted) for a in accepted]
    parts = [
        part(f"tokens of a pass where a draft is accepted with {a:g}", "times", there,
             f"speculative.expected_tokens({literal(round(a, 9))}, {drafted})", 0.05, number="low,high")
        for a, (_, there) in zip(accepted, rows, strict=True)
    ]  # fmt: skip
    short = [abs(there / here - 1) for here, there in rows]
    ends = " up to ".join(
        f"{there:.2f} where {here:.2f} follows (where {a:.0%} of the drafts are accepted)"
        for a, (here, there) in ((accepted[0], rows[0]), (accepted[-1], rows[-1]))
    )
    single = [both(a, 1) for a in accepted]
    why = (
        f"Fed with the rate that E's loop measures, its formula says from {ends}: it is off by {min(short):.0%} to "
        f"{max(short):.0%}. With a single drafted token it says {_range([there for _, there in single])} where "
        f"{_range([here for here, _ in single])} follow; where all is accepted it reaches {both(1.0, drafted)[1]:g}, "
        f"not {both(1.0, drafted)[0]:g}. And its draft costs nothing."
    )
    return Settled(parts, why)


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def both(acceptance: float, drafted: int) -> tuple[float, float]:
    """Return tokens of a pass with a draft that costs nothing, and E's speed-up at the rate that E's loop measures.

    Args:
        acceptance: of a drafted token, 0 to 1.
        drafted: tokens of a round.
    """
    tokens = expected_tokens(acceptance, drafted)
    return tokens, faulty.article_speedup((tokens - 1) / drafted, drafted)


@settles("spec-draft-size", "speculative#sec-speculative-mtp")
def _spec_draft_size(given: Values) -> Settled:
    counts = 'arch.load("deepseek-v4-pro").params'
    parts = (
        part("parameters that draft", "parameters", given["draft"], f"{counts}.mtp", 0.05, number="draft"),
        part("parameters of the target", "parameters", given["target"], f"{counts}.total", 0.02, number="target"),
    )
    drafters = {model.name: model.params.mtp for model in arch.models().values() if model.params.mtp}
    sizes, pro = list(drafters.values()), arch.load(V4_PRO)
    named = ", ".join(f"{name} {size / 1e9:.2g}B" for name, size in drafters.items() if name in (
        pro.name, arch.load("mimo-v2.5-pro").name))  # fmt: skip
    why = (
        f"Both makers draft with a prediction module, a further layer of the model that was trained with it: {named}. "
        f"V4-Pro's has {ratio(pro.params.mtp, given['draft']):,.0f} times the {given['draft'] / 1e6:g}M that E names, "
        f"for a target of {pro.params.total / 1e12:.2f}T. Of all {len(sizes)} such models here the modules have "
        f"{min(sizes) / 1e9:.2g}B to {max(sizes) / 1e9:.2g}B."
    )
    return Settled(parts, why)


# --- the article's loop ----------------------------------------------------------------------------------------

EmissionRule = Literal["as written", "as published"]


@settles("spec-lossless", "speculative#sec-speculative-article")
def _spec_lossless(given: Values) -> Settled:
    sizes = [int(given[name]) for name in ("drafted", "wanted", "passes")]
    setting = f"{literal(given['vocabulary'])}, {literal(given['acceptance'])}, {literal(given['pairs'])}"
    run = f"claims.speculative.unfinished_runs({setting}, {', '.join(map(str, sizes))}"
    parts = (
        part("runs of E's loop that do not finish", "runs", given["unfinished"], f"{run})", 0.0, relation="at most",
             number="unfinished"),
        part("distance of what E's rule emits to the target's law", "total variation", given["near"],
             f'claims.speculative.mean_bias("as written", {setting})', 0.0, relation="at most", number="near"),
    )  # fmt: skip
    pairs = _pairs(int(given["vocabulary"]), given["acceptance"], int(given["pairs"]))
    idle = float(np.mean([_loop(pair, sizes, False, seed).idle_share for seed, pair in enumerate(pairs)]))
    still = unfinished_runs(int(given["vocabulary"]), given["acceptance"], len(pairs), *sizes, repaired=True)
    right = mean_bias("as published", int(given["vocabulary"]), given["acceptance"], len(pairs))
    needed = given["wanted"] / expected_tokens(given["acceptance"], sizes[0])
    why = (
        f"Of the runs of its code {parts[0].computed:.0f} of {len(pairs)} do not finish in {given['passes']:,.0f} "
        f"passes where about {needed:.0f} are enough for the published rule; {idle:.0%} of the passes emit nothing. It "
        "tests the draft's likeliest token as if it had been drawn, emits nothing at a refusal, and tries the same "
        f"token again. With its row and its probabilities mended {still:.0f} of {len(pairs)} do not finish, and the "
        f"mean distance of what it emits to the target's law is {parts[1].computed:.2f}, where the published rule's is "
        f"{right:.2f}."
    )
    return Settled(parts, why)


def unfinished_runs(
    vocabulary: int, acceptance: float, pairs: int, drafted: int, wanted: int, passes: int, *, repaired: bool = False
) -> float:
    """Return how many runs of E's loop do not finish, each with another draft and target.

    Args:
        vocabulary: tokens that there are.
        acceptance: mean overlap of draft and target, 0 to 1.
        pairs: runs.
        drafted: tokens of a round.
        wanted: tokens that a run should write.
        passes: after which it is stopped.
        repaired: whether the loop's row and its probabilities are mended.
    """
    found = enumerate(_pairs(vocabulary, acceptance, pairs))
    return float(sum(not _loop(pair, [drafted, wanted, passes], repaired, seed).finished for seed, pair in found))


def mean_bias(law: EmissionRule, vocabulary: int, acceptance: float, pairs: int) -> float:
    """Return the mean distance (total variation) of what a rule emits at a position to the target's law.

    Args:
        law: E's rule, or the published one.
        vocabulary: tokens that there are.
        acceptance: mean overlap of draft and target, 0 to 1.
        pairs: of draft and target, over which the mean is taken.

    Raises:
        ValueError: an unknown rule.
    """
    laws: dict[str, Callable[[Floats, Floats], Floats]] = {
        "as written": lambda p, q: faulty.MISTAKES["A"].law(p, q),
        "as published": lambda p, q: exact(p, q).law(q),
    }
    chosen = checks.pick(laws, law, "rule")
    return float(np.mean([_bias(pair, chosen) for pair in _pairs(vocabulary, acceptance, pairs)]))


def _pairs(vocabulary: int, acceptance: float, pairs: int) -> list[Pair]:
    return [random_pair(vocabulary, acceptance, np.random.default_rng(seed)) for seed in range(pairs)]


def _loop(pair: Pair, sizes: list[int], repaired: bool, seed: int) -> faulty.ArticleRun:
    """Run E's loop on a pair whose logits are centred, which is kind: a logit below zero is never accepted."""
    drafted, wanted, passes = sizes
    logits = np.log(pair.target + 1e-6), np.log(pair.draft + 1e-6)
    target, draft = ((table - table.mean(axis=-1, keepdims=True)).__getitem__ for table in logits)
    return faulty.article_loop(
        lambda text: target(list(text)),
        lambda text: draft(list(text)),
        [0],
        wanted + 1,  # it counts the prompt
        np.random.default_rng(seed),
        length=drafted,
        most_passes=passes,
        softmaxed=repaired,
        right_row=repaired,
    )


def _bias(pair: Pair, law: Callable[[Floats, Floats], Floats]) -> float:
    """Return the mean distance over contexts of what a rule emits to the target's law."""
    emitted = [law(p, q) for p, q in zip(pair.target, pair.draft, strict=True)]
    return float(np.mean(distance(emitted, pair.target)))
