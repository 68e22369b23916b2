"""Experts spread over the cards of a server: which card sends how many bytes to which, for routes that a gate chose.

Tokens lie on the cards in order, equally many on each. A token's hidden state goes to the cards of its experts and the
results come back, so each link carries what was dispatched one way and what is combined the other way.

>>> import numpy as np
>>> from costlab import moe
>>> routes = routes_of("mixtral-8x7b", tokens=64, seed=0)
>>> links = link_bytes(routes, moe.contiguous(8, 8), hidden=4096)
>>> links.dispatched.shape, int(links.sent.sum()) == int(links.received.sum())
((8, 8), True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from costlab import arch, moe
from costlab.arrays import ArrayLike, Floats, Ints
from costlab.catalog import DTYPE_BYTES
from costlab.checks import count, indices, one_of, pick
from costlab.moe import Placement
from costlab.nn.moe import MoELayer

#: What is sent: a copy of a token for each expert, or for each card that holds some of them.
COPIES = ("expert", "rank")


@dataclass(frozen=True)
class LinkBytes:
    """Bytes of one layer's exchange, [from card, to card]; what stays on its card is on the diagonal."""

    dispatched: Floats  # hidden states on their way to experts
    combined: Floats  # results on their way back

    @property
    def over_links(self) -> Floats:
        """Bytes of both ways between different cards, [from card, to card]; 0 on the diagonal."""
        total = self.dispatched + self.combined
        return np.asarray(total - np.diag(np.diag(total)), dtype=np.float64)

    @property
    def sent(self) -> Floats:
        """Bytes that each card sends to others."""
        return np.asarray(self.over_links.sum(axis=1), dtype=np.float64)

    @property
    def received(self) -> Floats:
        """Bytes that each card gets from others."""
        return np.asarray(self.over_links.sum(axis=0), dtype=np.float64)

    @property
    def balancedness(self) -> float:
        """Mean over maximum of what cards send or get, whichever is more; 1 where nothing is sent."""
        busy = np.maximum(self.sent, self.received)
        return float(busy.mean() / busy.max()) if busy.max() > 0 else 1.0

    def seconds(self, link_bytes_s: float) -> float:
        """Return the seconds that the busiest card's link works, one way at a time for each of the two exchanges.

        Args:
            link_bytes_s: what a card can send, and get at the same time, per second; latency is not counted.

        Raises:
            ValueError: a link that is not positive.
        """
        if not link_bytes_s > 0:
            raise ValueError(f"a link of {link_bytes_s} B/s should carry more than 0")
        return sum(_busiest(part) for part in (self.dispatched, self.combined)) / link_bytes_s


def _busiest(part: Floats) -> float:
    crossing = part - np.diag(np.diag(part))
    return float(max(crossing.sum(axis=1).max(), crossing.sum(axis=0).max()))


def link_bytes(
    routes: ArrayLike,
    placement: Placement,
    hidden: int,
    dispatch: str = "fp8",
    combine: str = "bf16",
    copy: str = "expert",
) -> LinkBytes:
    """Return what one layer's tokens send between cards.

    An expert that has several copies is asked for on the token's own card, else on one of them in turn.

    Args:
        routes: chosen experts, [tokens, top_k].
        placement: which experts each card holds, e.g. `moe.place(loads, 16)`.
        hidden: elements of a token's hidden state.
        dispatch: precision of what is sent, as in the catalog.
        combine: precision of what comes back.
        copy: "expert" sends a token once for each expert on another card, "rank" once for each other card.

    Raises:
        ValueError: routes that are no matrix of the placement's experts, tokens that don't divide among the cards, an
            unknown precision or kind of copy.
    """
    chosen, cards = _checked(routes, placement), placement.ranks
    home = np.repeat(np.arange(cards), len(chosen) // cards)  # the card of each token
    there = _hosts(chosen, home, placement)
    pairs = np.stack([np.broadcast_to(home[:, None], there.shape), there], -1)  # (from, to) of each assignment
    if one_of(COPIES, copy, "kind of copy") == "rank":
        asked = np.zeros((len(chosen), cards), dtype=bool)
        np.put_along_axis(asked, there, True, axis=1)
        tokens, to = np.nonzero(asked)
        pairs = np.stack([home[tokens], to], -1)
    rows = np.zeros((cards, cards))
    np.add.at(rows, tuple(pairs.reshape(-1, 2).T), 1.0)
    each = count(hidden, "hidden")
    return LinkBytes(
        rows * each * pick(DTYPE_BYTES, dispatch, "precision"), rows.T * each * pick(DTYPE_BYTES, combine, "precision")
    )


def _checked(routes: ArrayLike, placement: Placement) -> Ints:
    chosen = indices(routes, "routes")
    if chosen.ndim != 2:
        raise ValueError(f"routes of shape {chosen.shape} should be (tokens, top_k)")
    moe.count_loads(chosen, len(placement.copies))  # refuses an expert that the placement lacks
    if len(chosen) % placement.ranks:
        raise ValueError(f"{len(chosen)} tokens don't divide among {placement.ranks} cards")
    return chosen


def _hosts(chosen: Ints, home: Ints, placement: Placement) -> Ints:
    """Return the card that computes each assignment, [tokens, top_k]."""
    holders = [np.nonzero((placement.slots == expert).any(axis=1))[0] for expert in range(len(placement.copies))]
    held = np.zeros((placement.ranks, len(holders)), dtype=bool)
    for expert, at in enumerate(holders):
        if not at.size:
            raise ValueError(f"expert {expert} lies on no card")
        held[at, expert] = True
    turn = np.arange(len(chosen))  # copies take turns by token
    table = np.full((len(holders), max(map(len, holders))), -1, dtype=np.int64)
    for expert, at in enumerate(holders):
        table[expert] = np.resize(at, table.shape[1])
    each = np.array([len(at) for at in holders])
    away = table[chosen, turn[:, None] % each[chosen]]
    return np.asarray(np.where(held[home[:, None], chosen], home[:, None], away), dtype=np.int64)


@torch.no_grad()
def routes_of(
    layer: MoELayer | arch.Model | str, x: Tensor | None = None, tokens: int = 1024, seed: int = 0, skew: float = 0.0
) -> Ints:
    """Return experts that a gate chooses, [tokens, top_k].

    Args:
        layer: a running layer, whose own gate chooses; or a model of the catalog, whose rule chooses by drawn logits.
        x: hidden states for a running layer, [..., hidden]; None: drawn.
        tokens: how many to draw.
        seed: of what is drawn.
        skew: of the experts' popularity in a model of the catalog: 0 is uniform, 1 the law of words in a text.

    Raises:
        ValueError: a model without experts, or counts out of range.
    """
    if isinstance(layer, MoELayer):
        generator = torch.Generator().manual_seed(seed)
        states = torch.randn(tokens, layer.hidden, generator=generator) if x is None else x.reshape(-1, layer.hidden)
        ids = torch.randint(layer.vocabulary or 1, (len(states),), generator=generator)
        return np.asarray(layer.gate(states, ids if layer.vocabulary else None).experts.numpy(), dtype=np.int64)
    rule, rng = moe.router(layer), np.random.default_rng(seed)
    logits = moe.skewed_logits(tokens, moe.zipf_shares(rule.experts, skew, rng), rng)
    return rule.route(logits).experts
