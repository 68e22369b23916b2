"""FLOPs: published ratios, torch's own count, brute force, and the identities between decode and prefill."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import transformers
from arch import kinds
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from costlab import arch
from costlab.arch import Entries

MILLION = 1_048_576
KEYS = list(arch.models())
V4 = ("deepseek-v4-pro", "deepseek-v4-flash")


# --- DeepSeek-V4's headline ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "linear", "indexer", "core", "total"),
    [  # GFLOP of one token at 1M, recomputed apart from this code
        ("deepseek-v3.2", 74.95, 1048.0, 34.8, 1157.7),
        ("deepseek-v4-pro", 97.7, 128.8, 76.7, 303.2),
        ("deepseek-v4-flash", 26.5, 90.2, 23.6, 140.3),
    ],
)
def test_decode_at_a_million(key, linear, indexer, core, total):
    count = arch.load(key).decode_flops(MILLION)
    grouped = {name: float(part) / 1e9 for name, part in count.grouped().items()}
    assert grouped == pytest.approx({"linear": linear, "indexer": indexer, "core": core}, abs=0.05)
    assert float(count.total) / 1e9 == pytest.approx(total, abs=0.05)


def test_decode_at_a_million_by_hand():
    v32 = arch.load("deepseek-v3.2").decode_flops(MILLION).by_component
    assert float(v32["indexer"]) == 61 * 64 * 128 * 2 * MILLION
    assert float(v32["core"]) == 61 * 128 * (576 + 512) * 2 * 2048
    pro = arch.load("deepseek-v4-pro").decode_flops(MILLION).by_component
    assert float(pro["indexer"]) == 30 * 64 * 128 * 2 * (MILLION // 4)
    csa, hca = 30 * (1024 + 128), 31 * (MILLION // 128 + 128)
    assert float(pro["core"]) == (csa + hca) * 128 * 2 * 512 * 2
    assert hca / (csa + hca) == pytest.approx(0.88, abs=0.005)  # HCA dominates the core


def share(key, weigh, tokens=MILLION):
    """FP8-equivalents of a V4 model over V3.2's, in percent; `weigh` maps (component, precision) to a weight."""

    def equivalents(name):
        count = arch.load(name).decode_flops(tokens)
        return sum(float(f) * weigh(c, count.precision[c]) for c, f in count.by_component.items())

    return 100 * equivalents(key) / equivalents("deepseek-v3.2")


def raw(component, precision):
    return 1.0


def core_and_fp4(component, precision):
    return {"core": 2.0, "indexer": 0.5 if precision == "fp4" else 1.0}.get(component, 1.0)


def core_but_no_fp4(component, precision):
    return 2.0 if component == "core" else 1.0


def with_bf16(component, precision):
    return {"fp4": 0.5, "bf16": 2.0, "fp32": 2.0}.get(precision, 1.0)


def with_fp32(component, precision):
    return arch.FP8_EQUIVALENTS[precision]


@pytest.mark.parametrize(
    ("weigh", "pro", "flash"),
    [
        pytest.param(raw, 26.2, 12.1, id="raw"),
        pytest.param(core_and_fp4, 26.45, 9.97, id="BF16 core x2, FP4 index x1/2"),
        pytest.param(with_bf16, 26.69, 10.08, id="and BF16 matrices x2"),
        pytest.param(with_fp32, 27.03, 10.21, id="and FP32 parts x4"),
        pytest.param(core_but_no_fp4, 31.86, 13.75, id="BF16 core x2, FP4 without gain"),
    ],
)
def test_what_each_weight_does_to_27_percent(weigh, pro, flash):
    """arXiv 2606.19348 sec. 1 claims 27% and 10% in FP8-equivalents without weights; each step to its last digit."""
    digits = 0.05 if pro == 26.2 else 0.005
    assert share("deepseek-v4-pro", weigh) == pytest.approx(pro, abs=digits)
    assert share("deepseek-v4-flash", weigh) == pytest.approx(flash, abs=digits)


def test_the_catalogued_weights_give_the_published_labels():
    """Fig. 1 of the report: 3.7 and 9.8 times fewer, V3.2 at 1.2 TFLOP."""
    v32 = arch.load("deepseek-v3.2").decode_flops(MILLION).weighted()
    assert float(v32) / 1e12 == pytest.approx(1.197, abs=5e-4)
    for key, label in zip(V4, (3.7, 9.8), strict=True):
        assert float(v32 / arch.load(key).decode_flops(MILLION).weighted()) == pytest.approx(label, abs=0.05)


@pytest.mark.parametrize(("tokens", "pro", "flash"), [(4096, 83, 22.5), (131072, 54, 16)])
def test_it_is_a_long_context_number(tokens, pro, flash):
    """The same accounting at short contexts, to half a percent point."""
    assert share("deepseek-v4-pro", with_fp32, tokens) == pytest.approx(pro, abs=0.5)
    assert share("deepseek-v4-flash", with_fp32, tokens) == pytest.approx(flash, abs=0.5)


def test_a_million_or_2_to_the_20():
    """At 1,000,000 tokens the variant without FP32 gives 27.02% and 10.16%, to the last digit."""
    assert share("deepseek-v4-pro", with_bf16, 10**6) == pytest.approx(27.02, abs=0.02)
    assert share("deepseek-v4-flash", with_bf16, 10**6) == pytest.approx(10.16, abs=0.005)


def test_composition_of_v4_pro():
    """In FP8-equivalents: linear ~33%, index ~20%, core ~47% of ~0.32 T."""
    count = arch.load("deepseek-v4-pro").decode_flops(MILLION)
    weighted = {c: float(f) * arch.FP8_EQUIVALENTS[count.precision[c]] for c, f in count.by_component.items()}
    whole = sum(weighted.values())
    assert whole / 1e12 == pytest.approx(0.32, abs=0.005)
    assert weighted["indexer"] / whole == pytest.approx(0.20, abs=0.005)
    assert weighted["core"] / whole == pytest.approx(0.47, abs=0.005)
    assert whole == pytest.approx(float(count.weighted()))


def test_a_precision_without_weight_is_named():
    with pytest.raises(ValueError, match=r"unknown precision 'bf16'.*fp8"):
        arch.load("llama-2-7b").decode_flops(10).weighted({"fp8": 1.0})


# --- MiMo's prefill --------------------------------------------------------------------------------------------


def rewindowed(attention, window):
    """The same attention with another window, if it has one."""
    return dataclasses.replace(attention, window=window) if attention.kind == "sliding" else attention


def all_full(model):
    """The same model with its full attention in every layer."""
    full = next(a for a, _ in model.layers if a.kind == "full")
    return dataclasses.replace(model, layers=tuple((full, ffn) for _, ffn in model.layers))


@pytest.mark.parametrize(
    ("tokens", "attention", "of_ten", "everything", "share_of_all"),
    [
        (8192, 5.89, 1.187, 1.23, 4.7),
        (32768, 6.68, 1.047, 1.85, 14.9),
        (131072, 6.92, 1.012, 3.39, 40.4),
        (MILLION, 6.99, 1.001, 6.05, 84.3),
    ],
)
@pytest.mark.parametrize("window", [128, 129])
def test_mimo_pro_prefill(tokens, attention, of_ten, everything, share_of_all, window):
    """What 60 windows save; 81,920 FLOPs per key and layer, 80.0 GFLOP of matrices per token (head excluded).

    The figures hold to the last digit where a query reads 128 earlier tokens and its own, as SGLang does; the
    catalog's 128 in all is within 0.25% of them.
    """
    pro = arch.load("mimo-v2.5-pro")
    pro = dataclasses.replace(pro, layers=tuple((rewindowed(a, window), ffn) for a, ffn in pro.layers))
    loose = 0.0025 if window == 128 else 0.0
    hybrid, full = pro.prefill_flops(tokens), all_full(pro).prefill_flops(tokens)
    core, core_full = float(hybrid.by_component["core"]), float(full.by_component["core"])
    matrices = float(hybrid.total) - core - float(hybrid.by_component["head"])
    assert core_full == 70 * 81_920 * tokens * (tokens + 1) / 2
    assert matrices / tokens / 1e9 == pytest.approx(80.0, abs=0.05)
    assert core_full / core == pytest.approx(attention, abs=0.005 + loose * attention)
    assert core / (core_full / 7) == pytest.approx(of_ten, abs=6e-4 + loose * of_ten)
    assert (matrices + core_full) / (matrices + core) == pytest.approx(everything, abs=0.005)
    assert 100 * core / (matrices + core) == pytest.approx(share_of_all, abs=0.05)


def test_mimo_pro_figure_1a():
    """arXiv 2607.13095 Fig. 1a, 6.3e18 and 0.9e18 FLOPs at 1M: comes out when causality's half is not taken."""
    pro = arch.load("mimo-v2.5-pro")
    causal = MILLION * (MILLION + 1) / 2
    read = next(a for a, _ in pro.layers if a.kind == "full").reads("prefill")[0]
    assert 70 * read.flops_per_entry * 2 * causal == pytest.approx(6.305e18, rel=2e-4)
    assert 70 * read.flops_per_entry * causal / float(pro.prefill_flops(MILLION).by_component["core"]) < 7
    assert float(pro.prefill_flops(MILLION).by_component["core"]) * 2 == pytest.approx(9.01e17, rel=2e-3)


# --- torch counts the same -------------------------------------------------------------------------------------

LLAMAS = {
    "llama-2-7b": {},
    "llama-3.1-70b": {
        "vocab_size": 128256,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}
DEPTH = 2


@pytest.fixture(scope="module", params=list(LLAMAS))
def pair(request):
    """The first two layers of a catalogued Llama, and transformers' model of them without weights."""
    model = arch.load(request.param)
    model = dataclasses.replace(model, layers=model.layers[:DEPTH])
    config = transformers.LlamaConfig(
        **LLAMAS[request.param], num_hidden_layers=DEPTH, attn_implementation="eager", max_position_embeddings=4096
    )
    with torch.device("meta"):
        return model, transformers.LlamaForCausalLM(config).eval()


def counted(module, new, cache=None):
    """FLOPs of a forward pass as torch's dispatcher sees them, and the cache it leaves."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = module(torch.zeros(1, new, dtype=torch.long, device="meta"), past_key_values=cache, logits_to_keep=1)
    return counter.get_total_flops(), out.past_key_values


def test_decode_is_what_torch_counts(pair):
    """A token after 299 others: the same FLOPs but for rotary angles (64 x positions, not a matrix of the model)."""
    model, module = pair
    _, cache = counted(module, 299)
    theirs, _ = counted(module, 1, cache)
    assert float(model.decode_flops(300).total) == pytest.approx(theirs, rel=1e-6)


def test_prefill_is_what_torch_counts(pair):
    """torch multiplies the masked half too: its attention is 2L/(L+1) times the causal one."""
    model, module = pair
    tokens = 257
    theirs, _ = counted(module, tokens)
    ours = model.prefill_flops(tokens)
    core = float(ours.by_component["core"])
    assert float(ours.total) + core * (2 * tokens / (tokens + 1) - 1) == pytest.approx(theirs, rel=1e-6)


# --- closed forms against brute force --------------------------------------------------------------------------

STRIDES = st.integers(1, 200)
CAPS = st.none() | st.integers(1, 300)


@given(stride=STRIDES, cap=CAPS, tokens=st.integers(0, 2000))
def test_entries_one_by_one(stride, cap, tokens):
    closed = sum(1 for i in range(1, tokens + 1) if i % stride == 0)
    expected = closed if cap is None else min(closed, cap)
    assert Entries(stride, cap).at(np.float64(tokens)) == expected


@given(stride=STRIDES, cap=CAPS, prefix=st.integers(0, 1000), new=st.integers(1, 1000))
def test_entries_summed_is_the_loop(stride, cap, prefix, new):
    entries = Entries(stride, cap)
    loop = sum(int(entries.at(np.float64(c))) for c in range(prefix + 1, prefix + new + 1))
    assert entries.summed(np.float64(prefix), np.float64(new)) == loop


def same_form(model):
    """Whether decode and prefill read alike: MLA does not, it expands in prefill and absorbs in decode."""
    return all(a.reads("decode") == a.reads("prefill") for a, _ in model.layers)


def test_only_mla_has_two_forms():
    two = {k for k in KEYS if not same_form(arch.load(k))}
    assert two == {k for k in KEYS if any(a.kind == "mla" for a, _ in arch.load(k).layers)}


#: Models of which a prompt's tokens run every layer.
EVEN = [k for k in KEYS if arch.load(k).record.prefill_layers is None]


@given(key=st.sampled_from(EVEN), prefix=st.integers(0, 3000), new=st.integers(1, 3000))
def test_decoding_a_prompt_computes_what_prefill_does(key, prefix, new):
    """Attention and index work of every token alone sum to that of the prompt; so do the matrices, but for the head."""
    model = arch.load(key)
    steps = model.decode_flops(np.arange(prefix + 1, prefix + new + 1))
    prompt = model.prefill_flops(new, prefix)
    assert steps.by_component.keys() == prompt.by_component.keys()
    for name, per_step in steps.by_component.items():
        if name == "head" or (not same_form(model) and name in ("core", "latent_up")):
            continue
        assert float(per_step.sum()) == pytest.approx(float(prompt.by_component[name]), rel=1e-12), name
    assert float(prompt.by_component["head"]) == float(steps.by_component["head"][0])


@given(key=st.sampled_from(EVEN), a=st.integers(1, 10**6), b=st.integers(1, 10**6))
def test_a_prompt_in_two_parts(key, a, b):
    """prefill(a) + prefill(b after a) = prefill(a + b) + one more head + the re-expansion of a's latents (MLA)."""
    model = arch.load(key)
    parts = float(model.prefill_flops(a).total) + float(model.prefill_flops(b, a).total)
    whole = float(model.prefill_flops(a + b).total)
    head = 2.0 * model.record.vocab * model.record.hidden
    # 512 dims up to nope + value per head; a window holds too few of the prefix to count
    latent = [layer for layer, _ in model.layers if layer.kind == "mla" and not layer.window]
    again = sum(2 * d.kv_rank * d.heads * (d.nope_dim + d.v_dim) * a for d in latent)
    assert parts - whole - head - again == pytest.approx(0, abs=1e-9 * whole)


def test_absorbed_and_expanded_mla():
    """arXiv 2412.19437 sec. 2.1: per key and head 576 + 512 dims in latent space, 192 + 128 expanded."""
    decode, prefill = (arch.load("deepseek-v3").layers[0][0].reads(phase)[0] for phase in ("decode", "prefill"))
    assert decode.flops_per_entry == 2 * 128 * 1088
    assert prefill.flops_per_entry == 2 * 128 * 320


def chunk_of(model):
    """Tokens after which some layers begin anew; 1 where none does."""
    entries = [store.entries for attention in model.attention_counts for store in attention.stores()]
    return math.lcm(*(each.cap for each in entries if each.restarts))


@given(key=st.sampled_from(KEYS), tokens=st.integers(1, 10**7), more=st.integers(0, 10**7))
def test_more_context_never_computes_less(key, tokens, more):
    model = arch.load(key)
    longer = tokens + more // chunk_of(model) * chunk_of(model)  # the first query of a chunk sees little of what was
    assert model.decode_flops(longer).total >= model.decode_flops(tokens).total
    assert model.prefill_flops(tokens + more).total >= model.prefill_flops(tokens).total
    assert model.prefill_flops(10, more).total >= model.prefill_flops(10).total


@given(key=st.sampled_from(KEYS), tokens=st.integers(1, 10**6))
def test_matrices_are_two_flops_per_active_parameter(key, tokens):
    model = arch.load(key)
    assert float(model.decode_flops(tokens).grouped()["linear"]) == pytest.approx(2 * model.params.active, rel=1e-9)


@given(
    key=st.sampled_from(KEYS),
    new=st.lists(st.integers(1, 5000), min_size=1, max_size=4),
    prefix=st.lists(st.integers(0, 5000), min_size=1, max_size=3),
)
def test_an_array_is_its_scalars(key, new, prefix):
    model = arch.load(key)
    together = model.prefill_flops(np.array(new)[:, None], np.array(prefix))
    assert together.total.shape == (len(new), len(prefix))
    for i, n in enumerate(new):
        for j, p in enumerate(prefix):
            one = model.prefill_flops(n, p)
            for name, part in one.by_component.items():
                assert np.broadcast_to(together.by_component[name], together.total.shape)[i, j] == part
    steps = model.decode_flops(new)
    assert [float(t) for t in steps.total] == [float(model.decode_flops(n).total) for n in new]
    assert [float(t) for t in steps.weighted()] == [float(model.decode_flops(n).weighted()) for n in new]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.filterwarnings("error")
def test_absurd_sizes_are_finite(key):
    model = arch.load(key)
    for count in (model.decode_flops(1e15), model.prefill_flops(1e15), model.prefill_flops(1, 1e15)):
        assert np.isfinite(count.total)
        assert np.isfinite(count.weighted())
        assert min(float(f) for f in count.by_component.values()) >= 0


def test_every_kind_is_in_some_model():
    """A kind without a model is tested by nothing here, and by nothing in test_kinds.py."""
    shapes = [getattr(kinds, name)() for name in ("qwen3_next", "kimi_linear", "nemotron", "minimax_text", "llama4")]
    every = [*arch.models().values(), *shapes, kinds.minimax_m3()]
    used = {a.kind for m in every for layer in (*m.layers, m.mtp_layer) if layer for a in layer[:1]}
    assert used == set(arch.KINDS)


def test_a_prompt_runs_the_first_layers_and_its_last_token_all():
    """DeepSeek-V4.1-Flash: what prefill computes is that of 21 layers, and of 19 more for one token."""
    model = arch.load("deepseek-v4.1-flash")
    first = dataclasses.replace(model, layers=model.layers[:21])
    rest = dataclasses.replace(model.record, prefill_layers=None)
    whole = dataclasses.replace(model, record=rest)
    for new, prefix in ((1, 0), (700, 0), (5000, 20_000)):
        prompt = model.prefill_flops(new, prefix).by_component
        start = first.prefill_flops(new, prefix).by_component
        last = whole.decode_flops(prefix + new).by_component
        early = first.decode_flops(prefix + new).by_component
        for name in prompt:
            once = last[name] - early.get(name, 0.0)
            ends = float(last["head"]) if name == "head" else float(start.get(name, 0.0) + once)
            assert float(prompt[name]) == pytest.approx(ends, rel=1e-12), name
