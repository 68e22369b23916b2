"""DeepSeek-V4 as a whole: streams of the residual, experts chosen by token, all three attention kinds.

Oracle: transformers 5.23 (deepseek_v4), eager, in one small model with the same weights.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from attention import dims as d
from attention.oracles import V4_NAMES, V4_TYPES
from oracles import randomise
from torch import Tensor
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as hf

from costlab import arch
from costlab.catalog import Routing
from costlab.nn.decoder import Decoder, allocated_bytes, in_pieces
from costlab.nn.residual import HyperConnection, doubly_stochastic

HASH = arch.MoE(8, 2, 16, 1, clamp=0.5, routing=Routing("sqrt-softplus", select="token-table", scale=1.5))
TOPK = dataclasses.replace(HASH, routing=Routing("sqrt-softplus", bias=True, scale=1.5))
LAYERS = ((d.WINDOW, HASH), (d.HCA, HASH), (d.CSA, HASH), (d.HCA, TOPK), (d.CSA, TOPK))
TOKENS, VOCAB = 41, 97


def small() -> arch.Model:
    """V4-Flash's record, rotary bases and stretch, streams and all, with few layers and small dimensions."""
    record = dataclasses.replace(arch.load("deepseek-v4-flash").record, hidden=d.HIDDEN, vocab=VOCAB)
    return arch.Model("small", record, LAYERS)


def config() -> Any:
    yarn = {"rope_type": "yarn", "factor": 16, "original_max_position_embeddings": 65536}
    return hf.DeepseekV4Config(
        vocab_size=VOCAB,
        hidden_size=d.HIDDEN,
        moe_intermediate_size=HASH.inner,
        num_hidden_layers=len(LAYERS),
        num_attention_heads=d.CSA.heads,
        head_dim=d.CSA.head_dim,
        q_lora_rank=d.CSA.q_rank,
        num_experts_per_tok=HASH.top_k,
        n_routed_experts=HASH.experts,
        routed_scaling_factor=1.5,
        swiglu_limit=HASH.clamp,
        partial_rotary_factor=d.CSA.rope_dim / d.CSA.head_dim,
        layer_types=[V4_TYPES[type(a)] for a, _ in LAYERS],
        mlp_layer_types=["hash_moe" if f is HASH else "moe" for _, f in LAYERS],
        compress_rates={"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
        rope_parameters={**yarn, "beta_fast": 32, "beta_slow": 1},
        sliding_window=d.CSA.window,
        o_groups=d.CSA.groups,
        o_lora_rank=d.CSA.group_dim,
        index_n_heads=d.CSA.index_heads,
        index_head_dim=d.CSA.index_dim,
        index_topk=d.CSA.top_k,
        attn_implementation="eager",
        experts_implementation="eager",
        pad_token_id=None,
    )


@torch.no_grad()
def copied(theirs: Any) -> Decoder:
    """Ours with the oracle's weights; none may be left over."""
    ours, rest = Decoder(small()).eval(), dict(theirs.state_dict())

    def take(name: str) -> Tensor:
        return rest.pop(name)

    def mixer(part: Any, prefix: str, dot: str) -> None:
        for mine, name in (("project", "fn"), ("bias", "base"), ("scale", "scale")):
            getattr(part, mine).copy_(take(f"{prefix}{dot}{name}"))

    ours.embedding.weight.copy_(take("model.embed_tokens.weight"))
    ours.head.weight.copy_(take("lm_head.weight"))
    ours.stack.norm.weight.copy_(take("model.norm.weight"))
    mixer(ours.stack.collapse, "model.hc_head.hc_", "")
    for number, block in enumerate(ours.stack.blocks):
        at = f"model.layers.{number}"
        mixer(block.attention_residual, f"{at}.attn_hc", ".")
        mixer(block.ffn_residual, f"{at}.ffn_hc", ".")
        block.attention_norm.weight.copy_(take(f"{at}.input_layernorm.weight"))
        block.ffn_norm.weight.copy_(take(f"{at}.post_attention_layernorm.weight"))
        for name, weight in block.attention.named_parameters():
            weight.copy_(take(f"{at}.self_attn.{V4_NAMES[name]}").reshape(weight.shape))
        gate, experts, shared = block.ffn.gate, block.ffn.experts, block.ffn.shared
        gate.weight.copy_(take(f"{at}.mlp.gate.weight"))
        for buffer, name in (("bias", "e_score_correction_bias"), ("table", "tid2eid")):
            if hasattr(gate, buffer):
                getattr(gate, buffer).copy_(take(f"{at}.mlp.gate.{name}"))
        experts.gate_up.copy_(take(f"{at}.mlp.experts.gate_up_proj"))
        experts.down.copy_(take(f"{at}.mlp.experts.down_proj"))
        shared.gate_up.copy_(torch.cat([take(f"{at}.mlp.shared_experts.{n}_proj.weight") for n in ("gate", "up")]))
        shared.down.copy_(take(f"{at}.mlp.shared_experts.down_proj.weight"))
    assert not rest, f"weights of the oracle that ours lack: {sorted(rest)}"
    return ours


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    theirs = randomise(hf.DeepseekV4ForCausalLM(config()))
    for layer in theirs.model.layers:
        gate = layer.mlp.gate
        if hasattr(gate, "tid2eid"):
            gate.tid2eid.copy_(torch.rand(VOCAB, HASH.experts).topk(HASH.top_k).indices)
        else:
            gate.e_score_correction_bias.copy_(0.2 * torch.randn(HASH.experts))
    return theirs, copied(theirs)


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(VOCAB, (2, TOKENS), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_prompt_gives_the_logits_of_transformers(pair, tokens):
    theirs, ours = pair
    wanted = theirs(tokens, use_cache=False).logits
    torch.testing.assert_close(ours(tokens), wanted, rtol=0, atol=2e-4 * wanted.std().item())


@torch.no_grad()
def test_token_by_token_gives_the_logits_of_transformers(pair, tokens):
    theirs, ours = pair
    past, wanted = None, []
    for token in tokens.split(1, 1):
        step = theirs(token, past_key_values=past, use_cache=True)
        past, wanted = step.past_key_values, [*wanted, step.logits]
    logits = torch.cat(wanted, 1)
    got = in_pieces(ours, tokens, [1] * TOKENS)
    torch.testing.assert_close(got, logits, rtol=0, atol=2e-4 * logits.std().item())


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[40, 1], [7, 1, 20, 13], [16, 16, 9]])
def test_chunks_change_nothing(pair, tokens, sizes):
    _, ours = pair
    cache = ours.new_cache(2, TOKENS)
    whole = ours(tokens)
    torch.testing.assert_close(in_pieces(ours, tokens, sizes, cache), whole, rtol=0, atol=2e-4 * whole.std().item())
    cache.check()


@torch.no_grad()
def test_it_goes_through_export(tokens):
    """Two of the layers: one that knows experts by token, and one that chooses entries and experts by score."""
    model = small()  # whose streams are mixed by a step repeated 20 times: the graph needs two
    record = dataclasses.replace(model.record, running=dataclasses.replace(model.record.running, sinkhorn_steps=2))
    ours = Decoder(dataclasses.replace(model, record=record, layers=(LAYERS[0], LAYERS[4]))).eval()
    few = tokens[:, :18]
    graph = torch.export.export(ours, (few,)).module()
    torch.testing.assert_close(graph(few), ours(few), rtol=0, atol=1e-4)


# --- hyper-connections -----------------------------------------------------------------------------------------


@torch.no_grad()
def test_streams_against_the_equations():
    """arXiv 2606.19348 eq. 3-8 in NumPy, one token at a time, in float64."""
    n, hidden, steps = 4, 6, 20
    torch.manual_seed(0)
    connection = randomise(HyperConnection(hidden, n, steps)).double()
    x, f = torch.randn(2, 3, n, hidden).double(), torch.randn(hidden, hidden).double()
    got = connection(x, lambda h: h @ f)
    w, b, s = (p.numpy() for p in (connection.project, connection.bias, connection.scale))
    for at in itertools.product(range(2), range(3)):
        streams = x[at].numpy()
        flat = streams.ravel() / np.sqrt(np.mean(streams**2) + 1e-6)
        a, c, m = np.split(w @ flat * np.repeat(s, [n, n, n * n]) + b, [n, 2 * n])
        mix = np.exp(m.reshape(n, n))
        for _ in range(steps):
            mix /= mix.sum(1, keepdims=True)
            mix /= mix.sum(0, keepdims=True)
        read, write = 1 / (1 + np.exp(-a)), 2 / (1 + np.exp(-c))
        wanted = mix.T @ streams + np.outer(write, read @ streams @ f.numpy())
        np.testing.assert_allclose(got[at].numpy(), wanted, rtol=0, atol=3e-4)  # the kernel's guards of 1e-6


def test_mixing_weights_are_doubly_stochastic():
    """Columns to rounding; rows as far as 20 steps come. Large logits overflow nothing."""
    logits = torch.randn(50, 4, 4, generator=torch.Generator().manual_seed(0))
    mix = doubly_stochastic(logits, 20)
    assert (mix > 0).all()
    torch.testing.assert_close(mix.sum(-2), torch.ones(50, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(mix.sum(-1), torch.ones(50, 4), rtol=0, atol=0.02)
    assert doubly_stochastic(3e4 * logits, 20).isfinite().all()


# --- real dimensions, on the meta device -----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "deepseek-v4-flash"])
def test_real_dimensions_have_the_parameters_that_arch_counts(model):
    """The report's tables count matrices; of the streams' weights arch leaves out biases and factors."""
    original = arch.load(model)
    with torch.device("meta"):
        decoder = Decoder(original)
    biases = sum(b.numel() for name, b in decoder.named_buffers() if name.endswith("gate.bias"))
    streams = original.record.residual_streams
    mixers = 2 * len(original.layers) * (2 * streams + streams**2 + 3) + streams + 1
    assert sum(p.numel() for p in decoder.parameters()) + biases == original.params.total + mixers
    tables = [block.ffn.gate.table.shape for block in decoder.stack.blocks if hasattr(block.ffn.gate, "table")]
    assert tables == [(129_280, 6)] * 3


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "deepseek-v4-flash"])
def test_real_dimensions_allocate_what_arch_counts(model):
    original, contexts = arch.load(model), (128, 4096, 1_048_576)
    for tokens, measured in zip(contexts, allocated_bytes(original, contexts), strict=True):
        size = original.kv_bytes(tokens)
        assert measured == {part: int(getattr(size, part)) for part in measured}


def test_layers_turn_as_published():
    """config.json and inference/model.py of V4-Flash: windows alone at 1e4, compressed layers at 1.6e5 with YaRN."""
    with torch.device("meta"):
        ropes = [block.attention.rope for block in Decoder(arch.load("deepseek-v4-flash")).stack.blocks]
    assert [rope.theta for rope in ropes] == [1e4] * 2 + [1.6e5] * 41
    assert [rope.yarn is None for rope in ropes] == [True] * 2 + [False] * 41
    assert ropes[2].yarn.factor == 16 and ropes[2].yarn.original_context == 65_536
