"""Drafters: their parameters against published counts, their rows, and passes over several tokens of a sequence."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch, catalog

KEYS = list(arch.models())
MTP = [key for key, model in arch.models().items() if model.record.mtp]


# --- parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["mimo-v2-flash", "mimo-v2.5"])
def test_mimos_three_blocks(key):
    """0.33B each, with window attention and a dense feed-forward part (XiaomiMiMo/MiMo-V2-Flash paper.pdf sec. 2.3)."""
    drafter = arch.drafter("mtp", arch.load(key))
    assert drafter.modules == 3
    assert round(drafter.own_params / 3 / 1e9, 2) == 0.33
    ((attention, ffn),) = drafter.model.layers
    assert (attention.kind, ffn.kind) == ("sliding", "dense")
    assert float(drafter.model.kv_bytes(1000).total) == 128 * 8 * (192 + 128) * 2  # a window, and no more


def test_v3s_module_takes_a_little_of_the_flops():
    """DeepSeek-V3: one MoE layer, the projection and the head, (.583 + .103 + .927) / 36.6 B = 4.4% of the model's;
    its README_WEIGHTS gives 1.5B active parameters with the head and 11.5B of its own."""
    v3 = arch.load("deepseek-v3")
    module = arch.drafter("mtp", v3).model
    counts = module.params.active_by_component
    assert counts["projection"] / 1e9 == pytest.approx(0.103, abs=5e-4)
    assert counts["head"] / 1e9 == pytest.approx(0.927, abs=5e-4)
    assert module.params.active / v3.params.active == pytest.approx(0.044, abs=5e-4)
    assert module.params.active / 1e9 == pytest.approx(1.5, abs=0.15)


@pytest.mark.parametrize("key", MTP)
def test_modules_are_what_the_model_counts(key):
    model = arch.load(key)
    drafter = arch.drafter("mtp", model)
    assert drafter.own_params == model.params.mtp
    assert drafter.modules == model.record.mtp.modules
    assert drafter.model.mtp_module is None


@pytest.mark.parametrize(("key", "heads", "inner"), [("llama-3.1-8b", 32, 14336), ("llama-3.1-70b", 64, 28672)])
def test_eagle3_head_of_llama(key, heads, inner):
    """The widths of its public configurations are the target's (sgl-project/SpecForge configs/llama3-*.json); three
    features joined, two vectors into the projections (SafeAILab/EAGLE cnets.py), 32,000 tokens drafted."""
    drafter, hidden = arch.drafter("eagle3", arch.load(key)), 128 * heads
    layer = 2 * hidden * (hidden + 2 * 8 * 128) + hidden * hidden + 3 * hidden * inner
    norms = 3 * hidden
    assert drafter.own_params == layer + 3 * hidden * hidden + 32000 * hidden + norms
    assert drafter.shared == {"embedding"}


@pytest.mark.parametrize("key", KEYS)
def test_every_model_can_have_an_eagle3_head(key):
    model = arch.load(key)
    drafter = arch.drafter("eagle3", model)
    assert 0.03e9 < drafter.own_params < 1.8e9  # narrow models have narrow heads, those 8,192 wide the largest
    assert drafter.model.record.vocab == 32000
    assert set(drafter.model.weight_bytes()) <= drafter.model.shares_on_chip(1).keys() | {"experts"}
    for width in (2, 4, 8):
        assert drafter.model.shares_on_chip(width)["attention"] < 1


def test_a_smaller_model_drafts_for_one_of_its_vocabulary():
    target = arch.load("llama-3.1-70b")
    drafter = arch.drafter("llama-3.1-8B", target)
    assert drafter.own_params == arch.load("llama-3.1-8b").params.total
    words = r"Llama-2-7B cannot draft for Llama-3.1-70B: it has 32,000 tokens in its vocabulary, the target 128,256"
    with pytest.raises(ValueError, match=words):
        arch.drafter("llama-2-7b", target)


def test_a_lookup_has_no_parameters():
    assert arch.drafter("lookup", arch.load("llama-2-7b")).own_params == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("medusa", "draft 'medusa' should be mtp, eagle3, lookup or a model"),
        ("mtp", "Llama-2-7B has no multi-token-prediction module in the catalog; deepseek-v3, "),
    ],
)
def test_unknown_drafters(kind, words):
    with pytest.raises(ValueError, match=words):
        arch.drafter(kind, arch.load("llama-2-7b"))


def test_rows_that_a_drafter_reads():
    """One module is applied again beyond its depth; each module takes in what was accepted, padded to length + 1."""
    one, three = (arch.drafter("mtp", arch.load(key)) for key in ("deepseek-v3", "mimo-v2-flash"))
    assert [one.rows(i, 4) for i in range(4)] == [5, 1, 1, 1]
    assert [three.rows(i, 4) for i in range(4)] == [5, 5, 5, 1]
    small = arch.drafter("llama-3.1-8b", arch.load("llama-3.1-70b"))
    assert [small.rows(i, 3) for i in range(3)] == [2, 1, 1]


@pytest.mark.parametrize("count", ["modules", "projections", "projection_inputs"])
def test_counts_of_modules_start_at_one(count):
    mtp = catalog.model("mimo-v2-flash").mtp
    with pytest.raises(ValueError, match="should be at least 1"):
        dataclasses.replace(mtp, **{count: 0})


# --- passes over several tokens --------------------------------------------------------------------------------

TOKENS, ROWS = st.integers(1, 300_000), st.integers(1, 12)


@given(key=st.sampled_from(KEYS), context=TOKENS, rows=ROWS)
def test_flops_of_rows_are_those_of_as_many_steps(key, context, rows):
    model = arch.load(key)
    together = model.decode_flops(context, rows)
    apart = [model.decode_flops(context + i) for i in range(rows)]
    for name, flops in together.by_component.items():
        assert float(flops) == pytest.approx(sum(float(each.by_component[name]) for each in apart), rel=1e-9)


def test_a_head_for_the_last_row_only():
    model = arch.load("deepseek-v3")
    every, last, one = (model.decode_flops(100, *rows).by_component for rows in ((4,), (4, 1), (1,)))
    assert float(every["head"]) == 4 * float(last["head"]) == 4 * float(one["head"])
    assert float(every["experts"]) == float(last["experts"])


def seen(read, context):
    """The entries that a query at `context` tokens sees, where it does not choose."""
    there = int(context // read.entries.stride)
    if read.entries.restarts:
        return set(range((context - 1) // read.entries.cap * read.entries.cap, context))
    return set(range(there) if read.entries.cap is None else range(max(0, there - read.entries.cap), there))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("context", [1, 3, 127, 128, 130, 4096])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_entries_are_read_once(key, context, rows):
    """What several queries see is the union of what each sees; what each chooses lies between one choice and all."""
    for attention in {attention for attention, _ in arch.load(key).layers}:
        for read in attention.reads("decode"):
            found = float(read.read_once(np.asarray(float(context)), rows))
            each = [float(read.entries.at(np.asarray(float(context + i)))) for i in range(rows)]
            if read.once:
                assert found == 1  # a state, however many tokens it takes in
            elif read.chosen:
                there = (context + rows - 1) // read.entries.stride
                assert max(each) <= found <= min(there, rows * read.entries.cap)
            else:
                assert found == len(set().union(*(seen(read, context + i) for i in range(rows))))


def test_what_is_chosen_is_marked():
    marked = {a.kind for m in arch.models().values() for a, _ in m.layers for r in a.reads("decode") if r.chosen}
    assert marked == {"block-sparse", "dsa", "csa", "csa2"}
