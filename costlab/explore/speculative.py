"""Figures of the chapter `speculative`: the rule, accepted lengths, draft length, batch, and what goes wrong.

Chapter: speculative
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from costlab import catalog, speculative
from costlab.arrays import Floats
from costlab.checks import pick
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, colour_key, label_ends, new_figure
from costlab.speculative import theory
from costlab.speculative.faulty import MISTAKES

# --- the rule --------------------------------------------------------------------------------------------------

_TARGET = np.array([0.5, 0.3, 0.2])  # chances of three tokens by the target


def _draft(second: float) -> Floats:
    """Return a draft's law of three tokens, of which the second gets that share."""
    return np.array([2 / 3 * (1 - second), second, 1 / 3 * (1 - second)])


@drawn
def accepted_parts(second: float = 0.7) -> Words:
    """Draw a draft's and a target's law of three tokens: what is kept of the one, and what is redrawn from the other.

    Args:
        second: the draft's chance of the second token, 0 to 1; at 1 the draft is sure of it.

    Raises:
        ValueError: a chance outside 0 to 1.
    """
    if not 0 <= second <= 1:
        raise ValueError(f"second = {second} should lie between 0 and 1")
    p, q = _TARGET, _draft(second)
    kept, redrawn = np.minimum(p, q), np.maximum(p - q, 0)
    axes = new_figure("What becomes of the draft's tokens?", "", "chance", wide=(7.2, 3.2), narrow=(3.6, 2.9))
    colour_key([("drafted and kept", COLOURS["draft"]), ("redrawn by the target", COLOURS["target"])])
    colour_key([("drafted and rejected", COLOURS["dropped"])])
    places, width = np.arange(3), 0.32
    axes.bar(places - 0.18, kept, width, color=COLOURS["draft"])
    axes.bar(places - 0.18, q - kept, width, bottom=kept, color=COLOURS["dropped"])
    axes.bar(places + 0.18, kept, width, color=COLOURS["draft"])
    axes.bar(places + 0.18, redrawn, width, bottom=kept, color=COLOURS["target"])
    for place, (x, y) in enumerate(zip(q, p, strict=True)):
        axes.text(place - 0.02, x + 0.02, f"q {x:.2f}", ha="right", fontsize=10, in_layout=False)
        axes.text(place + 0.02, y + 0.02, f"p {y:.2f}", ha="left", fontsize=10, in_layout=False)
    axes.set_xticks(places, ["token A", "token B", "token C"])
    axes.set(ylim=(0, 1.12), yticks=[0, 0.5, 1])
    axes.grid(axis="x", visible=False)
    rate = float(kept.sum())
    rest = redrawn / redrawn.sum() if redrawn.sum() > 0 else redrawn
    return Words(
        f"Beside each other the draft's chance q and the target's p of tokens A, B and C: q is {_three(q)}, p is "
        f"{_three(p)}. Kept are {_three(kept)}, together {rate:.2f}. The other {1 - rate:.2f} are redrawn: "
        f"{_three(redrawn)}, so that each token comes out with chance p.",
        f"Kept: {value(rate, f'{rate:.2f}', 'speculative_kept')} of all drafts. The other "
        f"{value(1 - rate, f'{1 - rate:.2f}', 'speculative_rejected')} are redrawn from the residual "
        + "("
        + ", ".join(f"{name} {value(x, f'{x:.2f}')}" for name, x in zip("ABC", rest, strict=True))
        + ").",
    )


def _three(chances: Floats) -> str:
    return ", ".join(f"{c:.2f}" for c in chances)


# --- how many tokens -------------------------------------------------------------------------------------------


@drawn
def draft_length(acceptance: float = 0.8, length: int = 3, draft_cost: float = 0.05) -> Words:
    """Draw the speed-up against the number of drafted tokens, where a pass over all rows costs as much as over one.

    Args:
        acceptance: of each drafted token whose predecessors were accepted, 0 to 1.
        length: drafted tokens, to mark, 0 to 16.
        draft_cost: time of a draft's step over a step of the target.

    Raises:
        ValueError: an acceptance, length or cost out of range.
    """
    if not 0 <= length <= 16:
        raise ValueError(f"length = {length} should lie between 0 and 16")
    lengths = np.arange(17)
    gains = [theory.speedup(acceptance, int(k), draft_cost) for k in lengths]
    best = int(np.argmax(gains))
    marked, tokens = gains[length], theory.expected_tokens(acceptance, length)
    axes = new_figure("How many tokens should a draft have?", "drafted tokens", "speed-up")
    axes.plot(lengths, [theory.expected_tokens(acceptance, int(k)) for k in lengths], "--", color=COLOURS["draft"])
    axes.plot(lengths, gains, color=COLOURS["target"])
    axes.hlines(1, 0, 16, color=COLOURS["other"], linewidth=1.2, linestyle=":")
    axes.plot(best, gains[best], "o", color=COLOURS["target"], fillstyle="none", markersize=11)
    axes.plot(length, marked, "o", color=COLOURS["target"])
    top = max(4.0, theory.expected_tokens(acceptance, 16) * 1.08)
    axes.set(xlim=(0, 16), ylim=(0, top), xticks=[0, 4, 8, 12, 16])
    last = float(theory.expected_tokens(acceptance, 16))
    ends = [(last, "tokens per pass", COLOURS["draft"]), (gains[-1], "speed-up", COLOURS["target"])]
    label_ends(axes, 16, [*ends, (1, "plain", COLOURS["other"])], ["dashed", "solid", "dotted"])
    return Words(
        f"Tokens per pass and speed-up by drafted tokens, at an acceptance of {acceptance:.2f} and a draft step of "
        f"{draft_cost:.2f} of a target's step. With {length} drafted tokens a pass gives {tokens:.2f} and the speed-up "
        f"is {marked:.2f}. The best length, ringed, is {best}, with {gains[best]:.2f}.",
        f"{value(length, f'{length} drafted')}: "
        f"{value(tokens, f'{tokens:.2f} tokens per pass', 'speculative_tokens')}, speed-up "
        f"{value(marked, f'{marked:.2f}', 'speculative_gain')}. Best, ringed: "
        f"{value(best, str(best), 'speculative_best')} drafted, {value(gains[best], f'{gains[best]:.2f}')}.",
    )


@dataclass(frozen=True)
class _Look:
    """How a published curve of accepted lengths is called and drawn."""

    name: str  # of the model and its draft
    maker: str  # whose colour it has
    line: str  # solid, dashed or dotted


_LOOKS = {
    "v4-pro-thinking": _Look("V4-Pro, thinking", "DeepSeek", "solid"),
    "v4-pro": _Look("V4-Pro, no thinking", "DeepSeek", "dashed"),
    "v4-pro-dspark": _Look("V4-Pro with DSpark", "DeepSeek", "dotted"),
    "glm-5.2": _Look("GLM-5.2", "Z.ai", "solid"),
    "qwen3.5-397b-thinking": _Look("Qwen3.5-397B", "Alibaba", "solid"),
    "kimi-k2.5-thinking": _Look("Kimi-K2.5, EAGLE-3", "Moonshot", "solid"),
}
#: Keys of the published curves by the names that readers see.
ACCEPTED_CURVES: Mapping[str, str] = {look.name: key for key, look in _LOOKS.items()}


def _published(key: str) -> list[float]:
    """Return tokens per pass with 0, 1, 2 … drafted tokens."""
    pick(_LOOKS, key, "curve")
    return [1.0, *catalog.tables().curves[key].accepted_lengths]


@drawn
def first_is_not_all(curve: str = "v4-pro-thinking") -> Words:
    """Draw a published curve of tokens per pass, and what its first position would give if all were like it.

    Args:
        curve: key of the published curve.

    Raises:
        ValueError: an unknown curve.
    """
    measured = np.array(_published(curve))
    shown = _LOOKS[curve]
    lengths = np.arange(len(measured))
    first = float(measured[1] - 1)
    constant = np.array([theory.expected_tokens(first, int(k)) for k in lengths])
    axes = new_figure("Is every position like the first?", "drafted tokens", "tokens per pass")
    axes.plot(lengths, constant, "--", color=COLOURS["other"])
    axes.plot(lengths, measured, "o-", color=COLOURS[shown.maker])
    axes.set(xlim=(0, lengths[-1]), ylim=(0.8, max(4.6, constant[-1] * 1.05)), xticks=lengths)
    ends = [(constant[-1], "if all were", COLOURS["other"]), (measured[-1], "measured", COLOURS[shown.maker])]
    label_ends(axes, lengths[-1], ends, ["dashed", "solid"])
    over = {k: float(constant[k] / measured[k] - 1) for k in (3, 8)}
    positions = theory.conditional(measured[1:])[:4]
    return Words(
        f"Tokens per pass of {shown.name} against drafted tokens: measured "
        + ", ".join(f"{x:.2f}" for x in measured[1:])
        + f" with 1 to 8 drafted. If each position were accepted like the first, {first:.2f}, there would be "
        f"{constant[3]:.2f} with 3 and {constant[8]:.2f} with 8.",
        f"{shown.name}: with 3 drafted tokens {value(measured[3], f'{measured[3]:.2f} tokens per pass')}, where the "
        f"first position promises {value(constant[3], f'{constant[3]:.2f}')} "
        f"({value(over[3], f'{over[3]:+.0%}', 'speculative_over_3')}); with 8 "
        f"{value(measured[8], f'{measured[8]:.2f}')} against {value(constant[8], f'{constant[8]:.2f}')} "
        f"({value(over[8], f'{over[8]:+.0%}', 'speculative_over_8')}). Accepted, position by position: "
        + ", ".join(value(float(a), f"{a:.2f}") for a in positions)
        + ".",
    )


@drawn
def published_lengths() -> Words:
    """Draw the published tokens per pass of several models against the number of drafted tokens."""
    axes = new_figure("How many tokens do real drafts give?", "drafted tokens", "tokens per pass")
    ends, shown = [], {}
    styles = {"solid": "-", "dashed": "--", "dotted": ":"}
    for key, look in _LOOKS.items():
        shown[look.name] = _published(key)
        axes.plot(range(9), shown[look.name], styles[look.line], color=COLOURS[look.maker])
        ends.append((shown[look.name][-1], look.name, COLOURS[look.maker]))
    axes.set(xlim=(0, 8), ylim=(0.8, 5.5), xticks=range(9))
    label_ends(axes, 8, ends, [look.line for look in _LOOKS.values()])
    return Words(
        "Tokens per pass against drafted tokens, 1 to 8, measured: "
        + " ".join(f"{name}: {', '.join(f'{x:.2f}' for x in lengths[1:])}." for name, lengths in shown.items()),
        "With 1, 3 and 8 drafted: "
        + "; ".join(
            f"{name} " + ", ".join(value(lengths[k], f"{lengths[k]:.2f}") for k in (1, 3, 8))
            for name, lengths in shown.items()
        )
        + ".",
    )


# --- what goes wrong -------------------------------------------------------------------------------------------

#: What the figure shows of the wrong rounds, in few words; on a phone the part before the colon.
_WRONG = {
    "A": "A: sure draft, nothing instead",
    "B": "B: sure draft, residual instead",
    "C": "C: drawn draft, nothing instead",
    "D": "D: drawn draft, p instead",
    "F": "F: match, else a fresh draw",
    "G": "G: the residual always",
    "drops doubtful": "drops: doubtful drafts unseen",
}


@drawn
def variant_bias(acceptance: float = 0.8) -> Words:
    """Draw how far the law of an emitted token is from the target's for each wrong round, and for the right one.

    Args:
        acceptance: of a drawn draft, 0.4 to 0.95.

    Raises:
        ValueError: an acceptance outside that range.
    """
    if not 0.4 <= acceptance <= 0.95:
        raise ValueError(f"acceptance = {acceptance} should lie between 0.4 and 0.95")
    bias = _biases(acceptance)
    axes = new_figure(
        "How far from the target's law?", "total variation distance", "", wide=(7.2, 3.4), narrow=(3.6, 3.4)
    )
    for place, distance in enumerate(bias.values()):
        axes.barh(place, distance, 0.6, color=COLOURS["dropped" if distance > 1e-9 else "target"])
        axes.text(distance + 0.01, place, f"{distance:.3f}", va="center", fontsize=10, in_layout=False)
    names = [name.partition(":")[0] for name in bias] if is_narrow() else list(bias)
    axes.set_yticks(range(len(bias)), names)
    axes.set(xlim=(0, 1.1), ylim=(len(bias) - 0.4, -0.6), xticks=[0, 0.5, 1])
    axes.grid(axis="y", visible=False)
    told = [(name.replace(":", ","), distance) for name, distance in bias.items()]
    return Words(
        f"Mean distance from the target's law over 16 pairs of laws with an acceptance of {acceptance:.2f}: "
        + "; ".join(f"{name}: {distance:.3f}" for name, distance in told)
        + ".",
        f"At an acceptance of {value(acceptance, f'{acceptance:.2f}')}: "
        + "; ".join(f"{name} {value(distance, f'{distance:.3f}')}" for name, distance in told)
        + ". 0 is exact, 1 has nothing in common.",
    )


def _biases(acceptance: float) -> dict[str, float]:
    """Return the mean distance of each wrong round's law, and of the right one's, over 16 pairs of laws."""
    pair = speculative.random_pair(16, acceptance, np.random.default_rng(0))
    laws = {
        says: [MISTAKES[key].law(p, q) for p, q in zip(pair.target, pair.draft, strict=True)]
        for key, says in _WRONG.items()
    }
    laws["the rule"] = list(speculative.exact(pair.target, pair.draft).law(pair.draft))
    return {name: float(speculative.distance(np.array(found), pair.target).mean()) for name, found in laws.items()}
