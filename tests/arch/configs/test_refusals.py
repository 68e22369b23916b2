"""What a config.json may hold that nobody should answer: it is refused by name, quickly."""

import copy
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch
from costlab.arch import configs
from costlab.arch.configs import source
from tests.arch.configs.published import published

ROWS = published()
SMALL = ROWS["Qwen/Qwen3-0.6B"]["config"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model_type": "qwen9"}, "qwen9"),
        ({"model_type": None}, "model_type"),
        ({"model_type": ["qwen3"]}, "model_type"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"hidden_size": 10**15}, "hidden_size"),
        ({"hidden_size": "1024"}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"hidden_size": 1024.5}, "hidden_size"),
        ({"hidden_size": float("nan")}, "hidden_size"),
        ({"vocab_size": None}, "vocab_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"engram_tables": 2}, "engram_tables"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types"),
        ({"layer_types": ["mystery"] * 28}, "mystery"),
        ({"quantization_config": {"quant_method": "magic"}}, "magic"),
        ({"torch_dtype": "int3"}, "int3"),
    ],
)
def test_refused_by_name(change, word):
    with pytest.raises(ValueError, match=word):
        configs.parsed({**SMALL, **change}, "file")


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size"])
def test_a_missing_field_is_named(field):
    with pytest.raises(ValueError, match=f"{field}.* is missing"):
        configs.parsed({name: value for name, value in SMALL.items() if name != field}, "file")


def test_experts_that_do_not_fit():
    config = ROWS["deepseek-ai/DeepSeek-V3"]["config"]
    with pytest.raises(ValueError, match="num_experts_per_tok"):
        configs.parsed({**config, "num_experts_per_tok": 300}, "file")
    with pytest.raises(ValueError, match="n_group"):
        configs.parsed({**config, "n_group": 7}, "file")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[1, 2]", "object"),
        ('"text"', "object"),
        ('{"model_type": "llama", "model_type": "qwen3"}', "twice"),
        ('{"a": ' * 1000 + "1" + "}" * 1000, "deep"),
        ('{"a": ' * 200_000, "deep|JSON"),
        ("[" * 100_000, "deep|JSON"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "digits"),
    ],
)
def test_text_that_is_no_configuration(text, word, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=word):
        configs.imported(file)


def test_a_file_of_50_mb_is_not_read_to_its_end(tmp_path):
    file = tmp_path / "config.json"
    with file.open("wb") as out:
        out.truncate(50_000_000)
    with pytest.raises(ValueError, match="8 MB"):
        configs.imported(file)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="UTF-8"):
        configs.imported(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        configs.imported(tmp_path / "other.json")


def test_long_values_are_quoted_short():
    assert len(source.quoted("x" * 10_000)) < 100
    assert len(source.quoted(list(range(10**6)))) < 100


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.integers(-(10**18), 10**18), st.floats(), st.text(max_size=5),
    st.lists(st.integers(-2, 300), max_size=4), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@given(st.data())
def test_no_mutation_breaks_it(data):
    config = copy.deepcopy(ROWS[data.draw(st.sampled_from(sorted(ROWS)))]["config"])
    inner = config.get("text_config", config)
    for _ in range(data.draw(st.integers(1, 3))):
        place = config if data.draw(st.booleans()) else inner
        name = data.draw(st.sampled_from(sorted(place)))
        if data.draw(st.booleans()):
            place[name] = data.draw(VALUES)
        else:
            del place[name]
            if not place:
                return
    start = time.perf_counter()
    try:
        model = configs.parsed(source.parse(json.dumps(config), "file"), "file").model
    except ValueError as error:
        assert str(error)
        assert len(str(error)) < 2000
    else:
        assert model.params.total > 0
        assert float(model.kv_bytes(1024).total) >= 0
    assert time.perf_counter() - start < 1


def test_a_key_of_the_catalog_wins_over_a_file(tmp_path, monkeypatch):
    (tmp_path / "deepseek-v3").mkdir()
    (tmp_path / "deepseek-v3" / "config.json").write_text(json.dumps(SMALL))
    monkeypatch.chdir(tmp_path)
    assert arch.load("deepseek-v3").params.total > 6e11
    assert arch.load("./deepseek-v3").params.total < 1e9
