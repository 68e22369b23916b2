"""The verb port: what its report says of a captured graph, and what it refuses. Every model is captured once."""

import json
import sys

import pytest
from answers import told_of

from costlab.chips.porting import last_opset, plan_memory, route_report
from costlab.nn.chips.capture import capture
from costlab.nn.chips.small import small_model

MIMO = "port mimo-v2-flash --torch 2.13,2.1 --size small --fuse --onnx --cards 8,16"


@pytest.fixture(scope="module")
def made():
    return small_model("mimo-v2-flash")


@pytest.fixture(scope="module")
def graph(made):
    return capture(made.module, made.inputs).graph


@pytest.fixture(scope="module")
def printed():
    """The JSON of the line above, and what it prints for people."""
    told = told_of(MIMO)
    assert told.status == 0
    return json.loads(told.json), told.text


def test_a_report_is_the_packages(printed, graph, made):
    row, old = printed[0]["rows"]
    report = route_report(graph, "2.13", made.times)
    assert (row["torch"], old["torch"], row["maker"], row["route"]) == ("2.13", "2.1", "costlab", "eager")
    assert (row["calls"], row["captured_calls"]) == (report.nodes, len(graph.nodes))
    assert row["whole_layers"] == 48 and row["captured_layers"] == list(made.layers)
    assert (row["launches"], row["written_bytes"]) == (report.launches, report.written_bytes)
    assert row["peak_bytes"] == plan_memory(graph).peak_bytes
    assert [each["operator"] for each in row["operators"]] == [each.op for each in report.rows]
    assert sum(each["calls"] for each in row["operators"]) == row["calls"]
    assert row["launch_s"] > 0
    assert row["unsupported_calls"] == 0 and all(each["supported"] for each in row["operators"])


def test_people_see_each_operator_and_the_totals(printed):
    document, text = printed
    row = document["rows"][0]
    for each in row["operators"]:
        assert f"\n{each['operator']} " in text
    assert f"{row['calls']:,} calls of {row['operator_kinds']} operators in 48 layers" in text
    assert "only an Ascend machine can tell" in text
    assert "FLOP" not in text  # every route has all matrix products: their share says nothing


def test_fusion_is_checked_and_counted(printed):
    found = printed[0]["rows"][0]["fusion"]
    first, _, last = found["stages"]
    assert last["calls"] < first["calls"] and last["launches"] < first["launches"]
    assert last["written_bytes"] < first["written_bytes"] and last["peak_bytes"] <= first["peak_bytes"]
    assert {"rms_norm", "swiglu"} & {each["pattern"] for each in found["patterns"]}
    assert found["difference"] < 1e-5


def test_the_onnx_file_computes_the_same_and_its_names_are_known(printed):
    found = printed[0]["rows"][0]["onnx"]
    assert found["opset"] == last_opset() == 18 and found["difference"] < 1e-4
    cann, whole, single = found["lists"]
    assert cann["taken_calls"] == cann["calls"] == whole["calls"]
    assert single["taken_calls"] + sum(each["calls"] for each in single["missing"]) == single["calls"]


def test_more_cards_send_more(printed):
    eight, sixteen = printed[0]["rows"][0]["cards"]
    assert (eight["cards"], sixteen["cards"]) == (8, 16)
    assert eight["experts_per_rank"] == 2 * sixteen["experts_per_rank"] == 32
    assert 0 < eight["sent_bytes"] < sixteen["sent_bytes"]
    assert eight["most_sent_bytes"] * 8 >= eight["sent_bytes"]


def test_what_a_route_lacks_ends_with_status_1():
    """MiMo's sort and its grouped products break a captured graph; called one by one they run."""
    line = "port mimo-v2-flash --size small --experts grouped --route graph"
    told = told_of(line)
    row = json.loads(told.json)["rows"][0]
    lacking = [each for each in row["operators"] if not each["supported"]]
    assert lacking and row["unsupported_calls"] == sum(each["calls"] for each in lacking) and row["launch_s"] is None
    assert any(each["nearest_fused"] == "npu_grouped_matmul" for each in lacking)
    assert told.status == 1
    for each in lacking:
        assert f"{each['operator']} is {each['graph']}: {each['calls']} calls in " in told.text
    heads = [line.split()[0] for line in told.text.splitlines()[1 : len(lacking) + 1]]
    assert set(heads) == {each["operator"] for each in lacking}  # they stand first


def test_a_config_is_captured_as_transformers_builds_it(document, tmp_path):
    path = tmp_path / "config.json"
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8}
    sizes |= {"num_key_value_heads": 2, "head_dim": 32, "vocab_size": 1000}
    path.write_text(json.dumps({"model_type": "qwen3", **sizes}))
    found = document(f"port {path}")
    row = found["rows"][0]
    assert (row["model"], row["maker"], row["whole_layers"], found["sources"]) == (str(path), "transformers", 4, [])
    assert row["calls"] > row["captured_calls"]


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("port gpt-9", "unknown model 'gpt-9'"),
        ("port llama-3.1-8b --torch 3.0", "torch version '3.0' should be one"),
        ("port llama-3.1-8b --onnx --opset 20", "opset 20 is above 18, the last that CANN's parser takes"),
        ("port llama-3.1-8b --onnx --opset 19", "export with opset 18"),
        ("port llama-3.1-8b --opset 18", "--opset 18 is for --onnx"),
        ("port llama-3.1-8b --of meta", "invalid choice: 'meta'"),
        ("port llama-3.1-8b --cards 8", "has no layer with experts"),
        ("port mixtral-8x7b --cards 3", "3"),
        ("port mixtral-8x7b --of transformers --experts loop --size small", "modeling_mixtral.py:"),
        ("port nothing.json", "nothing.json should be a model's config.json"),
        ("port -", "unknown model '-'"),
        ("port mixtral-8x7b --experts loop", "costlab/nn/moe/layer.py:"),
        ("port llama-3.1-8b --size small --batch 1M", "1,048,576 x 32 tokens should have 131,072 at most"),
    ],
)
def test_bad_input_is_quoted(run, line, says):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert says in err, err


LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}
WHOLE = "hidden_size of llama should be a whole number of at least 0, not "
CONFIGS = {
    b"": "should be a model's config.json",
    b"\xff\xfe{": "should be a model's config.json: 'utf-8' codec",
    b"[" * 100_000: "should be a model's config.json: maximum recursion depth",
    b"[1, 2]": 'should name its architecture as "model_type"',
    **{
        json.dumps(LLAMA | changed).encode(): said
        for changed, said in (
            ({"model_type": 5}, 'should name its architecture as "model_type"'),
            ({"model_type": "nosuch"}, "model_type 'nosuch' is none of"),
            ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000 of llama should be at most"),
            ({"vocab_size": 10**12}, "vocab_size = 1000000000000 of llama should be at most"),
            ({"hidden_size": -64}, f"{WHOLE}-64"),
            ({"hidden_size": "64"}, f"{WHOLE}'64'"),
            ({"hidden_size": float("nan")}, f"{WHOLE}nan"),
            ({"hidden_act": "nosuch"}, "nosuch"),
        )
    },
}


@pytest.mark.parametrize("text", CONFIGS)
def test_a_config_that_is_none_ends_in_one_line(run, tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    status, out, err = run(f"port {path} --json")
    assert (status, out) == (2, "") and err.startswith("costlab port: ") and err.count("\n") == 1
    assert CONFIGS[text] in err
    _, _, of_folder = run(f"port {tmp_path}/folder.json")
    assert "folder.json should be a model's config.json" in of_folder


def test_a_model_that_cannot_be_captured_names_the_line_and_what_helps(run):
    _, _, err = run("port mixtral-8x7b --of transformers --experts loop --size small")
    assert "cannot be captured: at transformers/models/mixtral/modeling_mixtral.py:" in err
    assert "batched_mm" in err


def test_without_torch_it_says_what_to_install(run, monkeypatch):
    for name in [each for each in sys.modules if each.startswith("costlab.nn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    status, out, err = run("port llama-3.1-8b")
    assert (status, out) == (2, "")
    assert "needs torch: pip install 'costlab[nn]'" in err


def test_graphs_that_were_counted_are_those_that_are_captured():
    """The ledger's counts, captured again."""
    import importlib.util
    from pathlib import Path

    from costlab.chips.porting import counted_graphs

    path = Path(__file__).parents[2] / "tools" / "count_graphs.py"
    spec = importlib.util.spec_from_file_location("count_graphs", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    stored = {(each.model, each.maker): each for each in counted_graphs()}
    assert list(stored) == tool.COUNTED
    assert tool.count("deepseek-v4-pro", "costlab") == stored["deepseek-v4-pro", "costlab"]
