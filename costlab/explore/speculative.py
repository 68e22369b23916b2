"""Figures of the chapter `speculative`: the rule, accepted lengths, draft length, batch, and what goes wrong.

Chapter: speculative
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from costlab import speculative
from costlab.arrays import Floats
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, colour_key, label_ends, log_axis, new_figure, share_axis

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
        axes.text(place - 0.18, x + 0.02, f"q {x:.2f}", ha="center", fontsize=10, in_layout=False)
        axes.text(place + 0.18, y + 0.02, f"p {y:.2f}", ha="center", fontsize=10, in_layout=False)
    axes.set_xticks(places, ["token A", "token B", "token C"])
    axes.set(ylim=(0, 1.12), yticks=[0, 0.5, 1])
    axes.grid(axis="x", visible=False)
    rate = float(kept.sum())
    rest = redrawn / redrawn.sum() if redrawn.sum() > 0 else redrawn
    return Words(
        f"Beside each other the draft's chance q and the target's p of tokens A, B and C: q is {_three(q)}, p is "
        f"{_three(p)}. Kept are {_three(kept)}, together {rate:.2f}. The other {1 - rate:.2f} are rejected and redrawn, "
        f"{_three(redrawn)} of them, so that each token comes out with chance p.",
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
    lengths = np.arange(17)
    gains = [speculative.speedup(acceptance, int(k), draft_cost) for k in lengths]
    best = int(np.argmax(gains))
    marked, tokens = gains[length], speculative.expected_tokens(acceptance, length)
    axes = new_figure("How many tokens should a draft have?", "drafted tokens", "speed-up")
    axes.plot(lengths, [speculative.expected_tokens(acceptance, int(k)) for k in lengths], "--", color=COLOURS["draft"])
    axes.plot(lengths, gains, color=COLOURS["target"])
    axes.hlines(1, 0, 16, color=COLOURS["other"], linewidth=1.2, linestyle=":")
    axes.plot(best, gains[best], "o", color=COLOURS["target"], fillstyle="none", markersize=11)
    axes.plot(length, marked, "o", color=COLOURS["target"])
    top = max(4.0, speculative.expected_tokens(acceptance, 16) * 1.08)
    axes.set(xlim=(0, 16), ylim=(0, top), xticks=[0, 4, 8, 12, 16])
    last = float(speculative.expected_tokens(acceptance, 16))
    ends = [(last, "tokens per pass", COLOURS["draft"]), (gains[-1], "speed-up", COLOURS["target"])]
    label_ends(axes, 16, [*ends, (1, "plain", COLOURS["other"])], ["dashed", "solid", "dotted"])
    return Words(
        f"Tokens per pass and speed-up against drafted tokens, at an acceptance of {acceptance:.2f} and a draft step of "
        f"{draft_cost:.2f} of a target's step. With {length} drafted tokens a pass gives {tokens:.2f} and the speed-up "
        f"is {marked:.2f}. The best length, ringed, is {best}, with {gains[best]:.2f}.",
        f"{value(length, f'{length} drafted')}: {value(tokens, f'{tokens:.2f} tokens per pass', 'speculative_tokens')}, "
        f"speed-up {value(marked, f'{marked:.2f}', 'speculative_gain')}. Best, ringed: "
        f"{value(best, str(best), 'speculative_best')} drafted, {value(gains[best], f'{gains[best]:.2f}')}.",
    )
