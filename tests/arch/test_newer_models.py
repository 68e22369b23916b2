"""The catalog's models of 2026: parameters, active ones and cache, against figures that were computed elsewhere.

Source: the fact sheet of 2026-11-25, which counted the makers' configurations with transformers 5.24.0 on the meta
device and read cached elements from its caches; recurrent states in FP32, convolutions in bf16.
"""

import pytest

from costlab import arch

# total and active in billions, cache bytes a token, fixed MB of a sequence
FIGURES = {
    "kimi-k3": (2780, 104, 27_648, 454),
    "qwen3.5-397b-a17b": (396.35, 16.3, 30_720, 193.1),
    "qwen3.5-122b-a10b": (122.1, 9.0, 24_576, None),
    "qwen3.5-27b": (26.9, 25.6, 65_536, None),
    "qwen3.6-35b-a3b": (34.7, 2.95, 20_480, None),
    "gpt-oss-120b": (116.83, 5.13, 36_864, 4.7),
    "gemma-4-26b-a4b": (25.2, 3.1 + 0.74, 20_480, 209.7),  # 3.1 and the tied head
    "llama-4-maverick": (400.7, 16.2, 49_152, 1208),
    "llama-4-scout": (107.8, 16.1, 49_152, 1208),
    "minimax-m2.5": (228.7, 10.4, 253_952, 0),
    "minimax-m3": (426.2, 24.7, 122_880 + 57 * 128 * 2, 0),  # and one index key in bf16 in each of 57 layers
    "glm-5.2": (743.38, 40.30, 92_628, 0),
    "nemotron-3-super": (120.7, 12.2, 8_192, 171.0),
    "nemotron-3-nano": (31.6, 3.2, 6_144, 49.4),
    "qwen3-next-80b": (79.7, 3.6, 24_576, 77.9),
    "kimi-linear-48b": (49.1, 3.1, 6_912, None),
    "hy3-preview": (295.0, 20.2, 327_680, 0),
}


@pytest.mark.parametrize("key", list(FIGURES))
def test_parameters_and_cache(key):
    total, active, per_token, fixed = FIGURES[key]
    model = arch.load(key)
    kv = model.kv_bytes(131_072)
    assert model.params.total / 1e9 == pytest.approx(total, rel=5e-3)
    assert model.params.active / 1e9 == pytest.approx(active, rel=2e-2)
    assert float(kv.growing) / 131_072 == pytest.approx(per_token, rel=1e-9)
    if fixed is not None:
        assert float(kv.fixed) / 1e6 == pytest.approx(fixed, rel=5e-3, abs=0.05)


def test_the_storage_of_each_cache_is_stated():
    for key in FIGURES:
        assert "stored" in arch.load(key).record.note.lower(), key
