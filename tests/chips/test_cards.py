"""Bytes between cards beside plain counting, the closed form of uniform routing, and processes that send them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, moe
from costlab.nn.chips.cards import COPIES, link_bytes, routes_of
from costlab.nn.moe import MoELayer
from costlab.nn.moe.parallel import run_parallel


@st.composite
def spreads(draw: st.DrawFn) -> tuple[Any, Any, str]:
    cards, per_card = draw(st.sampled_from([1, 2, 4, 8])), draw(st.integers(1, 3))
    total = cards * per_card
    k = draw(st.integers(1, total))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    routes = moe.sample_routes(cards * draw(st.integers(0, 5)), k, moe.zipf_shares(total, 0.7, rng), rng)
    redundant = cards if cards > 1 and per_card < total and draw(st.booleans()) else 0
    placement = moe.place(moe.count_loads(routes, total), cards, redundant)
    return routes, placement, draw(st.sampled_from(COPIES))


@settings(max_examples=examples(60), deadline=None)
@given(spreads())
def test_what_is_sent_is_received(spread: tuple[Any, Any, str]) -> None:
    """Every assignment goes to a card that holds its expert, and every result comes back by the same link."""
    routes, placement, copy = spread
    links = link_bytes(routes, placement, hidden=3, dispatch="fp8", combine="bf16", copy=copy)
    assert links.sent.sum() == links.received.sum()
    assert np.array_equal(2 * links.dispatched.T, links.combined)
    assert (np.diag(links.over_links) == 0).all()
    assert 0 < links.balancedness <= 1
    per_card = len(routes) // placement.ranks
    wanted = np.zeros((placement.ranks, placement.ranks))
    for token, chosen in enumerate(routes):
        home = token // per_card
        at = [host(int(expert), token, home, placement.slots) for expert in chosen]
        for card in at if copy == "expert" else set(at):
            wanted[home, card] += 3
    assert np.array_equal(links.dispatched, wanted)


def host(expert: int, token: int, home: int, slots: Any) -> int:
    holders = [card for card in range(len(slots)) if expert in slots[card]]
    return home if home in holders else holders[token % len(holders)]


@pytest.mark.parametrize("cards", [8, 16])
@pytest.mark.parametrize("copy", COPIES)
def test_uniform_routes_send_what_the_closed_form_says(cards: int, copy: Any) -> None:
    model = arch.load("deepseek-v4-flash")
    ffn, tokens = moe.moe_layer(model), 4096
    links = link_bytes(
        routes_of(model, tokens=tokens), moe.contiguous(ffn.experts, cards), model.record.hidden, copy=copy
    )
    sent = moe.exchange(model, cards, copy=copy).bytes_per_token_layer * tokens
    assert links.sent.sum() == pytest.approx(sent, rel=0.02)
    assert links.seconds(1e9) >= sent / cards / 1e9 * 0.98


def test_processes_send_the_rows_that_are_counted() -> None:
    torch.manual_seed(0)
    layer, x = MoELayer(8, arch.MoE(experts=4, top_k=2, inner=8)), torch.randn(10, 8)
    run = run_parallel(layer, x, ranks=2)
    links = link_bytes(routes_of(layer, x), moe.contiguous(4, 2), hidden=8, dispatch="fp32", combine="fp32")
    assert [t.bytes(dispatch=4, combine=4) for t in run.traffic] == links.sent.tolist()


BAD = {
    "tokens": (lambda: link_bytes([[0]] * 3, moe.contiguous(4, 2), 8), "3 tokens don't divide among 2 cards"),
    "experts": (lambda: link_bytes([[9], [0]], moe.contiguous(4, 2), 8), "9"),
    "shape": (lambda: link_bytes([0, 1], moe.contiguous(4, 2), 8), r"\(2,\) should be \(tokens, top_k\)"),
    "copies": (lambda: link_bytes([[0], [1]], moe.contiguous(4, 2), 8, copy="card"), "card"),
    "precision": (lambda: link_bytes([[0], [1]], moe.contiguous(4, 2), 8, dispatch="fp5"), "fp5"),
    "link": (lambda: link_bytes([[0], [1]], moe.contiguous(4, 2), 8).seconds(0), "0 B/s"),
    "no experts": (lambda: routes_of("llama-2-7b"), "no layer with experts"),
    "nowhere": (lambda: link_bytes([[0], [2]], moe.Placement(np.array([[0], [2]])), 8), "expert 1 lies on no card"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_spreads_are_quoted(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
