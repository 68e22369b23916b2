"""Models of the kinds that the catalog's models have or lack: their dimensions, and transformers' configurations.

Each is a whole published shape, or transformers' class default which names it, so that its count is checked against a
class on the meta device; `tiny` ones run a forward pass.
"""

from datetime import date

import transformers

from costlab import arch, catalog
from costlab.arch.experts import FFN_KINDS
from costlab.catalog import LayerRun, ModelRecord, Routing

BIASED = Routing("sigmoid", bias=True)
PLACE = catalog.place_of("llama-2-7b")
assert FFN_KINDS  # the names of feed-forward kinds are those of the tables below


def record(hidden, vocab, layers, attention, ffn, **more):
    """A record of these runs of (repeat, pairs) and tables."""
    runs = tuple(LayerRun(n, tuple(pairs)) for n, pairs in layers)
    plain = {"default": "bf16"}
    return ModelRecord(
        name="test", maker="test", hidden=hidden, vocab=vocab, context=4096, source="test", date=date(2026, 11, 25),
        layers=runs, attention=attention, ffn=ffn, weights=plain, math=plain, **more,
    )  # fmt: skip


def model(*args, **more):
    return arch.build("test", record(*args, **more), PLACE)


def kv(dim, v=None):
    return ((dim, "bf16"), (v or dim, "bf16"))


def gqa(heads, kv_heads, dim, kind="full", **more):
    return {
        "kind": kind, "heads": heads, "kv_heads": kv_heads, "qk_dim": dim, "v_dim": dim, "rope_dim": dim,
        "entry": [list(part) for part in kv(dim)], **more,
    }  # fmt: skip


def mla(heads, nope, rope, v, q_rank, kv_rank, kind="mla", **more):
    entry = [[kv_rank, "bf16"], [rope, "bf16"]] if rope else [[kv_rank, "bf16"]]
    sizes = {"nope_dim": nope, "rope_dim": rope, "v_dim": v, "q_rank": q_rank, "kv_rank": kv_rank}
    return {"kind": kind, "heads": heads, **sizes, "entry": entry, **more}


def moe(experts, top_k, inner, bias=False, **more):
    routing = {"score": "sigmoid", "bias": True} if bias else {"score": "softmax"}
    return {"kind": "moe", "experts": experts, "top_k": top_k, "inner": inner, "routing": routing, **more}


NONE = {"kind": "none"}


def delta(key_heads, heads, dim, conv=4):
    sizes = {"key_heads": key_heads, "key_dim": dim, "value_dim": dim, "conv_width": conv}
    return {"kind": "gated-delta", "heads": heads, **sizes}


def qwen3_next():
    full = gqa(16, 2, 256, qk_norm=True, gate_dim=256)
    ffn = moe(512, 10, 512, shared=1, shared_gate=True)
    runs = [(12, [("delta", "moe")] * 3 + [("full", "moe")])]
    return model(2048, 151936, runs, {"delta": delta(16, 32, 128), "full": full}, {"moe": ffn})


def kda(heads, dim, **more):
    return {"kind": "kda", "heads": heads, "head_dim": dim, "conv_width": 4, **more}


def kimi_linear():
    attention = {
        "kda": kda(32, 128, decay_rank=128, gate_rank=128),
        "mla": mla(32, 128, 64, 128, 0, 512),
    }
    ffn = {"dense": {"kind": "dense", "inner": 9216}, "moe": moe(256, 8, 1024, bias=True, shared=1)}
    config = transformers.KimiLinearConfig()
    words = {"linear_attention": "kda", "full_attention": "mla", "dense": "dense", "sparse": "moe"}
    pairs = [(words[a], words[f]) for a, f in zip(config.layer_types, config.mlp_layer_types, strict=True)]
    return model(2304, 163840, [(1, pairs)], attention, ffn)


def ling():
    """Ling-3.0-Flash: both gates of full rank, one gate a head in MLA."""
    attention = {"kda": kda(32, 128), "mla": mla(32, 128, 64, 128, 0, 512, gate_dim=1)}
    ffn = {"dense": {"kind": "dense", "inner": 6144}, "moe": moe(512, 8, 768, bias=True, shared=1)}
    config = transformers.BailingHybridConfig()
    words = {"linear_attention": "kda", "full_attention": "mla", "dense": "dense", "sparse": "moe"}
    pairs = [(words[a], words[f]) for a, f in zip(config.layer_types, config.mlp_layer_types, strict=True)]
    return model(2560, 157184, [(1, pairs)], attention, ffn)


def nemotron(hidden=2688, vocab=131072, pattern="MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", **sizes):
    """Nemotron-3-Nano: each layer is one part, experts of two matrices."""
    attention = {
        "mamba": {
            "kind": "mamba2", "heads": 64, "head_dim": 64, "state_dim": 128, "groups": 8, "conv_width": 4,
            **sizes.get("mamba", {}),
        },
        "full": {**gqa(32, 2, 128), **sizes.get("full", {})},
        "none": NONE,
    }  # fmt: skip
    ffn = {"moe": moe(128, 6, 1856, bias=True, gated=False, shared=1, shared_inner=3712), "none": NONE}
    words = {"M": ("mamba", "none"), "*": ("full", "none"), "E": ("none", "moe")}
    runs = [(1, [words[letter] for letter in pattern])]
    return model(hidden, vocab, runs, attention, ffn | sizes.get("ffn", {}))


def nemotron_config(pattern="MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", **sizes):
    words = {"M": "linear_attention", "*": "full_attention", "E": "moe"}
    said = {
        "hidden_size": 2688, "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128,
        "mamba_num_heads": 64, "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4,
        "n_routed_experts": 128, "num_experts_per_tok": 6, "moe_intermediate_size": 1856,
        "moe_shared_expert_intermediate_size": 3712, "n_shared_experts": 1, "vocab_size": 131072,
    }  # fmt: skip
    return transformers.NemotronHConfig(layers_block_type=[words[letter] for letter in pattern], **(said | sizes))


def nemotron_latent():
    """One layer of Nemotron-3-Super's experts, which read and write a latent 1,024 wide."""
    latent = {"moe": moe(512, 22, 2688, bias=True, gated=False, shared=1, shared_inner=5376, latent=1024)}
    return nemotron(4096, 1000, "E", ffn=latent)


def nemotron_latent_config():
    said = {
        "hidden_size": 4096, "vocab_size": 1000, "n_routed_experts": 512, "num_experts_per_tok": 22,
        "moe_intermediate_size": 2688, "moe_shared_expert_intermediate_size": 5376, "moe_latent_size": 1024,
    }  # fmt: skip
    return nemotron_config("E", **said)


def minimax_text():
    attention = {"full": gqa(32, 8, 128), "lightning": {"kind": "lightning", "heads": 32, "head_dim": 128}}
    runs = [(16, [("full", "moe"), ("lightning", "moe")])]
    return model(4096, 32000, runs, attention, {"moe": moe(8, 2, 14336)})


def minimax_m3():
    """Three layers of MiniMax-M3: one full and dense, two block-sparse with experts."""
    sparse = {"index_heads": 4, "index_dim": 128, "block": 128, "top_k": 16, "index_key": [[128, "bf16"]]}
    attention = {
        "full": gqa(64, 4, 128, qk_norm=True),
        "sparse": gqa(64, 4, 128, "block-sparse", qk_norm=True, **sparse),
    }
    ffn = {"dense": {"kind": "dense", "inner": 12288}, "moe": moe(128, 4, 3072, bias=True, shared=1)}
    runs = [(1, [("full", "dense")]), (2, [("sparse", "moe")])]
    return model(6144, 200064, runs, attention, ffn)


def minimax_m3_config():
    from transformers.models.minimax_m3_vl.configuration_minimax_m3_vl import MiniMaxM3VLTextConfig

    return MiniMaxM3VLTextConfig(
        num_hidden_layers=3,
        layer_types=["full_attention", "minimax_m3_sparse", "minimax_m3_sparse"],
        mlp_layer_types=["dense", "sparse", "sparse"],
    )


def gpt_oss(layers=36, experts=128):
    said = {"sink": True, "qkv_bias": True, "output_bias": True}
    attention = {"full": gqa(64, 8, 64, **said), "window": gqa(64, 8, 64, "sliding", window=128, **said)}
    runs = [(layers // 2, [("window", "moe"), ("full", "moe")])]
    return model(2880, 201088, runs, attention, {"moe": moe(experts, 4, 2880, biases=True)})


def gemma4():
    attention = {
        "window": gqa(16, 8, 256, "sliding", qk_norm=True, window=1024),
        "full": gqa(16, 2, 512, qk_norm=True, shares_values=True),
    }
    runs = [(5, [("window", "moe")] * 5 + [("full", "moe")])]
    ffn = {"moe": moe(128, 8, 704, beside=2112, scales=True)}
    return model(2816, 262144, runs, attention, ffn, tied=True, norms=2)


def gemma4_config():
    from transformers.models.gemma4.configuration_gemma4 import Gemma4TextConfig

    return Gemma4TextConfig(
        vocab_size=262144, hidden_size=2816, intermediate_size=2112, num_hidden_layers=30, num_attention_heads=16,
        num_key_value_heads=8, head_dim=256, global_head_dim=512, num_global_key_value_heads=2, sliding_window=1024,
        enable_moe_block=True, num_experts=128, top_k_experts=8, moe_intermediate_size=704, attention_k_eq_v=True,
        hidden_size_per_layer_input=0, tie_word_embeddings=True,
    )  # fmt: skip


def llama4():
    """Llama-4-Scout."""
    attention = {"chunked": gqa(40, 8, 128, "chunked", chunk=8192), "full": gqa(40, 8, 128)}
    runs = [(12, [("chunked", "moe")] * 3 + [("full", "moe")])]
    return model(5120, 202048, runs, attention, {"moe": moe(16, 1, 8192, shared=1)})


def llama4_config(**more):
    from transformers.models.llama4.configuration_llama4 import Llama4TextConfig

    return Llama4TextConfig(**more)


def minimax_m2():
    full = gqa(48, 8, 128, qk_norm_whole=True)
    return model(3072, 200064, [(62, [("full", "moe")])], {"full": full}, {"moe": moe(256, 8, 1536, bias=True)})


def minimax_m2_config():
    return transformers.MiniMaxM2Config(
        hidden_size=3072, num_hidden_layers=62, num_attention_heads=48, num_key_value_heads=8, head_dim=128,
        intermediate_size=1536, vocab_size=200064, num_local_experts=256, num_experts_per_tok=8,
    )  # fmt: skip


INDEXER = {"index_heads": 32, "index_dim": 128, "top_k": 2048, "index_key": [[128, "fp8"], [1, "fp32"]]}


def glm_52():
    """GLM-5.2: 21 of 78 layers own an indexer."""
    shape = (64, 192, 64, 256, 2048, 512, "dsa")
    attention = {"own": mla(*shape, **INDEXER), "borrow": mla(*shape, **INDEXER, owns_index=False)}
    ffn = {"dense": {"kind": "dense", "inner": 12288}, "moe": moe(256, 8, 2048, bias=True, shared=1)}
    owners = {0, 1, 2, *range(6, 78, 4)}
    pairs = [("own" if i in owners else "borrow", "dense" if i < 3 else "moe") for i in range(78)]
    return model(6144, 154880, [(1, pairs)], attention, ffn)


def glm_52_config():
    owners = {0, 1, 2, *range(6, 78, 4)}
    return transformers.GlmMoeDsaConfig(indexer_types=["full" if i in owners else "shared" for i in range(78)])


def glm_53_flash():
    """GLM-5.3-Flash: KDA, and indexed layers without rotation whose index keys are pooled; without output head."""
    attention = {
        "kda": kda(64, 128, decay_rank=128, gate_rank=128),
        "dsa": mla(64, 256, 0, 256, 1536, 512, "dsa", **INDEXER, index_pool=16),
    }
    ffn = {"dense": {"kind": "dense", "inner": 12288}, "moe": moe(288, 8, 2048, bias=True, shared=1)}
    pairs = [("dsa" if i % 4 == 3 else "kda", "dense" if i < 3 else "moe") for i in range(45)]
    return model(4096, 154880, [(1, pairs)], attention, ffn, residual_streams=4)


def mistral_large_4():
    """Mistral-Large-4: queries by one matrix, no rotation in every fourth layer, learned scales; without head."""
    rotated = mla(64, 64, 64, 128, 0, 512, "dsa", **INDEXER, head_scale=True, index_extras=True)
    still = mla(64, 128, 0, 128, 0, 512, "dsa", **INDEXER, head_scale=True, index_extras=True)
    ffn = {"dense": {"kind": "dense", "inner": 24576}, "moe": moe(128, 4, 6144, bias=True, shared=1)}
    pairs = [("still" if i % 4 == 3 else "rotated", "dense" if i < 1 else "moe") for i in range(72)]
    return model(6144, 204800, [(1, pairs)], {"rotated": rotated, "still": still}, ffn)
