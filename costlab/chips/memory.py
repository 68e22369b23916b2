"""Memory before money: whether chips hold a model as they serve it, and how many sequences beside it.

>>> from costlab import chips
>>> chips.fit("deepseek-v4-flash", "ascend-910b", 8, 8192).holds
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costlab import arch, catalog
from costlab.arch import Model
from costlab.catalog import ChipRecord
from costlab.checks import count
from costlab.chips.formats import Format, as_served, format_named, format_on
from costlab.roofline import Deployment

#: Chips that a replica splits over, where the layout is looked for.
GROUP_SIZES = (1, 2, 4, 8, 16)
#: Chips of a server, of which supernodes too are made, and of the largest deployment that is looked at.
SERVER_CHIPS, MOST_CHIPS = 8, 64


@dataclass(frozen=True)
class Fit:
    """What of a model lies on each chip of a deployment, and the sequences that fit beside it."""

    deployment: Deployment  # the model as served, on its chips
    format: Format  # in which it is served
    context: int  # tokens of each sequence

    @property
    def holds(self) -> bool:
        """Whether the weights and one sequence on each replica fit."""
        return self.sequences > 0

    @property
    def sequences(self) -> int:
        """Sequences of `context` tokens that fit on all replicas together; 0 where the weights alone do not."""
        return self.deployment.max_batch(self.context)

    @property
    def weight_bytes(self) -> float:
        """Bytes of weights on all chips together; what replicas hold twice counts twice."""
        return self.deployment.weight_bytes_per_chip * self.deployment.chips

    @property
    def reason(self) -> str:
        """Why nothing fits, in a sentence with numbers; empty where it does."""
        if self.holds:
            return ""
        node = self.deployment
        try:
            node.check_room(node.replicas, self.context)
        except ValueError as error:
            return str(error)
        return ""


def fit(
    model: str | Model,
    chip: str | ChipRecord,
    chips: int,
    context: int,
    *,
    weights: str | Format | None = None,
    tensor_parallel: int | None = None,
    draft: str | None = None,
    memory_share: float = 0.9,
) -> Fit:
    """Return how a model fits on chips, as they serve it.

    Args:
        model: key in the catalog, or a model.
        chip: key in the catalog, or a record.
        chips: how many, all together.
        context: tokens of each sequence.
        weights: the format, e.g. "W4A8"; None for the one that the chip serves the model in (`format_on`).
        tensor_parallel: chips of a replica; None for the split that holds most sequences, the smallest of equals.
        draft: a drafter held beside the model, e.g. "mtp"; None for none.
        memory_share: share of each chip's memory that weights and cache may use.

    Raises:
        ValueError: an unknown model, chip, format or drafter; a number out of range.
    """
    tokens = count(context, "context")
    found = layouts(model, chip, chips, weights, tensor_parallel, draft, memory_share)
    best = max(found, key=lambda each: (each.max_batch(tokens), -each.weight_bytes_per_chip))
    return Fit(best, _format(model, chip, weights), tokens)


def least_chips(
    model: str | Model,
    chip: str | ChipRecord,
    context: int,
    *,
    weights: str | Format | None = None,
    draft: str | None = None,
    memory_share: float = 0.9,
) -> Fit | None:
    """Return the smallest deployment of whole servers that holds a model and a sequence; None up to `MOST_CHIPS`.

    Raises:
        ValueError: as `fit`.
    """
    for chips in sizes(chip):
        found = fit(model, chip, chips, context, weights=weights, draft=draft, memory_share=memory_share)
        if found.holds:
            return found
    return None


def sizes(chip: str | ChipRecord, most: int = MOST_CHIPS) -> tuple[int, ...]:
    """Return the numbers of chips that are looked at: 1, 2, 4 … servers, up to `most` chips, at least one server.

    A supernode may be taken in part. Where no network beyond a node is known, one node is the most.
    """
    record = _chip(chip)
    found = [min(SERVER_CHIPS, record.chips_per_node)]
    reach = most if record.network_bytes_s is not None else min(most, record.chips_per_node)
    while found[-1] * 2 <= reach:
        found.append(found[-1] * 2)
    return tuple(found)


def layouts(
    model: str | Model,
    chip: str | ChipRecord,
    chips: int,
    weights: str | Format | None = None,
    tensor_parallel: int | None = None,
    draft: str | None = None,
    memory_share: float = 0.9,
) -> list[Deployment]:
    """Return the layouts of a model on so many chips: each split of its attention that the heads and a node allow.

    Raises:
        ValueError: as `fit`.
    """
    record, served = _chip(chip), as_served(arch.load(model), _format(model, chip, weights))
    drafter = None if draft is None else arch.drafter(draft, served)
    splits: Sequence[int] = GROUP_SIZES if tensor_parallel is None else (tensor_parallel,)
    found = []
    for split in splits:
        if tensor_parallel is None and not _allowed(served, record, chips, split):
            continue
        found.append(Deployment(served, record, chips, split, memory_share=memory_share, drafter=drafter))
    return found


def _allowed(model: Model, chip: ChipRecord, chips: int, split: int) -> bool:
    heads = [attention.heads for attention in model.attention_counts]
    return chips % split == 0 and split <= chip.chips_per_node and all(each % split == 0 for each in heads)


def _chip(chip: str | ChipRecord) -> ChipRecord:
    return chip if isinstance(chip, ChipRecord) else catalog.chip(chip)


def _format(model: str | Model, chip: str | ChipRecord, weights: str | Format | None) -> Format:
    return format_on(_chip(chip), arch.load(model)) if weights is None else format_named(weights)


__all__ = ["GROUP_SIZES", "MOST_CHIPS", "SERVER_CHIPS", "Fit", "fit", "layouts", "least_chips", "sizes"]
