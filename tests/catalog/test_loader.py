"""A catalog file with a fault is refused, and the error says where and why: file, line, key, value, near miss."""

import functools
import re
import shutil
import tomllib

import pytest

from costlab import arch, catalog, checks

parsed = functools.cache(tomllib.loads)


@pytest.fixture(autouse=True)
def parsed_once(monkeypatch):
    """Files that are not spoiled are the same text in each test: half of the time goes into parsing them."""
    monkeypatch.setattr(tomllib, "loads", parsed)


@pytest.fixture
def folder(tmp_path):
    """A copy of the catalog's files to spoil."""
    shutil.copytree(catalog.FOLDER, tmp_path / "copy", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return tmp_path / "copy"


def spoil(folder, file, old, new):
    """Replace the first occurrence and return the line it stands on."""
    text = (folder / file).read_text()
    assert old in text, f"{file} has no {old!r}"
    (folder / file).write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def refused(folder):
    with pytest.raises(catalog.CatalogError) as caught:
        catalog.tables(folder)
    return str(caught.value)


def entry_line(folder, file, header):
    lines = (folder / file).read_text().splitlines()
    return lines.index(header) + 1


def test_an_untouched_copy_loads_alike(folder):
    assert catalog.tables(folder) == catalog.tables()


def test_missing_file(folder):
    (folder / "chips.toml").unlink()
    assert "chips.toml: no such catalog file" in refused(folder)


@pytest.mark.parametrize("broken", ["[unclosed\n", "a = \n", 'a = "open\n', "a = 1\na = 2\n"])
def test_malformed_toml_names_file_and_line(folder, broken):
    (folder / "fx.toml").write_text("# one line before\n" + broken)
    message = refused(folder)
    assert message.startswith("fx.toml: not valid TOML")
    assert re.search(r"at line [23]|end of document", message), message


def test_not_text(folder):
    (folder / "fx.toml").write_bytes(b"\xff\xfe\x00")
    assert refused(folder).startswith("fx.toml: not valid TOML")


@pytest.mark.parametrize(
    ("file", "header"),
    [
        ("models.toml", "[llama-2-7b]"),
        ("models.toml", '["deepseek-v3.2"]'),
        ("chips.toml", "[h800]"),
        ("scenarios.toml", "[agent]"),
        ("published.toml", "[deepseek-day]"),
        ("claimed_models.toml", "[article-e-qwen-plus]"),
        ("acceptance.toml", "[curve.v4-pro]"),
        ("acceptance.toml", "[positions.deepseek-v3]"),
        ("acceptance.toml", "[fit.mimo-v2-flash]"),
        ("acceptance.toml", "[speedup.deepseek-v3]"),
        ("step_times.toml", "[fit.distserve-opt-13b-tp1]"),
        ("serving.toml", "[rates.distserve-13b]"),
        ("serving.toml", "[objective.distserve-chat-13b]"),
        ("serving.toml", "[cluster.splitwise-hh-code]"),
        ("serving.toml", "[gain.distserve-chat]"),
        ("serving.toml", "[table.vllm-watermark]"),
        ("serving.toml", "[transfer.qwen3-8b]"),
        ("serving.toml", "[node.kimi-k2-decode]"),
        ("serving.toml", "[price.sglang-96-h100]"),
        ("serving.toml", "[regime.taichi-both]"),
        ("serving.toml", "[figures.watermark]"),
    ],
)
@pytest.mark.parametrize("key", ["source", "date"])
def test_missing_source_or_date(folder, file, header, key):
    text = (folder / file).read_text()
    line = entry_line(folder, file, header)
    start = text.index(header)
    (folder / file).write_text(text[:start] + re.sub(rf"(?m)^{key} = .*\n", "", text[start:], count=1))
    message = refused(folder)
    assert f"missing key '{key}'" in message
    assert f"{file}:{line} " in message


def test_missing_source_of_a_row_names_its_line(folder):
    text = (folder / "prices.toml").read_text()
    starts = [m.start() for m in re.finditer(r"(?m)^\[\[price\]\]", text)]
    start = starts[20]  # not the first, so that the n-th header must be found
    (folder / "prices.toml").write_text(text[:start] + re.sub(r"(?m)^source = .*\n", "", text[start:], count=1))
    message = refused(folder)
    assert "missing key 'source'" in message
    line = text[:start].count("\n") + 1
    assert f"prices.toml:{line} [price]" in message


def test_empty_source(folder):
    spoil(folder, "scenarios.toml", 'source = "Article E, sec. 5.1"', 'source = ""')
    message = refused(folder)
    assert "source = ''" in message
    assert "scenarios.toml" in message


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("models.toml", "hidden = 7168", "hiden = 7168", ["deepseek-v3", "'hiden'", "did you mean 'hidden'"]),
        ("models.toml", "projections = 1\n", "projection = 1\n", ["'projection'", "did you mean 'projections'"]),
        ("models.toml", "hidden = 7168", "hidden = 7168\nzzz = 1", ["'zzz'", "known keys: ", "vocab"]),
        ("chips.toml", "power_w = 400", "power = 400", ["a100-80g", "'power'", "did you mean 'power_w'"]),
        ("chips.toml", "unit = ", "units = ", ["a100-80g", "'units'", "did you mean 'unit'"]),
        ("prices.toml", "hit = 0.1\n", "hits = 0.1\n", ["[price]", "'hits'", "did you mean 'hit'"]),
        ("fx.toml", "quote = ", "qoute = ", ["[rate]", "'qoute'", "did you mean 'quote'"]),
        ("prices.toml", "\n[[price]]", "\n[[pirce]]", ["pirce", "unknown table"]),
        ("fx.toml", "[[rate]]", "[[rates]]", ["rates", "unknown table"]),
        ("acceptance.toml", "[curve.v4-pro]", "[curves.v4-pro]", ["curves", "unknown table", "curve, positions"]),
        ("acceptance.toml", "top_p = 0.95", "topp = 0.95", ["curve.glm-5.2", "'topp'", "did you mean 'top_p'"]),
        (
            "serving.toml",
            "[gain.distserve-chat]",
            "[gains.distserve-chat]",
            ["gains", "unknown table", "cluster, gain"],
        ),
        ("serving.toml", "ttft_s = 0.25", "ttfts = 0.25", ["objective.distserve-chat-13b", "did you mean 'ttft_s'"]),
        ("serving.toml", "value = 0.02,", "vaule = 0.02,", ["table.vllm-watermark", "did you mean 'value'"]),
    ],
)
def test_unknown_key_with_a_hint(folder, file, old, new, words):
    spoil(folder, file, old, new)
    message = refused(folder)
    for word in [file, *words]:
        assert word in message
    assert re.search(rf"{file}:\d+ ", message)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("models.toml", "hidden = 7168", 'hidden = "7168"', ["hidden = '7168'", "a whole number"]),
        ("models.toml", "hidden = 7168", "hidden = 7168.5", ["hidden = 7168.5", "a whole number"]),
        ("models.toml", "hidden = 7168", "hidden = true", ["hidden = True", "a whole number"]),
        ("models.toml", "date = 2024-12-27", 'date = "2024-12-27"', ["date = '2024-12-27'", "a date"]),
        ("models.toml", "layers = [\n", "layers = 61\nrows = [\n", ["deepseek-v3"]),
        ("models.toml", "projections = 1\n", 'projections = "one"\n', ["projections = 'one'", "a whole number"]),
        ("chips.toml", "bf16 = 312e12", 'bf16 = "312T"', ["bf16 = '312T'", "a number"]),
        ("chips.toml", 'kind = "rent"', 'kind = "lease"', ["kind = 'lease'", "'rent'", "'claim-price'"]),
        ("published.toml", "[20.0, 22.0]", "[20.0, 21.0, 22.0]", ["user_tokens_s", "2 items"]),
        ("prices.toml", "promotion = true", 'promotion = "yes"', ["promotion = 'yes'", "true or false"]),
        ("prices.toml", "miss = 1.0", "miss = -1.0", ["miss = -1.0", "at least 0"]),
        ("prices.toml", "miss = 1.0", "miss = nan", ["miss = nan", "finite"]),
        ("acceptance.toml", 'read = "source"\n', 'read = "rumour"\n', ["v4-pro-thinking", "'rumour'", "'second hand'"]),
        ("acceptance.toml", "[1.79, ", "[2.79, ", ["v4-pro-thinking", "2.79 at 1 drafted", "between 1 and 2"]),
        ("acceptance.toml", "[1.79, ", "[", ["v4-pro-thinking", "one for each of draft_lengths"]),
        ("acceptance.toml", "[1, 2, 3, 4, 5,", "[1, 3, 2, 4, 5,", ["draft_lengths = (1, 3, 2, ", "should rise"]),
        ("acceptance.toml", "[1, 2, 3, 4, 5,", "[0, 2, 3, 4, 5,", ["draft_lengths = (0, 2, ", "from 1 or more"]),
        ("acceptance.toml", "acceptance = [0.85]", "acceptance = [1.85]", ["positions.deepseek-v3", "= 1.85"]),
        ("acceptance.toml", "highest = [0.9]", "highest = [0.9, 0.9]", ["highest = (0.9, 0.9)", "one for each"]),
        ("acceptance.toml", "speedups = [1.86,", "speedups = [-1.86,", ["speed-up -1.86", "above 0"]),
        ("acceptance.toml", 'load = "1 query/s"\n', "", ["llama-3-70b-draft-idle", "should be one, with its load"]),
        ("acceptance.toml", "accepted_length = 2.8", "accepted_length = 0.8", ["accepted_length = 0.8", "at least 1"]),
        ("acceptance.toml", "acceptance = 0.75", "acceptance = 7.5", ["acceptance = 7.5", "between 0 and 1"]),
        ("serving.toml", "both_requests_s = 1.6", "both_requests_s = 0", ["distserve-13b", "= 0.0", "above 0"]),
        ("serving.toml", "attainment = 0.9", "attainment = 90", ["attainment = 90.0", "at most 1"]),
        ("serving.toml", "ttft_s = 0.25", "ttft_s = inf", ["ttft_s = inf", "finite"]),
        ("serving.toml", "tpot_s = 0.1", "tpot_s = -0.1", ["tpot_s = -0.1", "above 0"]),
        ("serving.toml", "requests_s = 130.0\n", "", ["splitwise-aa-code-130", "both_machines = 113", "requests_s"]),
        ("serving.toml", "high = 4.6", "high = 1.6", ["distserve-chat", "low = 2.0", "at most high = 1.6"]),
        ("serving.toml", 'lever = "separation"', 'lever = "seperation"', ["lever = 'seperation'", "'separation'"]),
        ("serving.toml", 'setting = "0.02"', 'setting = "off"', ["vllm-watermark", "each named once"]),
        ("serving.toml", "ttft_p99_s = 0.72", "ttft_p99_s = -0.72", ["mooncake-a10-2048", "at least 0"]),
        ("serving.toml", "[2.07e-3, ", "[", ["qwen3-235b", "transfer_s should have one figure"]),
        ("serving.toml", "[128, 256, 512", "[256, 128, 512", ["qwen3-235b", "should rise from 1"]),
        ("serving.toml", "tokens_s = 62713.0", "tokens_s = nan", ["deepseek-profile-prefill", "tokens_s = nan"]),
        ("serving.toml", "usd_per_chip_hour = 2.0", "usd_per_chip_hour = 0", ["sglang-96-h100", "above 0"]),
        ("chips.toml", "amount = 2.79", "amount = 0.0", ["a100-80g", "amount = 0.0", "no placeholders"]),
        ("chips.toml", 'fp8 = "int8"', 'fp8 = "int4"', ["ascend-910b", "serves names ['int4']"]),
        ("chips.toml", 'fp8 = "int8"', 'int8 = "int8"', ["ascend-910b", "serves replaces ['int8']"]),
        ("chips.toml", "buyable = false", 'buyable = "no"', ["a100-80g", "buyable = 'no'", "true or false"]),
        ("ownership.toml", 'unit = "per kWh"', 'unit = "kWh"', ["tariff-us", "unit = 'kWh'", "per kWh"]),
        ("ownership.toml", 'currency = "USD"\nplace', "place", ["tariff-us", "money alone has one"]),
        ("ownership.toml", "low = 0.0853", "low = 0.93", ["tariff-us", "low = 0.93"]),
        ("ownership.toml", "h100-sxm = 1.17", "h100-sxm = 0", ["july-2026-hyperscaler", "no placeholders"]),
        ("ownership.toml", "accepted = 0.7", "accepted = 7.0", ["r1-910c", "accepted = 7.0"]),
    ],
)
def test_wrong_type_or_value_is_quoted(folder, file, old, new, words):
    spoil(folder, file, old, new)
    message = refused(folder)
    for word in [file, *words]:
        assert word in message
    assert re.search(rf"{file}:\d+ ", message)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('eager = "aclnn"', 'eager = "acl"', ["[aten", "eager = 'acl'", "'decomposed'"]),
        ("last_opset = 18", 'last_opset = "18"', ["[onnx", "last_opset = '18'", "a whole number"]),
        ("pattern = ", "patern = ", ["[fused", "'patern'", "did you mean 'pattern'"]),
        ('size = "dtype"', 'siz = "dtype"', ["'siz'", "did you mean 'size'"]),
        ("[onnx]", "[onxx]", ["onxx", "unknown table"]),
    ],
)
def test_operators_are_checked_apart(folder, old, new, words):
    spoil(folder, "operators.toml", old, new)
    catalog.tables(folder)  # does not read them
    with pytest.raises(catalog.CatalogError) as caught:
        catalog.operators(folder)
    assert all(word in str(caught.value) for word in ["operators.toml:", *words])


@pytest.mark.parametrize("key", ["sglang-decode-2001", "sglang-decode-2000"])
def test_a_price_names_a_rate_of_each_phase(folder, key):
    spoil(folder, "serving.toml", 'prefill = "sglang-prefill-2000"', f'prefill = "{key}"')
    message = refused(folder)
    assert f"serving.toml: price.sglang-96-h100: prefill = '{key}' should be a prefill node's key" in message


def build(folder, key="deepseek-v3"):
    return arch.build(key, catalog.tables(folder).models[key], catalog.place_of(key, folder=folder))


def test_wrong_storage_precision_names_key_and_choices(folder):
    spoil(folder, "models.toml", 'default = "fp8"', 'default = "fp9"')
    message = refused(folder)
    line = entry_line(folder, "models.toml", "[deepseek-v3]")
    for word in (f"models.toml:{line} [deepseek-v3]", "weights.default = 'fp9'", "bf16", "mxfp4"):
        assert word in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('entry = [[512, "bf16"]', 'entry = [[512, "bf61"]', ["attention.mla", "'bf61'", "bf16"]),
        ('entry = [[512, "bf16"]', 'entry = [[-512, "bf16"]', ["attention.mla", "-512"]),
        ("q_rank = 1536", "q_rnk = 1536", ["attention.mla", "'q_rnk'", "did you mean 'q_rank'"]),
        ("q_rank = 1536\n", "", ["attention.mla", "missing key 'q_rank'"]),
        ('kind = "mla"', 'kind = "mlaa"', ["kind = 'mlaa'", "mla", "csa"]),
        ("top_k = 8", "top_k = 0", ["ffn.moe", "top_k = 0"]),
        ("top_k = 8", "top_k = 257", ["ffn.moe", "top_k = 257", "256"]),
        ("groups = 8", "groups = 7", ["ffn.moe", "256", "groups = 7"]),
        ('score = "sigmoid"', 'score = "sigmod"', ["score = 'sigmod'", "'sigmoid'"]),
        ("inner = 18432", "inner = 0", ["ffn.dense", "inner = 0"]),
        ('core = "bf16"', 'core = "bf8"', ["math.core = 'bf8'", "bf16"]),
        ('core = "bf16"', 'cor = "bf16"', ["math.cor = 'bf16'", "did you mean 'core'"]),
        ('embedding = "bf16"', 'embeding = "bf16"', ["weights.embeding", "did you mean 'embedding'"]),
    ],
)
def test_faults_inside_a_model_are_found_when_it_is_built(folder, old, new, words):
    spoil(folder, "models.toml", old, new)
    with pytest.raises(catalog.CatalogError) as caught:
        build(folder)
    line = entry_line(folder, "models.toml", "[deepseek-v3]")
    for word in [f"models.toml:{line} ", *words]:
        assert word in str(caught.value)


def test_layers_may_name_only_described_kinds(folder):
    spoil(folder, "models.toml", '[["mla", "dense"]]', '[["mha", "dense"]]')
    message = refused(folder)
    assert "['mha']" in message
    assert "['mla']" in message


def test_a_run_repeats_at_least_once(folder):
    spoil(folder, "models.toml", "repeat = 3,", "repeat = 0,")
    assert "repeat >= 1" in refused(folder)


def test_a_new_model_is_one_entry(folder):
    """The house rule: no code for a new model."""
    text = (folder / "models.toml").read_text()
    start, end = text.index("[mixtral-8x7b]"), text.index("[mistral-small-4-119b]")
    entry = text[start:end].replace("mixtral-8x7b", "mixtral-8x22b").replace("hidden = 4096", "hidden = 6144")
    entry = entry.replace("repeat = 32", "repeat = 56").replace("heads = 32", "heads = 48").replace("14336", "16384")
    entry = entry.replace("vocab = 32000", "vocab = 32768")
    (folder / "models.toml").write_text(text + "\n" + entry)
    # 141B total, 39B active: https://mistral.ai/news/mixtral-8x22b
    params = build(folder, "mixtral-8x22b").params
    assert params.total / 1e9 == pytest.approx(141, abs=0.5)
    assert params.active / 1e9 == pytest.approx(39, abs=0.5)


@pytest.mark.parametrize("what", ["model", "chip"])
@pytest.mark.parametrize("name", ["", "no-such", "DEEPSEEK-V9"])
def test_unknown_key(what, name):
    with pytest.raises(ValueError, match=f"unknown {what} {name!r}; .*[Kk]nown: ") as caught:
        getattr(catalog, what)(name)
    assert ("deepseek-v" if what == "model" else "h800") in str(caught.value)


def test_near_miss_and_case():
    with pytest.raises(ValueError, match="did you mean 'deepseek-v4-pro'"):
        catalog.model("deepseek-v4-por")
    assert catalog.model("DeepSeek-V4-Pro") is catalog.model("deepseek-v4-pro")


@pytest.mark.parametrize(
    ("key", "known", "meant"),
    [
        ("h80", ["h100-sxm", "h800", "h200"], "h800"),
        ("chta", ["chat", "agent", "documents"], "chat"),
        ("deepseek-v4-por", ["deepseek-v4-pro", "deepseek-v3"], "deepseek-v4-pro"),
        ("llama-2-8b", ["llama-2-7b", "llama-3.1-70b"], "llama-2-7b"),
        # other products, not misspellings of these
        ("gemini-2.5-pro", ["mimo-v2.5-pro", "mimo-v2.6-pro"], None),
        ("claude-sonnet-5.5", ["claude-opus-5.5"], None),
        ("gpt-6", ["gpt-5.5"], None),
        ("kimi-k3", ["kimi-k2.6"], None),
        ("", ["h800"], None),
    ],
)
def test_only_a_misspelling_is_guessed(key, known, meant):
    message = checks.unknown("name", key, known)
    assert repr(key) in message
    assert (f"did you mean {meant!r}" in message) if meant else ("did you mean" not in message)
    assert all(name in message for name in known)


def test_records_are_frozen():
    import dataclasses

    with pytest.raises(dataclasses.FrozenInstanceError):
        catalog.model("llama-2-7b").hidden = 1


@pytest.mark.parametrize("name", [None, 5, b"h800", True])
def test_what_is_no_name_is_quoted(name):
    with pytest.raises(ValueError, match=f"unknown chip {name!r}; known: "):
        catalog.chip(name)
