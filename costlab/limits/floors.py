"""Floors of a token: the least seconds of a chip that arithmetic, memory and sending leave, at all peaks at once.

A floor is no cost. It takes every peak of the data sheet in full, hides all but the longest part behind it, fills
memory with sequences whatever they wait for, and has work for every second. A service costs `levers.token_costs`.
The model lies cut by layers, the layout that reads and sends least: each weight lies on one chip and is read once a
step, and a token goes from chip to chip as one residual state. Experts that are spread over chips, as they are served,
send more: `all_to_all_s`, which `roofline` counts with each visit by itself, is a choice of layout and no floor.

- arithmetic: FLOPs at the peak of their precision. Nothing but fewer or narrower multiplications lowers it.
- memory: weights, shared by as many sequences as the memory of many chips holds (`LARGEST_DEPLOYMENT`), and a
  token's own cache. More chips and drafted tokens lower the first, shorter or narrower entries the second.
- sending: between the fewest chips that hold the model; one that fits on a chip sends nothing.

>>> from costlab import limits
>>> found = limits.token_floor("deepseek-v4-pro", "h800", "decode", 8192)
>>> found.bound, found.seconds < found.all_to_all_s
('compute', True)

Chapter: limits
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from costlab import arch, catalog, checks
from costlab.arch import Model, MoE
from costlab.catalog import ChipRecord
from costlab.catalog.serving import ServingPhase
from costlab.chips import as_served, format_on, sizes
from costlab.levers.deployed import LARGEST_DEPLOYMENT
from costlab.roofline import Deployment, Term, rate, share_of_experts_touched
from costlab.roofline.steps import REDUCE_BYTES
from costlab.text import Table, digits_text

PHASES: tuple[ServingPhase, ...] = ("prefill", "decode")
#: Share of a chip's memory that weights and caches may use, as `roofline.Deployment` has it.
MEMORY_SHARE = 0.9


@dataclass(frozen=True)
class TokenFloor:
    """The floors of one token of a phase on a chip, in seconds of one chip."""

    model: Model = field(repr=False)  # as the chip serves it
    chip: ChipRecord = field(repr=False)  # the chip
    phase: ServingPhase  # whether the token is read or written
    context: int  # tokens of its prompt, or of its sequence with itself
    chips: int  # that hold the batch together
    batch: int  # sequences that their memory holds beside the weights
    rows: int  # tokens of a sequence that a step yields
    compute_s: float  # chip-seconds of arithmetic
    weights_s: float  # of reading weights, shared by the batch
    cache_s: float  # of reading or writing the token's own cache
    link_s: float  # of handing it on from chip to chip
    all_to_all_s: float  # no floor: of sending it to experts that are spread over all chips, each visit by itself

    @property
    def memory_s(self) -> float:
        """Chip-seconds of memory: weights and cache."""
        return self.weights_s + self.cache_s

    @property
    def terms(self) -> dict[Term, float]:
        """Chip-seconds of each floor by its cause."""
        return {"compute": self.compute_s, "memory": self.memory_s, "link": self.link_s}

    @property
    def seconds(self) -> float:
        """The floor: chip-seconds of the longest part."""
        return max(self.terms.values())

    @property
    def bound(self) -> Term:
        """The part that is longest."""
        terms = self.terms
        return max(terms, key=lambda term: terms[term])

    @property
    def step_s(self) -> float:
        """Seconds of the step in which every sequence gets its tokens, if only the floor held it up."""
        return self.seconds * self.batch * self.rows / self.chips

    def per_million(self, hourly: float) -> float:
        """Return what a million tokens cost at least, in the currency of a chip-hour.

        Raises:
            ValueError: an amount that is not above 0 and finite.
        """
        if not 0 < hourly < math.inf:
            raise ValueError(f"hourly = {hourly!r} should be above 0 and finite")
        return self.seconds / 3600 * hourly * 1e6


def token_floor(
    model: str | Model,
    chip: str,
    phase: ServingPhase,
    context: int,
    *,
    drafted: int = 0,
    most_chips: int = LARGEST_DEPLOYMENT,
) -> TokenFloor:
    """Return the floors of one token of a model on a chip.

    Args:
        model: key in the catalog, or a model; the chip serves it in its own format (`chips.format_on`).
        chip: key in the catalog.
        phase: "prefill" for a token that is read in a prompt of `context`, "decode" for one that is written.
        context: tokens.
        drafted: tokens drafted in each round of decode; all are taken to be accepted, and drafting to be free.
        most_chips: chips that share the weights, at most; fewer where no network joins so many.

    Raises:
        ValueError: an unknown model, chip or phase; a context below 1; drafted tokens in prefill; chips that do not
            hold the model with one sequence.
    """
    checks.one_of(PHASES, phase, "phase")
    tokens, rows = checks.count(context, "context"), 1 + checks.whole(drafted, "drafted")
    if rows < 1 or (rows > 1 and phase == "prefill"):
        raise ValueError(f"drafted = {drafted} should be at least 0, and 0 in prefill")
    record, built = catalog.chip(chip), arch.load(model)
    served = as_served(built, format_on(record, built))
    chips = sizes(record, checks.count(most_chips, "most_chips"))[-1]
    batch = _batch(served, record, chips, tokens)
    if batch < 1:
        raise ValueError(f"{built.name} with a sequence of {tokens:,} tokens does not fit on {chips} {record.name}")
    yielded = tokens if phase == "prefill" else rows
    weights, cache = _moved_bytes(served, phase, tokens, rows, batch)
    bandwidth = record.memory_bandwidth_bytes_s * yielded
    return TokenFloor(
        served, record, phase, tokens, chips, batch, yielded,
        _compute_s(served, record, phase, tokens, rows) / yielded, weights / batch / bandwidth, cache / bandwidth,
        _handed_on_s(served, record, tokens), Deployment(served, record, chips).sent_s,
    )  # fmt: skip


def _batch(model: Model, chip: ChipRecord, chips: int, context: int) -> int:
    """Sequences that chips hold beside one copy of the weights."""
    free = chips * chip.memory_bytes * MEMORY_SHARE - sum(model.weight_bytes().values())
    return math.floor(free / float(model.kv_bytes(context).resident))


def _compute_s(model: Model, chip: ChipRecord, phase: ServingPhase, context: int, rows: int) -> float:
    """Seconds of a sequence's arithmetic in a step, each component at the peak of its precision."""
    flops = model.prefill_flops(context) if phase == "prefill" else model.decode_flops(context, rows)
    return sum(float(n) / rate(chip, model.math_precision(name)) for name, n in flops.by_component.items())


def _moved_bytes(model: Model, phase: ServingPhase, context: int, rows: int, batch: int) -> tuple[float, float]:
    """Bytes of weights that a step reads for all its sequences, and of cache for each of them."""
    held = model.weight_bytes()
    moe = next((ffn for _, ffn in model.layers if isinstance(ffn, MoE)), None)
    new = context if phase == "prefill" else rows
    touched = share_of_experts_touched(moe.experts, moe.top_k, float(batch) * new) if moe else 1.0
    weights = sum(n * (touched if name == "experts" else 1) for name, n in held.items() if name != "embedding")
    if phase == "prefill":
        return weights, float(model.kv_bytes(context).total)
    return weights, float(model.decode_read_bytes(context, rows=rows))


def _handed_on_s(model: Model, chip: ChipRecord, context: int) -> float:
    """Chip-seconds of sending a token between the fewest chips that hold the model with a sequence."""
    one = sum(model.weight_bytes().values()) + float(model.kv_bytes(context).resident)
    chips = max(1, math.ceil(one / (chip.memory_bytes * MEMORY_SHARE)))
    sent = model.record.hidden * model.record.residual_streams * REDUCE_BYTES
    far = -(-chips // chip.chips_per_node) - 1
    return sent * (chips - 1 - far) / chip.link_bytes_s + (sent * far / chip.network if far else 0.0)


def floors_on_chips(model: str | Model, context: int, *, drafted: int = 0) -> dict[str, dict[ServingPhase, TokenFloor]]:
    """Return the floors of a token of each phase by the chips' keys, those left out that do not hold the model.

    Raises:
        ValueError: an unknown model, a context below 1, a negative number of drafted tokens.
    """
    built, tokens = arch.load(model), checks.count(context, "context")
    found: dict[str, dict[ServingPhase, TokenFloor]] = {}
    for key, chip in catalog.tables().chips.items():
        served = as_served(built, format_on(chip, built))
        if _batch(served, chip, sizes(chip, LARGEST_DEPLOYMENT)[-1], tokens) < 1:
            continue
        found[key] = {
            "prefill": token_floor(built, key, "prefill", tokens),
            "decode": token_floor(built, key, "decode", tokens, drafted=drafted),
        }
    return found


def floor_table(model: str | Model, context: int, *, drafted: int = 0) -> Table:
    """Return the floors of a token that is written, and the highest of one that is read, on every chip that can.

    Microseconds of one chip; a chip on which the model does not fit is left out.

    Raises:
        ValueError: as `floors_on_chips`; a model that no chip holds.
    """
    found = floors_on_chips(model, context, drafted=drafted)
    if not found:
        raise ValueError(f"no chip of the catalog holds {arch.load(model).name} with {context:,} tokens")
    rows = [_row(both["decode"], both["prefill"]) for both in found.values()]
    return Table(rows, "floor")


def _row(written: TokenFloor, read: TokenFloor) -> dict[str, object]:
    words: dict[Term, str] = {"compute": "arithmetic", "memory": "memory", "link": "sending"}
    terms = {words[term]: digits_text(seconds * 1e6) for term, seconds in written.terms.items()}
    floors = {"floor": written.seconds, "of one that is read": read.seconds}
    return {
        "chip": short_name(written.chip),
        **terms,
        **{name: digits_text(each * 1e6) for name, each in floors.items()},
    }


def short_name(chip: ChipRecord) -> str:
    """Return a chip's name without maker and form: H800."""
    name = chip.name.split(" (")[0]
    for maker in ("NVIDIA ", "Huawei ", "AMD Instinct "):
        name = name.removeprefix(maker)
    return name.split(" SXM")[0]


def always_multiplied(model: str | Model) -> dict[str, float]:
    """Return the parameters that each token multiplies whichever experts it visits, by component.

    Attention, shared experts, router, head: what is left of arithmetic when experts get ever sparser.

    Raises:
        ValueError: an unknown model.
    """
    active = arch.load(model).params.active_by_component
    return {name: float(n) for name, n in active.items() if name != "experts"}


__all__ = [
    "MEMORY_SHARE", "PHASES", "TokenFloor", "always_multiplied", "floor_table", "floors_on_chips", "short_name",
    "token_floor",
]  # fmt: skip
