"""Which reader knows which `model_type`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from costlab.arch.configs.blueprint import Blueprint
from costlab.arch.configs.families import experts, hybrid, indexed, latent, mamba, plain, recurrent, relative, sparse
from costlab.arch.configs.fields import Fields

FamilyReader = Callable[[Fields], Blueprint]

#: Readers by `model_type`, of a text part where the model has others.
READERS: Mapping[str, FamilyReader] = {
    **dict.fromkeys(("llama", "granite", "smollm3", "seed_oss"), plain.llama),
    **dict.fromkeys(("mistral", "ministral", "ministral3", "phi3"), plain.mistral),
    **dict.fromkeys(("qwen2", "mimo"), plain.qwen2),
    **dict.fromkeys(("qwen3", "qwen3_vl_text"), plain.qwen3),
    **dict.fromkeys(("olmo2", "olmo3"), plain.olmo),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), plain.gemma),
    **dict.fromkeys(("glm", "glm4"), plain.glm4),
    "ernie4_5": plain.ernie,
    "hunyuan_v1_dense": plain.hunyuan,
    "exaone4": plain.exaone,
    "mixtral": experts.mixtral,
    **dict.fromkeys(("qwen2_moe", "qwen3_moe", "qwen3_vl_moe_text"), experts.qwen_moe),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), experts.qwen_next),
    "gpt_oss": experts.gpt_oss,
    "llama4_text": experts.llama4,
    "gemma4_text": experts.gemma4,
    "minimax_m2": experts.minimax_m2,
    "minimax_m3_vl_text": sparse.minimax_m3,
    "minimax_m3": sparse.minimax_m3,
    **dict.fromkeys(("mimo_v2", "mimo_v2_flash"), experts.mimo_v2),
    **dict.fromkeys(("glm4_moe", "dots1", "hy_v3"), experts.glm4_moe),
    "ernie4_5_moe": experts.ernie_moe,
    **dict.fromkeys(("step3p5", "step3p7", "step3p7_text"), sparse.step3),
    "deepseek_v2": latent.deepseek_v2,
    **dict.fromkeys(
        ("deepseek_v3", "kimi_k2", "deepseek_v32", "glm_moe_dsa", "glm4_moe_lite"), latent.deepseek_v3
    ),
    **dict.fromkeys(("deepseek_v4", "deepseek_ref"), latent.deepseek_v4),
    "kimi_linear": latent.kimi_linear,
    "glm5_next_text": hybrid.glm5_next,
    "bailing_hybrid": hybrid.bailing_hybrid,
    "mistral_large4_text": indexed.mistral_large4,
    "hy_v4": indexed.hy_v4,
    "dots3_note_text": indexed.dots3,
    "inkling2_text": relative.inkling2,
    "nemotron_h": recurrent.nemotron_h,
    "granitemoehybrid": mamba.granite_hybrid,
    "bamba": mamba.bamba,
    "minimax": recurrent.minimax,
}  # fmt: skip

#: Models with other parts around their text: its `model_type` where `text_config` leaves it out.
OUTER: Mapping[str, str] = {
    "dots3_note": "dots3_note_text",
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "glm5_next": "glm5_next_text",
    "inkling2": "inkling2_text",
    "kimi_k25": "deepseek_v3",
    "kimi_k3": "kimi_linear",
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "mistral_large4": "mistral_large4_text",
    "minimax_m3_vl": "minimax_m3_vl_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text",
    "step3p7": "step3p5",
    "llava": "llama",
    "pixtral": "mistral",
}

#: Who makes the models of a `model_type`, by how it begins.
MAKERS: Mapping[str, str] = {
    "bailing": "Ant Group", "bamba": "IBM", "deepseek": "DeepSeek", "dots": "rednote", "ernie": "Baidu", "exaone": "LG",
    "gemma": "Google", "glm": "Z.ai", "gpt_oss": "OpenAI", "granite": "IBM", "hunyuan": "Tencent", "hy_": "Tencent",
    "inkling": "Thinking Machines", "kimi": "Moonshot AI", "llama": "Meta", "mimo": "Xiaomi", "minimax": "MiniMax",
    "mi": "Mistral AI", "nemotron": "NVIDIA", "olmo": "Ai2", "phi": "Microsoft", "qwen": "Alibaba",
    "seed": "ByteDance", "step": "StepFun",
}  # fmt: skip
