"""Every verb that takes a model takes a config.json, the folder of one, or standard input."""

import io
import json
import sys
import time
import tomllib

import pytest

from costlab import arch
from costlab.arch.configs import source
from costlab.cli.main import main
from tests.arch.configs.published import published

ROWS = published()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    for name in ("Qwen/Qwen3-0.6B", "openai/gpt-oss-120b", "Qwen/Qwen3.5-397B-A17B"):
        (path / name).mkdir(parents=True)
        (path / name / "config.json").write_text(json.dumps(ROWS[name]["config"]))
    return path


SMALL, EXPERTS = "Qwen/Qwen3-0.6B", "openai/gpt-oss-120b/config.json"
VERBS = [
    "models {small} {experts}",
    "import {small}",
    "kv {small} deepseek-v3 --tokens 8K",
    "flops {experts} --tokens 8K",
    "moe {experts} --batch 64",
    "roofline {experts} --chip h100-sxm --chips 8 --batch 64 --tokens 8K",
    "speculate {experts} --draft eagle3 --chip h100-sxm --chips 8 --batch 64 --tokens 8K --acceptance 0.7",
    "replay chat:40 --model {small} --hbm 20GB",
    "sweep chat:20 --model {small} --hbm 20GB",
    "simulate chat:20 --rate 4 --model {small} --chip h100-sxm --prefill 1 --decode 1 --ttft 1 --tpot 0.05",
    "plan --model {small} --chip h100-sxm --rate 2 --input 512 --output 16 --ttft 2 --tpot 0.1 --requests 40 --runs 1",
    "chips h20 --model {small}",
    "waterfall {small} --draws 10",
]


@pytest.mark.parametrize("line", VERBS, ids=lambda line: line.split()[0])
def test_every_verb_takes_a_file(line, folder, capsys):
    paths = {"small": folder / SMALL, "experts": folder / EXPERTS}
    status = main([*line.format(**paths).split(), "--json"])
    printed = capsys.readouterr()
    assert status in (0, 1), printed.err
    answer = json.loads(printed.out)
    used = next(each for each in answer["sources"] if each["kind"] == "model")
    assert used["source"] in map(str, paths.values())


def test_import_prints_toml_that_reads_back(folder, capsys):
    assert main(["import", str(folder / SMALL), "--json", "--key", "mine"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert tomllib.loads(row["toml"])["mine"]["hidden"] == 1024
    assert row["total_params"] == ROWS[SMALL]["hf_total"]
    assert row["kv_bytes_per_token"] == 28 * 8 * 2 * 128 * 2
    assert main(["import", str(folder / SMALL)]) == 0
    assert "28 x full + dense" in capsys.readouterr().out
    assert row["toml"].startswith("[mine]") and row["layer_kinds"][0]["layers"] == 28


def test_standard_input(folder, capsys, monkeypatch):
    source._stdin.cache_clear()
    text = (folder / SMALL / "config.json").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["kv", "-", "--tokens", "1K", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert (row["model"], row["kv_bytes_per_token"]) == ("-", 28 * 8 * 2 * 128 * 2)
    source._stdin.cache_clear()


@pytest.mark.parametrize("text", ["[]", "{", '{"model_type": "qwen9"}', '{"model_type": "llama"}'])
def test_bad_files_end_with_2_and_one_line(text, tmp_path, capsys):
    (tmp_path / "config.json").write_text(text)
    assert main(["import", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert str(tmp_path) in printed.err


def test_a_price_takes_less_than_a_second(folder, capsys):
    start = time.perf_counter()
    line = "roofline {} --chip h100-sxm --chips 8 --batch 64 --tokens 8K".format(folder / "Qwen/Qwen3.5-397B-A17B")
    assert main([*line.split(), "--tensor-parallel", "2", "--chips", "16"]) == 0
    assert time.perf_counter() - start < 1
    assert "usd_per_M_tokens" in capsys.readouterr().out


def test_unknown_models_name_the_other_way():
    with pytest.raises(ValueError, match="unknown model"):
        arch.load("nothing-like-it")
