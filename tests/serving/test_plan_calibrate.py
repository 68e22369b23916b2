"""Efficiencies fitted to benchmarks of engines: public runs of SGLang and vLLM, and fits that find what was given."""

import json
import math

import pytest

from costlab import roofline
from costlab.roofline import Efficiency
from costlab.serving.plan.calibrate import BenchmarkRun, calibrate, read_runs
from costlab.serving.plan.pools import Answers, Prompts
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import demand

# Llama 3.3 70B in bf16 on four H200 (TP4), SGLang's bench_serving, random lengths up to 1024 in and out, at 1, 2, 4, 8
# and 16 requests/s: datacrunch-research/h200-benchmarks @c091ef5, sglang/outputs/llama_3_3_70b_online_output.jsonl.
SGLANG = [
    {"request_rate": rate, "completed": n, "duration": duration, "total_input_tokens": i, "total_output_tokens": o,
     "total_output_tokens_retokenized": r, "mean_e2e_latency_ms": latency, "median_ttft_ms": first}
    for rate, n, duration, i, o, r, latency, first in (
        (1.0, 300, 298.3675805060193, 152612, 160347, 160192, 7840.616212638561, 85.74514742940664),
        (2.0, 600, 312.6791094408836, 308748, 308712, 308471, 8540.55180882259, 87.55627297796309),
        (4.0, 1200, 296.8566754250787, 615860, 607936, 605771, 12896.330808075727, 106.06311704032123),
        (8.0, 2400, 346.7753648299258, 1222995, 1218922, 1215958, 52064.764045071985, 191.41179136931896),
        (16.0, 3200, 383.073250005953, 1629242, 1642637, 1638332, 149037.25147111146, 614.2499720444903),
    )
]  # fmt: skip

# The same model on eight A100 of 40 GB (Standard_ND96asr_v4, TP8), vLLM's benchmark_serving, 200 prompts of ShareGPT:
# surajssd/llm-k8s @58b61c5, results_serving_meta-llama-Llama-3.3-70B-Instruct/01_tp8_pp1.
VLLM = [
    {"backend": "vllm", "request_rate": rate, "request_goodput:": None, "completed": 200, "duration": duration,
     "total_input_tokens": 42659, "total_output_tokens": o, "mean_tpot_ms": token, "median_ttft_ms": first}
    for rate, duration, o, token, first in (
        (1.0, 205.21942114800004, 42722, 24.564414268982127, 56.37217849994158),
        (4.0, 62.98832992400003, 42449, 27.083319078977674, 49.50005649993727),
        (16.0, 31.5793632660002, 42770, 31.575131005299614, 58.10000099995705),
        ("inf", 23.81432977400027, 42398, 39.06266014106353, 349.84637349998593),
    )
]  # fmt: skip


def write(path, documents, form="lines"):
    text = json.dumps(documents) if form == "list" else "\n".join(map(json.dumps, documents))
    path.write_text(text)
    return path


@pytest.fixture
def sglang(tmp_path):
    return read_runs(write(tmp_path / "sglang.jsonl", SGLANG))


@pytest.fixture
def vllm(tmp_path):
    return read_runs(write(tmp_path / "vllm.json", VLLM, "list"))


H200 = roofline.deployment("llama-3.1-70b", "h200", 4, tensor_parallel=4)


def test_runs_are_read(sglang, vllm):
    assert [run.engine for run in (*sglang, *vllm)] == ["sglang"] * 5 + ["vllm"] * 4
    assert sglang[0].rate_per_s == pytest.approx(300 / 298.3675805)
    assert sglang[0].output_tokens == pytest.approx(160347 / 300)
    # what is left of the latency behind the first token, over the tokens behind it
    assert sglang[0].tpot_s == pytest.approx((7.840616 - 0.085745) / (160347 / 300 - 1), rel=1e-6)
    assert vllm[1].tpot_s == pytest.approx(0.027083319)
    assert vllm[1].ttft_s == pytest.approx(0.0495, rel=1e-3)
    # Little's law: 3.18 requests/s x 5.7 s of decoding
    assert vllm[1].running == pytest.approx(200 / 62.988 * (42449 / 200 - 1) * 0.027083, rel=1e-4)


def test_runs_that_fill_and_drain_are_told_from_steady_ones(sglang, vllm):
    """8 and 16 requests/s overload the one server; 16/s and all at once are over before a batch has settled."""
    assert [run.steady for run in sglang] == [True, True, True, False, False]
    assert [run.steady for run in vllm] == [True, True, False, False]


def test_a_public_run_is_fitted(sglang):
    """Three numbers to six measured times within 10% rms: half of the bandwidth, a fifth of the compute."""
    found = calibrate(sglang, H200)
    assert (found.free, len(found.compared), found.left_out) == (3, 6, ("sglang.jsonl:4", "sglang.jsonl:5"))
    assert found.rms_error < 0.1
    assert 0.4 < found.efficiency.memory < 0.7 and 0.15 < found.efficiency.compute < 0.3
    assert "residual" in found.note and "proves nothing" not in found.note
    assert "sglang.jsonl:4" in found.note


def test_a_fit_on_two_runs_predicts_the_third(sglang):
    """Fitted at 1 and 2 requests/s, asked at 4: TPOT, with three times as many sequences, within 20%."""
    found = calibrate(sglang[:2], H200)
    node = roofline.Deployment(H200.model, H200.chip, 4, 4, found.efficiency, step_s=found.step_s)
    run = sglang[2]
    kind = WorkerKind("h200", node)
    busy = Prompts(kind, demand(run.rate_per_s, round(run.input_tokens), round(run.output_tokens))).busy(1)
    token_s = kind.step_s(run.running, run.input_tokens + run.output_tokens / 2) / (1 - busy)
    assert token_s == pytest.approx(run.tpot_s, rel=0.2)


def test_the_link_is_kept():
    runs = [
        BenchmarkRun("a", "vllm", 1000.0, 1000, 500, 200, 0.02, 0.1),
        BenchmarkRun("b", "vllm", 1000.0, 3000, 500, 200, 0.03, 0.1),
    ]
    node = roofline.deployment("llama-3.1-70b", "h200", 4, tensor_parallel=4, efficiency=Efficiency(link=0.3))
    assert calibrate(runs, node).efficiency.link == 0.3


def made(node, rates, step_tokens=8192):
    """Runs that a server of these efficiencies would measure, by the closed form."""
    kind = WorkerKind("h200", node, step_tokens)
    for rate in rates:
        load = demand(rate, 1024, 200)
        pool = Answers(kind, load, load, reserve=0.0, token_s=math.inf)
        token_s = pool.at(1).token_s
        first_s = Prompts(kind, load).alone_s[0] + token_s / 2
        yield BenchmarkRun(f"{rate}/s", "vllm", 1000.0, round(1000 * rate), 1024, 200, token_s, first_s)


@pytest.mark.parametrize(("compute", "memory", "step_s"), [(0.45, 0.7, 0.003), (0.2, 0.4, 0.0005)])
def test_a_fit_finds_what_was_given(compute, memory, step_s):
    node = roofline.Deployment(H200.model, H200.chip, 4, 4, Efficiency(compute, memory), step_s=step_s)
    found = calibrate(list(made(node, (0.5, 1.0, 2.0, 4.0))), H200)
    assert found.rms_error < 2e-3
    assert found.efficiency.compute == pytest.approx(compute, rel=0.03)
    assert found.efficiency.memory == pytest.approx(memory, rel=0.1)


def test_one_run_proves_nothing(sglang):
    found = calibrate(sglang[:1], H200)
    assert (found.free, len(found.compared)) == (2, 2)
    assert "proves nothing" in found.note


def test_what_is_no_fit(sglang):
    with pytest.raises(ValueError, match=r"two figures of steady runs, there are 0; not steady.*sglang\.jsonl:4"):
        calibrate(sglang[3:], H200)
    with pytest.raises(ValueError, match="there are 0"):
        calibrate([], H200)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no run"),
        ("{", "no JSON"),
        ("[]", "holds no run"),
        ("[1]", "should hold JSON objects"),
        (json.dumps({**VLLM[0], "completed": 0}), "completed = 0 should be a number above 0"),
        (json.dumps({**VLLM[0], "duration": None}), "duration = None"),
        (json.dumps({**VLLM[0], "total_output_tokens": 200}), "1 output tokens a request"),
        (json.dumps({**VLLM[0], "mean_tpot_ms": -1}), "mean_tpot_ms = -1"),
        (json.dumps({**VLLM[0], "mean_tpot_ms": math.nan}), "mean_tpot_ms = nan"),
        (json.dumps({**VLLM[0], "total_input_tokens": True}), "total_input_tokens = True"),
    ],
)
def test_files_that_are_none(text, says, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        read_runs(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_runs(tmp_path / "none.json")


def test_the_chips_of_the_server_are_read(tmp_path):
    served = {**SGLANG[0], "server_info": {"tp_size": 4}}
    told = {**VLLM[0], "tensor_parallel_size": "8"}  # of --metadata
    runs = read_runs(write(tmp_path / "both.jsonl", [served, told, VLLM[1]]))
    assert [run.chips for run in runs] == [4, 8, None]
