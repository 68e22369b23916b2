"""What `attention_config` says of models, beside the makers' own files."""

import pytest

from costlab import arch


def test_it_says_what_the_makers_files_say() -> None:
    """Llama 3.1 70B, DeepSeek-V3 and DeepSeek-V4-Pro: their config.json on Hugging Face, as the catalog cites them."""
    llama = arch.attention_config("llama-3.1-70b")
    assert (llama["num_hidden_layers"], llama["num_attention_heads"], llama["num_key_value_heads"]) == (80, 64, 8)
    assert llama["layer_types"] == ["full_attention"] * 80
    assert llama["sliding_window"] is None
    v3 = arch.attention_config("deepseek-v3")
    assert (v3["num_hidden_layers"], v3["kv_lora_rank"], v3["qk_rope_head_dim"], v3["v_head_dim"]) == (61, 512, 64, 128)
    v4 = arch.attention_config(arch.load("deepseek-v4-pro"))
    assert len(v4["compress_ratios"]) == v4["num_hidden_layers"] + 1 == 62
    assert set(v4["compress_ratios"]) == {0, 4, 128}
    assert (v4["head_dim"], v4["index_topk"], v4["sliding_window"]) == (512, 1024, 128)


def test_windows_may_have_other_heads() -> None:
    mimo = arch.attention_config("mimo-v2-flash")
    assert (mimo["num_key_value_heads"], mimo["swa_num_key_value_heads"]) == (4, 8)
    assert mimo["layer_types"].count("sliding_attention") == 39
    assert mimo["v_head_dim"] == 128


@pytest.mark.parametrize("key", ["kimi-linear-48b", "llama-4-scout", "gemma-4-26b-a4b", "deepseek-v4.1-flash"])
def test_other_kinds_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="should be grouped, latent or compressed"):
        arch.attention_config(key)
