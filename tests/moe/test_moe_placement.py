"""Placement: the published example, properties, and what cannot be placed."""

from itertools import chain, combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import moe
from costlab.moe.placement import Placement

# Loads and placement of the example in the README of github.com/deepseek-ai/EPLB (read 2026-11): two layers of 12
# experts in 4 groups, 16 slots on 8 GPUs of 2 nodes; each pair of slots is one GPU.
LOADS = np.array(
    [[90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86], [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27]]
)
PRINTED = np.array(
    [[5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1], [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1]]
)


@pytest.mark.parametrize("layer", [0, 1])
def test_hierarchical_placement_equals_the_printed_one_and_global_beats_it(layer: int) -> None:
    loads = LOADS[layer]
    printed = Placement(PRINTED[layer].reshape(8, 2)).balancedness(loads)
    assert printed == pytest.approx([0.8277, 0.8050][layer], abs=1e-4)
    assert moe.place(loads, 8, redundant=4, nodes=2, groups=4).balancedness(loads) >= printed
    assert moe.place(loads, 8, redundant=4).balancedness(loads) > printed + 0.03


def test_hierarchical_placement_keeps_groups_on_one_node() -> None:
    rng = np.random.default_rng(0)
    loads = moe.zipf_shares(256, 0.7, rng)
    placement = moe.place(loads, 32, redundant=32, nodes=4, groups=8)
    node = np.arange(32) // 8
    for group in range(8):
        homes = node[(placement.slots // 32 == group).any(axis=1)]
        assert len(set(homes.tolist())) == 1


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    ranks, per_rank = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    experts = draw(st.integers(per_rank, ranks * per_rank))
    loads = draw(st.lists(st.integers(0, 1000), min_size=experts, max_size=experts))
    return np.array(loads), ranks, ranks * per_rank - experts


@st.composite
def problems_of_nodes(draw: st.DrawFn) -> tuple[np.ndarray, int, int, int, int]:
    """Loads, ranks, redundant experts, nodes and groups that fit together."""
    nodes, ranks, groups, size = (draw(st.integers(1, 3)) for _ in range(4))  # ranks and groups of one node
    per_rank = draw(st.integers(-(-groups * size // ranks), groups * size))  # the least that holds them, to all of them
    experts = nodes * groups * size
    loads = draw(st.lists(st.integers(0, 100), min_size=experts, max_size=experts))
    return np.array(loads), nodes * ranks, nodes * ranks * per_rank - experts, nodes, nodes * groups


def holds_nothing_twice(placement: Placement) -> bool:
    return all(len(set(rank)) == len(rank) for rank in placement.slots.tolist())


@given(problems())
def test_every_expert_has_a_slot_and_no_load_is_lost(problem) -> None:
    loads, ranks, redundant = problem
    placement = moe.place(loads, ranks, redundant)
    placement.check(len(loads))
    assert placement.slots.size == len(loads) + redundant
    assert placement.rank_loads(loads).sum() == pytest.approx(loads.sum())
    assert 0 < placement.balancedness(loads) <= 1 + 1e-12


@given(problems_of_nodes())
def test_every_slot_counts(problem) -> None:
    """No rank holds an expert twice, with nodes or without, and whole groups stay on one node."""
    loads, ranks, redundant, nodes, groups = problem
    for placement in (moe.place(loads, ranks, redundant), moe.place(loads, ranks, redundant, nodes, groups)):
        placement.check(len(loads))
        assert placement.slots.shape == (ranks, (len(loads) + redundant) // ranks)
        assert holds_nothing_twice(placement)
    home = placement.slots.reshape(nodes, -1) // (len(loads) // groups)
    assert sum(len(set(node)) for node in home.tolist()) == groups


@given(problems())
def test_no_swap_between_two_ranks_would_help(problem) -> None:
    loads, ranks, redundant = problem
    placement = moe.place(loads, ranks, redundant)
    each, per_rank = loads / placement.copies, placement.rank_loads(loads)
    top = int(per_rank.argmax())
    held = [set(rank) for rank in placement.slots.tolist()]
    for other in range(ranks):
        for mine in held[top] - held[other]:
            for theirs in held[other] - held[top]:
                gain = each[mine] - each[theirs]
                assert max(per_rank[top] - gain, per_rank[other] + gain) >= per_rank[top] * (1 - 1e-9)


def test_copies_lie_on_different_ranks() -> None:
    """The best of all placements; two copies of expert 0 on one rank of the three that it had reach 0.761."""
    loads = [100, 1, 1, 1]
    placement = moe.place(loads, 2, redundant=2)
    assert placement.slots.tolist() == [[0, 1, 2], [0, 1, 3]]
    assert placement.rank_loads(loads).tolist() == [51.5, 51.5]
    assert placement.balancedness(loads) == 1


@pytest.mark.parametrize("nodes", [1, 4])
@pytest.mark.parametrize("kind", ["none", "even", "zipf", "exponential", "log-normal"])
def test_v3_with_32_redundant_experts_holds_nothing_twice(kind: str, nodes: int) -> None:
    """256 + 32 experts on 32 ranks (github.com/deepseek-ai/EPLB/pull/28: expert 236 stood twice on rank 16)."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        loads = {
            "none": np.zeros(256),
            "even": np.ones(256),
            "zipf": moe.zipf_shares(256, 1.0, rng),
            "exponential": rng.exponential(size=256),
            "log-normal": rng.lognormal(0, 1.5, 256),
        }[kind]
        placement = moe.place(loads, 32, redundant=32, nodes=nodes, groups=8)
        assert holds_nothing_twice(placement)
        assert placement.copies.max() <= 32 // nodes
        if kind in ("none", "even"):
            assert sorted(placement.copies)[-32:] == [2] * 32 and placement.copies.max() == 2


def every_placement(experts: int, ranks: int, per_rank: int) -> np.ndarray:
    """[placements, ranks, slots] of all placements of all experts, an expert twice on a rank among them."""
    rows = combinations_with_replacement(range(experts), per_rank)
    placements = combinations_with_replacement(list(rows), ranks)
    return np.array([p for p in placements if len(set(chain(*p))) == experts])


def lowest_peak(loads: np.ndarray, placements: np.ndarray) -> float:
    copies = (placements[..., None] == np.arange(loads.size)).sum(axis=(1, 2))  # [placements, experts]
    each = np.take_along_axis((loads / copies)[:, None], placements.reshape(len(placements), 1, -1), axis=-1)
    return float(each.reshape(placements.shape).sum(axis=-1).max(axis=-1).min())


TINY = """2 2 2 4, 2 2 3 4, 2 3 3 4, 2 3 4 3, 2 3 5 2, 3 2 2 4, 3 2 3 4,
3 2 4 3, 3 2 5 3, 3 3 4 2, 4 2 2 4, 4 2 3 3, 4 2 4 3, 4 2 5 2"""


@pytest.mark.parametrize(
    ("ranks", "per_rank", "experts", "most"), [tuple(map(int, row.split())) for row in TINY.split(",")]
)
def test_the_busiest_rank_is_within_a_third_of_the_best_placement(
    ranks: int, per_rank: int, experts: int, most: int
) -> None:
    """For all loads of whole numbers up to `most`, against every placement there is; where no choice is left, equal."""
    placements = every_placement(experts, ranks, per_rank)
    for loads in map(np.array, combinations_with_replacement(range(most, -1, -1), experts)):
        peak = moe.place(loads, ranks, ranks * per_rank - experts).rank_loads(loads).max()
        best = lowest_peak(loads, placements)
        assert best - 1e-9 <= peak <= best * (4 / 3 + 1e-9), loads
        assert experts > per_rank or peak == pytest.approx(best)


@given(problems())
def test_copies_go_where_the_load_per_copy_is_highest(problem) -> None:
    loads, _, redundant = problem
    copies = moe.copies_by_load(loads, len(loads) + redundant)
    assert copies.sum() == len(loads) + redundant and copies.min() >= 1
    # taking a copy from anyone and giving it to the fullest never lowers the highest load per copy
    peak = (loads / copies).max()
    taken = np.where(copies > 1, loads / np.maximum(copies - 1, 1), np.inf)
    assert not (taken < peak - 1e-9).any()


def test_an_expert_has_at_most_as_many_copies_as_ranks_can_hold() -> None:
    assert moe.copies_by_load([100, 1, 1], 6).tolist() == [4, 1, 1]
    assert moe.copies_by_load([100, 1, 1], 6, most=2).tolist() == [2, 2, 2]
    assert moe.copies_by_load([0, 0, 0], 5).tolist() == [2, 2, 1]  # no load yet: as evenly as can be


def test_redundancy_pays_on_a_skewed_load() -> None:
    loads = moe.zipf_shares(256, 0.5, np.random.default_rng(0))
    before = moe.contiguous(256, 32).balancedness(loads)
    moved = moe.place(loads, 32).balancedness(loads)
    copied = moe.place(loads, 32, redundant=32).balancedness(loads)
    assert before < 0.65 < moved < copied and copied > 0.98


def test_more_copies_cannot_help_beyond_one_rank_per_copy() -> None:
    # one expert with half of all load, two slots: no placement gives a rank less than a quarter
    loads = np.array([6, 2, 2, 2])
    placement = moe.place(loads, 5, redundant=1)
    assert placement.copies.tolist() == [2, 1, 1, 1]
    assert placement.balancedness(loads) == pytest.approx(12 / 5 / 3)


def test_no_load_is_balanced() -> None:
    assert moe.place(np.zeros(8), 4).balancedness(np.zeros(8)) == 1


BAD = {
    "slots": (lambda: moe.place(np.ones(256), 64, 32), "256 experts . 32 redundant = 288 slots don't divide among 64"),
    "nodes": (lambda: moe.place(np.ones(8), 4, nodes=3), "4 ranks don't divide among 3 nodes"),
    "groups": (lambda: moe.place(np.ones(8), 4, groups=3), "8 experts don't divide into groups = 3"),
    "no ranks": (lambda: moe.place(np.ones(8), 0), "among 0 ranks"),
    "negative redundancy": (lambda: moe.place(np.ones(8), 4, -4), "8 experts . -4 redundant"),
    "NaN load": (lambda: moe.place([1, np.nan], 2), "finite number of at least 0"),
    "contiguous": (lambda: moe.contiguous(10, 4), "10 experts don't divide among 4 ranks"),
    "a rank with room for more than all": (lambda: moe.place([3, 1], 2, 4), "3 slots per rank for 2 experts"),
    "a node with room for more": (lambda: moe.place(np.ones(4), 4, 4, 4, 4), "2 slots per rank for 1 experts"),
    "too many slots": (lambda: moe.copies_by_load([1, 2], 5, most=2), "5 slots are too many for 2 experts of at most"),
    "too few slots": (lambda: moe.copies_by_load([1, 2], 1), "1 slots are too few for 2 experts"),
    "other experts": (lambda: moe.contiguous(8, 4).rank_loads(np.ones(7)), "7 loads for a placement of 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_quoted(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
