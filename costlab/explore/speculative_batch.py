"""Figures of the chapter `speculative`: what a verify pass gains on a real chip, by batch and context.

Chapter: speculative
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from costlab import arch, catalog, prices, roofline
from costlab.checks import count, pick
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, label_ends, log_axis, new_figure
from costlab.roofline import Deployment
from costlab.speculative import Speculation, speculate, theory
from costlab.text import tokens_text, usd_text

# --- gain by batch ---------------------------------------------------------------------------------------------

_LENGTHS = {1: "dotted", 3: "solid", 5: "dashed"}  # drafted tokens, and how their line is drawn
_STYLES = {"solid": "-", "dashed": "--", "dotted": ":"}


@dataclass(frozen=True)
class _Served:
    """A model on chips, with its draft and the published curve that says how much of it is accepted."""

    name: str  # as people say it
    model: str  # key in the catalog
    chip: str  # key in the catalog
    chips: int  # how many
    tensor_parallel: int  # chips of a replica
    drafter: str  # kind of draft
    curve: str  # key of the published curve

    def node(self) -> Deployment:
        """Return the deployment, without the draft."""
        return roofline.deployment(self.model, self.chip, self.chips, tensor_parallel=self.tensor_parallel)

    def acceptance(self) -> tuple[float, ...]:
        """Return the conditional acceptance of each position."""
        return tuple(theory.conditional(catalog.tables().curves[self.curve].accepted_lengths).tolist())


_SERVED = {
    "v4-pro": _Served("DeepSeek-V4-Pro on 8 B200", "deepseek-v4-pro", "b200", 8, 1, "mtp", "v4-pro-thinking"),
    "mimo-v2-flash": _Served("MiMo-V2-Flash on 8 H200", "mimo-v2-flash", "h200", 8, 1, "mtp", "v4-pro-thinking"),
    "llama-70b": _Served("Llama-3.1-70B on 8 H100", "llama-3.1-70b", "h100-sxm", 8, 8, "eagle3", "kimi-k2.5-thinking"),
}
#: Keys of what is served by the names that readers see.
SERVED: Mapping[str, str] = {served.name: key for key, served in _SERVED.items()}


def _round(key: str, length: int, batch: int, context: int) -> Speculation:
    served = pick(_SERVED, key, "deployment")
    node = served.node()
    drafter = arch.drafter(served.drafter, node.model)
    return speculate(node, drafter, served.acceptance(), length, batch, context)


@functools.lru_cache(maxsize=32)
def _gains(key: str, context: int) -> tuple[tuple[int, ...], Mapping[int, tuple[float, ...]]]:
    """Return batches, each twice the one before, up to what memory holds, and the speed-up of each draft length."""
    most = _round(key, 1, 1, context).deployment.max_batch(context)
    batches = (*(2**n for n in range(most.bit_length() - 1)), most)
    return batches, {k: tuple(_round(key, k, b, context).speedup for b in batches) for k in _LENGTHS}


@drawn
def gain_by_batch(served: str = "v4-pro", batch: int = 512, context: int = 4096) -> Words:
    """Draw the speed-up against the batch for one, three and five drafted tokens, as far as memory holds the batch.

    Args:
        served: "v4-pro", "mimo-v2-flash" or "llama-70b".
        batch: sequences, to mark; where memory holds fewer, the most that it holds are marked.
        context: tokens of each.

    Raises:
        ValueError: an unknown name, counts below 1.
    """
    batches, gains = _gains(served, count(context, "context"))
    at = min(count(batch, "batch"), batches[-1])
    marked = _round(served, 3, at, context)
    axes = new_figure("From which batch on does it lose?", "sequences", "speed-up")
    ends = []
    for length, style in _LENGTHS.items():
        axes.plot(batches, gains[length], _STYLES[style], color=COLOURS["draft"])
        ends.append((gains[length][-1], f"{length} drafted", COLOURS["draft"]))
    axes.axhline(1, color=COLOURS["other"], linewidth=1.2)
    axes.plot(at, marked.speedup, "o", color=COLOURS["draft"])
    ticks = [1, 4, 16, 64, 256, 1024, 4096] if not is_narrow() else [1, 16, 256, 4096]
    log_axis(axes, "x", [t for t in ticks if t <= batches[-1]], "{:,.0f}".format)
    axes.set(xlim=(1, batches[-1]), ylim=(0, 3.4))
    label_ends(axes, batches[-1], ends, list(_LENGTHS.values()))
    return _said(served, marked, batches, gains)


def _said(key: str, marked: Speculation, batches: tuple[int, ...], gains: Mapping[int, tuple[float, ...]]) -> Words:
    """Return what the figure says: shape, marked point, prices, and where a draft of three begins to lose."""
    served = _SERVED[key]
    rent = prices.chip_rent(served.chip).amount
    before, after = marked.plain_usd_per_million(rent), marked.usd_per_million(rent)
    last = gains[3][-1]
    where = f"{served.name}, {tokens_text(marked.context)} tokens of context"
    least = min(range(len(batches)), key=lambda i: gains[3][i])
    most = max(range(len(batches)), key=lambda i: gains[3][i])
    return Words(
        f"Speed-up against the batch for {where}. With three drafted tokens the smallest gain is "
        f"{gains[3][least]:.2f} at {batches[least]:,} sequences and the largest {gains[3][most]:.2f} at "
        f"{batches[most]:,}; at the {batches[-1]:,} that memory holds it is {last:.2f}. At {marked.batch:,} it is "
        f"{marked.speedup:.2f}.",
        f"{where}, {value(marked.batch, f'{marked.batch:,} sequences')}, three drafted tokens: "
        f"{value(marked.tokens_per_round, f'{marked.tokens_per_round:.2f} tokens per pass')}, a round takes "
        f"{value(marked.round_cost, f'{marked.round_cost:.2f} plain steps')}, speed-up "
        f"{value(marked.speedup, f'{marked.speedup:.2f}', 'speculative_here')}. A million output tokens: "
        f"{value(before, usd_text(before), 'speculative_plain_usd')} → "
        f"{value(after, usd_text(after), 'speculative_drafted_usd')}. At the {value(batches[-1], f'{batches[-1]:,}')} "
        f"sequences that memory holds: {value(last, f'{last:.2f}')}.",
    )


# --- beside a published decline --------------------------------------------------------------------------------

_EAGLE = {"EAGLE-3": "llama-3.1-8b-eagle3-sglang", "EAGLE": "llama-3.1-8b-eagle-sglang"}  # names, keys in the catalog
_MT_BENCH = 512  # tokens of context that are assumed


@functools.lru_cache(maxsize=1)
def _round_costs() -> tuple[tuple[int, ...], Mapping[bool, tuple[float, ...]]]:
    """Return batches, and what a round of three EAGLE-3 tokens costs, with and without overlap, in plain steps."""
    batches = catalog.tables().speedups[_EAGLE["EAGLE-3"]].batches
    found = {}
    for overlap in (True, False):
        node = roofline.deployment("llama-3.1-8b", "h100-sxm", 1, overlap=overlap)
        head = arch.drafter("eagle3", node.model)
        # the acceptance plays no part in a round's cost
        found[overlap] = tuple(speculate(node, head, 1.0, 3, batch, _MT_BENCH).round_cost for batch in batches)
    return batches, found


@drawn
def eagle_by_batch() -> Words:
    """Draw published speed-ups of EAGLE-3 and EAGLE by batch, and the roofline's, each over its own at 2 sequences."""
    batches, costs = _round_costs()
    axes = new_figure("How does the gain fall with the batch?", "sequences", "gain, over that at 2 sequences")
    ours = {overlap: np.array(found)[0] / np.array(found) for overlap, found in costs.items()}
    published = {
        name: np.array(catalog.tables().speedups[key].speedups) / catalog.tables().speedups[key].speedups[0]
        for name, key in _EAGLE.items()
    }
    axes.fill_between(batches, ours[True], ours[False], color=COLOURS["target"], alpha=0.15, linewidth=0)
    axes.plot(batches, ours[True], "--", color=COLOURS["target"])
    axes.plot(batches, ours[False], color=COLOURS["target"])
    axes.plot(batches, published["EAGLE-3"], "o", color=COLOURS["draft"])
    axes.plot(batches, published["EAGLE"], "o", color=COLOURS["draft"], fillstyle="none")
    log_axis(axes, "x", [2, 4, 8, 16, 32, 64], "{:g}".format)
    axes.set(xlim=(1.8, 70), ylim=(0.5, 1.1), yticks=[0.6, 0.8, 1.0])
    ends = [
        (float(ours[True][-1]), "all at once", COLOURS["target"]),
        (float(ours[False][-1]), "one after another", COLOURS["target"]),
    ]
    label_ends(axes, 64, ends, ["dashed", "solid"])
    (three_first, *_, three_last), (one_first, *_, one_last) = (
        catalog.tables().speedups[key].speedups for key in _EAGLE.values()
    )
    share, low, high = (float(line[-1]) for line in (published["EAGLE-3"], ours[False], ours[True]))
    return Words(
        "Speed-up by batch, over that at two sequences. Published for EAGLE-3, as dots: "
        + ", ".join(f"{x:.2f}" for x in published["EAGLE-3"])
        + f" at {', '.join(map(str, batches))} sequences; for EAGLE, as rings, falling to "
        f"{published['EAGLE'][-1]:.2f}. The roofline falls to {low:.2f} if compute and memory follow one another, and "
        f"stays at {high:.2f} if they overlap.",
        f"Dots: EAGLE-3, from {value(three_first, f'{three_first:.2f}')} times at 2 sequences to "
        f"{value(three_last, f'{three_last:.2f}')} at 64. Rings: EAGLE, from {value(one_first, f'{one_first:.2f}')} to "
        f"{value(one_last, f'{one_last:.2f}')}. At 64 EAGLE-3's gain is {value(share, f'{share:.0%}')} of that at 2, "
        f"by the roofline between {value(low, f'{low:.0%}')} and {value(high, f'{high:.0%}')}.",
    )
