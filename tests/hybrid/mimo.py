"""transformers' MiMo-V2-Flash with small dimensions of `costlab.arch`, and our stack with the same weights.

Oracle: transformers 5.23.0 (mimo_v2_flash), eager attention. Its mask lets a query see key positions
q - window < k <= q: `sliding_window` keys, the query's own among them, and its cache keeps one fewer between steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from oracles import Oracle, copy_weights, randomise
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.models.mimo_v2_flash import modeling_mimo_v2_flash as hf

from costlab import arch
from costlab.nn.attention import Rope, build_layer
from costlab.nn.decoder import Decoder, Scale, scaled

HIDDEN, WINDOW = 48, 6
NAMES = {"full": "full_attention", "sliding": "sliding_attention"}
THETA = {"full": 5e6, "sliding": 1e4}
VALUE_SCALE = 0.707
_DIMS: dict[str, Any] = {"heads": 8, "rope_dim": 8, "qk_dim": 24, "v_dim": 16, "entry": ((24, "fp32"), (16, "fp32"))}
FULL = arch.FullAttention(kv_heads=2, **_DIMS)
SLIDING = arch.SlidingWindow(kv_heads=4, window=WINDOW, sink=True, **_DIMS)


def config(model: arch.Model, **options: Any) -> Any:
    """transformers' configuration of a model of full and sliding layers."""
    layers, running = model.layers, model.record.running
    (full,) = {a for a, _ in layers if not isinstance(a, arch.SlidingWindow)}
    (sliding,) = {a for a, _ in layers if isinstance(a, arch.SlidingWindow)}
    assert sliding.kv_heads == 2 * full.kv_heads, "transformers doubles the KV heads of sliding layers"
    dense = next((f for _, f in layers if isinstance(f, arch.Dense)), arch.Dense(8))
    experts = next((f for _, f in layers if isinstance(f, arch.MoE)), arch.MoE(4, 2, 8))
    options = {"sliding_window": sliding.window, **options}
    return hf.MiMoV2FlashConfig(
        vocab_size=model.record.vocab,
        hidden_size=model.record.hidden,
        intermediate_size=dense.inner,
        num_hidden_layers=len(layers),
        num_attention_heads=full.heads,
        num_key_value_heads=full.kv_heads,
        head_dim=full.qk_dim,
        v_head_dim=full.v_dim,
        rms_norm_eps=running.norm_eps,
        moe_intermediate_size=experts.inner,
        n_routed_experts=experts.experts,
        num_experts_per_tok=experts.top_k,
        layer_types=[NAMES[a.kind] for a, _ in layers],
        mlp_layer_types=["dense" if isinstance(f, arch.Dense) else "sparse" for _, f in layers],
        attention_value_scale=running.value_scale,
        rope_parameters={
            NAMES[kind]: {
                "rope_type": "default",
                "rope_theta": theta,
                "partial_rotary_factor": (full.rope_dim + 0.01) / full.qk_dim,  # it rounds down
            }
            for kind, theta in running.rope_theta.items()
        },
        attn_implementation="eager",
        experts_implementation="eager",  # the grouped kernel knows no float64
        pad_token_id=None,
        **options,
    )


def small(model: str, window: int | None = None) -> arch.Model:
    """A catalog model scaled down, its cache in FP32 so that storage rounds nothing, its window as wished."""
    toy = scaled(arch.load(model), Scale(vocab=1024))

    def changed(dims: arch.Attention) -> arch.Attention:
        fp32 = dataclasses.replace(dims, entry=tuple((count, "fp32") for count, _ in dims.entry))
        return dataclasses.replace(fp32, window=window) if window and isinstance(fp32, arch.SlidingWindow) else fp32

    return dataclasses.replace(toy, layers=tuple((changed(a), f) for a, f in toy.layers))


def of_layers(model: arch.Model, numbers: slice) -> arch.Model:
    """The same model with some of its layers."""
    return dataclasses.replace(model, layers=model.layers[numbers])


# --- one attention layer ---------------------------------------------------------------------------------------

ATTENTION_NAMES = {f"{ours}.weight": f"{ours[0]}_proj.weight" for ours in ("query", "key", "value", "output")}


def attention_oracle(kind: str, window: int) -> Oracle:
    """MiMo's layer of a kind, with random weights."""
    dims = {"full": FULL, "sliding": dataclasses.replace(SLIDING, window=window)}
    record = dataclasses.replace(arch.load("mimo-v2-flash").record, hidden=HIDDEN, vocab=8)
    # layer 0 is of the wanted kind; one of each must be there, for a configuration describes both
    order = [kind, *({"full", "sliding"} - {kind})]
    given = config(arch.Model("toy", record, tuple((dims[k], arch.Dense(8)) for k in order)))
    layer, rotary = randomise(hf.MiMoV2FlashAttention(given, 0)), hf.MiMoV2FlashRotaryEmbedding(given)
    return Oracle(layer, rotary, given, kind == "sliding", lambda rotary, x, at: rotary(x, at, NAMES[kind]))


def attention_pair(kind: str, theirs: int = WINDOW, ours: int = WINDOW) -> tuple[Oracle, Any]:
    """The oracle and our layer with the same weights; the windows may differ."""
    oracle = attention_oracle(kind, theirs)
    dims = FULL if kind == "full" else dataclasses.replace(SLIDING, window=ours)
    layer = build_layer(dims, HIDDEN, Rope(THETA[kind]), value_scale=VALUE_SCALE)
    copy_weights(oracle.layer, layer, ATTENTION_NAMES | ({"sink": "sinks"} if kind == "sliding" else {}))
    return oracle, layer.eval()


# --- a whole model ---------------------------------------------------------------------------------------------


def _block_names(number: int, block: nn.Module) -> dict[str, str]:
    ours, theirs = f"stack.blocks.{number}", f"model.layers.{number}"
    names = {f"{ours}.attention.{a}": f"{theirs}.self_attn.{b}" for a, b in ATTENTION_NAMES.items()}
    names |= {f"{ours}.attention.sink": f"{theirs}.self_attn.sinks"}
    names |= {f"{ours}.attention_norm.weight": f"{theirs}.input_layernorm.weight"}
    names |= {f"{ours}.ffn_norm.weight": f"{theirs}.post_attention_layernorm.weight"}
    names |= {f"{ours}.ffn.gate.weight": f"{theirs}.mlp.gate.weight"}
    names |= {f"{ours}.ffn.down": f"{theirs}.mlp.down_proj.weight"}
    experts = {"gate_up": "gate_up_proj", "down": "down_proj"}
    return names | {f"{ours}.ffn.experts.{a}": f"{theirs}.mlp.experts.{b}" for a, b in experts.items()}


def pair(model: arch.Model, seed: int = 0, **options: Any) -> tuple[Any, Decoder]:
    """transformers' whole model and ours, with the same random weights and router biases.

    In float64, so that rounding does not pile up over 48 layers; norms, angles and routers stay float32 there.
    """
    oracle = randomise(hf.MiMoV2FlashForCausalLM(config(model, **options)), seed).eval().double()
    ours = Decoder(model).eval().double()
    theirs = dict(oracle.named_parameters()) | dict(oracle.named_buffers())
    names = {"embedding.weight": "model.embed_tokens.weight", "head.weight": "lm_head.weight"}
    names |= {"stack.norm.weight": "model.norm.weight"}
    for number, block in enumerate(ours.stack.blocks):
        names |= _block_names(number, block)
    used = set()
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            if name.endswith("ffn.gate_up"):  # a dense layer: two matrices there, one here
                mlp = f"model.layers.{name.split('.')[2]}.mlp"
                parts = [f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"]
                weight.copy_(torch.cat([theirs[p] for p in parts]))
                used |= set(parts)
            else:
                weight.copy_(theirs[names[name]])
                used.add(names[name])
        for name, bias in ours.named_buffers():
            if name.endswith("ffn.gate.bias"):
                steer = theirs[f"model.layers.{name.split('.')[2]}.mlp.gate.e_score_correction_bias"]
                bias.copy_(steer.copy_(0.1 * torch.randn(bias.shape, generator=torch.Generator().manual_seed(seed))))
    assert used == set(dict(oracle.named_parameters())), "weights of the oracle that ours lack"
    return oracle, ours


@torch.no_grad()
def oracle_in_pieces(oracle: Any, tokens: Tensor, sizes: list[int]) -> Tensor:
    """Read chunks through transformers' own cache."""
    cache = DynamicCache(config=oracle.config)
    return torch.cat(
        [oracle(chunk, past_key_values=cache, use_cache=True).logits for chunk in tokens.split(sizes, 1)], 1
    )


def some_tokens(model: arch.Model, count: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(model.record.vocab, (batch, count), generator=generator)
