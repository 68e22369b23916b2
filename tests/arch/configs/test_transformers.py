"""Mutations of transformers' own configurations: what changes their count changes ours as much, or is refused."""

import json

import pytest

from costlab.arch import configs
from tests.arch.configs.test_published import selection_biases

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

#: Families that have a class, each with few layers so that a mutation takes a moment.
TYPES = (
    "llama", "qwen3", "gemma3_text", "gpt_oss", "qwen2_moe", "deepseek_v3", "qwen3_next",
    "nemotron_h", "kimi_linear", "llama4_text", "minimax", "glm_moe_dsa", "minimax_m3_vl_text",
)  # fmt: skip
LAYERS = 4


def shortened(model_type):
    """A class's defaults with a few layers, as JSON gives them."""
    found = json.loads(json.dumps(transformers.CONFIG_MAPPING[model_type]().to_dict(), default=str))
    depth = found.get("num_hidden_layers", 0)
    if depth > LAYERS:
        found = {k: v[:LAYERS] if isinstance(v, list) and len(v) == depth else v for k, v in found.items()}
        found["num_hidden_layers"] = LAYERS
    return {name: value for name, value in found.items() if name not in ("transformers_version", "per_layer_config")}


def held(config):
    """Parameters of the class that a configuration describes."""
    given = {name: value for name, value in config.items() if name != "model_type"}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.CONFIG_MAPPING[config["model_type"]](**given)
        )
    return sum(p.numel() for p in model.parameters())


def mutations(config):
    """Configurations that differ in one field: doubled, one more, switched."""
    for name, value in config.items():
        if name.endswith("_token_id") or name in ("architectures", "model_type", "max_position_embeddings"):
            continue
        if isinstance(value, bool):
            yield name, not value
        elif isinstance(value, int) and value:
            yield name, 2 * value


def compared(base, held):
    """Yield each mutation that we and the class both understand: what was changed, our model, the class's count."""
    for name, value in mutations(base):
        config = {**base, name: value}
        try:
            model = configs.parsed(config).model
        except ValueError:
            continue
        try:
            total = held(config)
        except Exception:  # the class refuses it, in its own words
            continue
        yield (name, value), model, total


@pytest.mark.parametrize("model_type", TYPES)
def test_each_mutation_is_counted_or_refused(model_type):
    base = shortened(model_type)
    assert configs.parsed(base).model.params.total > 0
    found = list(compared(base, held))
    for changed, model, total in found:
        ours = model.params.total
        assert min(abs(ours - total), abs(ours - selection_biases(model) - total)) <= 1e-6 * total, changed
    assert len(found) > 5
