"""`costlab simulate`: what it prints is what the package finds; what cannot be served says why."""

import json

import numpy as np
import pytest

from costlab import catalog, roofline
from costlab.roofline import kv_room, step_cost
from costlab.serving.layouts import WorkerPool, colocated
from costlab.serving.metrics import Objective
from costlab.serving.plan.space import Space
from costlab.serving.recorder import Recorder
from costlab.serving.schedulers import VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.traces import arrivals, generators, write

SERVED = "--model llama-3.1-8b --chip h100-sxm"
FIXED = "simulate fixed:60 --input 1K --output 32 --rate 10"


@pytest.fixture
def row(document):
    """A function that gives the only row of a command's JSON."""

    def row(line):
        (found,) = document(line)["rows"]
        return found

    return row


def expected(trace, recorder=None):
    """The report of one worker as the command's defaults have it."""
    node = roofline.deployment("llama-3.1-8b", "h100-sxm", 1)
    spec = WorkerSpec(step_cost(node), VllmV1(2048, 256), kv_room(node).tokens(256), 16, chips=1)
    return simulate(trace, colocated(WorkerPool(spec)), recorder=recorder)


def made(seed=0):
    client = arrivals.Client(10.0, arrivals.FixedLengths(1024, 32))
    return arrivals.open_loop([client], 60, np.random.default_rng(seed), None, "fixed")


def test_json_is_the_report(row):
    report = expected(made())
    assert row(f"{FIXED} {SERVED}") == {"model": "llama-3.1-8b", "chip": "h100-sxm", **report.as_dict()}


def test_the_table_and_its_lines_are_the_report(run):
    status, out, err = run(f"{FIXED} {SERVED} --ttft 1 --tpot 0.1")
    assert (status, err) == (0, "")
    report = expected(made(), Recorder(Objective(1.0, 0.1)))
    for sentence in report.sentences():
        assert f"  {sentence}\n" in out
    assert out.splitlines()[1].split()[4] == f"{report.overall.ttft.mean:.3g}"


def test_the_seed_is_the_loads(row):
    assert row(f"{FIXED} {SERVED} --seed 1")["ttft"]["p50_s"] == expected(made(1)).overall.ttft.p50
    assert row(f"{FIXED} {SERVED} --seed 1") != row(f"{FIXED} {SERVED} --seed 2")


def test_a_trace_is_read(row, tmp_path):
    trace = list(generators.generate("chat", 40, np.random.default_rng(0)))
    write(trace, tmp_path / "trace.jsonl")
    found = row(f"simulate {tmp_path}/trace.jsonl {SERVED} --limit 30")
    assert found["arrived_requests"] == 30
    assert found["input_tokens"] == sum(request.input_tokens for request in trace[:30])


def test_a_prefix_cache_saves_prompts(row):
    without, with_cache = (row(f"simulate chat:40 {SERVED} {cache}") for cache in ("", "--prefix-cache 100GB"))
    assert without["pools"][0]["cached_tokens"] == 0
    assert with_cache["pools"][0]["cached_tokens"] > 10_000
    saved = without["pools"][0]["prefill_tokens"] - with_cache["pools"][0]["prefill_tokens"]
    assert saved == with_cache["pools"][0]["cached_tokens"]


def test_a_hit_is_as_long_as_the_blocks_of_the_trace(row, tmp_path):
    """Bailian has blocks of 16 tokens: of a second prompt that begins with five blocks of the first, 80 are found."""
    rows = [
        {"chat_id": i, "parent_chat_id": -1, "timestamp": 10.0 * i, "input_length": 160, "output_length": 2,
         "type": "text", "turn": 1, "hash_ids": [*range(5), *range(9 * i + 10, 9 * i + 15)]}
        for i in range(2)
    ]  # fmt: skip
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = row(f"simulate {path} {SERVED} --prefix-cache 1GB")
    assert found["pools"][0]["cached_tokens"] == 5 * 16
    later = row(f"simulate {path} {SERVED} --prefix-cache 1GB --from 5")
    assert (later["arrived_requests"], later["pools"][0]["cached_tokens"]) == (1, 0)


def test_pools_apart_and_what_crosses(row):
    found = row(f"{FIXED} {SERVED} --prefill 2 --decode 1 --link 10GB --link-latency 0.001")
    assert [pool["name"] for pool in found["pools"]] == ["prefill", "decode"]
    assert [pool["workers"] for pool in found["pools"]] == [2, 1]
    assert sum(link["moved_bytes"] for link in found["links"].values()) == 60 * 1024 * 131_072
    slower = row(f"{FIXED} {SERVED} --prefill 2 --decode 1 --link 1GB --link-latency 0.001")
    assert slower["ttft"] == found["ttft"]  # prefill emits the first token
    assert slower["worst_gap"]["p50_s"] > found["worst_gap"]["p50_s"] + 0.1  # the transfer delays the second


def test_the_link_is_the_network_of_a_workers_chips(document):
    found = document(f"{FIXED} {SERVED} --tensor-parallel 2 --prefill 1 --decode 1")
    assert found["inputs"]["link_bytes_per_second"] == 2 * catalog.chip("h100-sxm").network_bytes_s


def test_a_transfers_set_up_is_the_planners_unless_told(document):
    line = f"{FIXED} {SERVED} --prefill 1 --decode 1"
    assert document(line)["inputs"]["link_latency_s"] == Space("llama-3.1-8b", ("h100-sxm",)).link_latency_s > 0
    assert document(f"{line} --link-latency 0")["inputs"]["link_latency_s"] == 0


def test_a_batch_is_no_larger_than_its_budget(row):
    assert row(f"{FIXED} {SERVED} --step-tokens 64")["finished_requests"] == 60


def test_short_prompts_stay_and_pools_lend(row):
    threshold = row(f"{FIXED} {SERVED} --prefill 1 --decode 1 --threshold 1K")
    assert sum(link["transfers"] for link in threshold["links"].values()) == 0
    assert "above 1024 uncached tokens" in threshold["layout"]
    assert "lend workers" in row(f"{FIXED} {SERVED} --prefill 1 --decode 1 --lend")["layout"]


@pytest.mark.parametrize("batching", ["vllm", "sarathi", "orca", "prefill-first"])
def test_each_scheduler_serves_all(row, batching):
    assert row(f"{FIXED} {SERVED} --batching {batching}")["finished_requests"] == 60


def test_users_wait(document):
    found = document(f"simulate fixed:60 --input 1K --output 32 --users 4 --think 0.5 {SERVED}")
    assert found["rows"][0]["finished_requests"] == 60
    assert found["rows"][0]["mean_in_system"] < 4
    assert found["notes"] == ["4 users who wait for their answers, beginning within 0.5 s"]


def test_mixtures_and_days_name_their_sources(document):
    found = document(f"simulate m-large:100 --rate 10 --day deepseek-r1 {SERVED}")
    told = {each["what"]: each for each in found["sources"] if each["kind"] == "workload"}
    assert list(told) == ["m-large", "deepseek-r1"]
    assert "ServeGen" in told["m-large"]["source"]


def test_classes_and_objectives(row):
    found = row(f"simulate azure-conv:200 --rate 5 {SERVED} --classes 512,4K --ttft 10 --tpot 1 --warm-up 5")
    assert [each["name"] for each in found["classes"]] == ["up to 512", "up to 4,096", "above 4,096"]
    assert sum(each["judged_requests"] for each in found["classes"]) == found["judged_requests"] < 200
    assert found["met_share"] == 1
    assert found["meets_objective"]


def test_a_service_that_does_not_keep_up_says_so(run, row):
    line = f"simulate fixed:600 --input 4K --output 64 --rate 100 {SERVED}"
    _, out, _ = run(line)
    assert "unstable: the queue grows by" in out
    found = row(line)
    assert (found["verdict"], found["growing"]) == ("growing", "queue")
    assert found["ttft"]["mean_s"] is None


def test_what_no_request_can_meet_is_said(run):
    _, out, _ = run(f"{FIXED} {SERVED} --ttft 0.0001")
    assert "no request met the objective: the shortest TTFT is" in out


def test_a_prompt_larger_than_memory_is_counted(row):
    found = row(f"simulate fixed:3 --input 2M --output 4 --rate 1 {SERVED}")
    assert found["rejected"] == [{"reason": "larger than memory", "requests": 3}]
    assert found["finished_requests"] == 0


def test_a_run_can_be_cut(row):
    found = row(f"{FIXED} {SERVED} --until 2")
    states = ("finished", "queued", "running", "moving", "rejected", "cancelled", "expired")
    assert sum(found[f"{state}_requests"] for state in states) == found["arrived_requests"] < 60
    assert found["end_s"] <= 2


REFUSED = [
    ("nope:10 --rate 1", "unknown load 'nope'; known: agent, azure-code"),
    ("azure-cod:10 --rate 1", "did you mean 'azure-code'"),
    ("chat:0", "'chat:0' wants a number of requests, e.g. chat:1000"),
    ("nothing.csv", "nothing.csv: cannot be read"),
    ("azure-conv:10", "azure-conv has lengths only: give --rate"),
    ("fixed:10 --rate 1", "fixed wants --input and --output"),
    ("azure-conv:10 --rate 1 --input 5", "azure-conv has lengths of its own"),
    ("chat:10 --cv 2", "--cv does not go with chat"),
    ("m-large:10 --rate 1 --cv 2", "--cv does not go with m-large"),
    ("m-large:10 --users 3", "m-large is a mixture of clients that do not wait"),
    ("azure-conv:10 --users 3 --rate 2", "--rate does not go with --users"),
    ("azure-conv:10 --rate 2 --think 1", "--think is for --users"),
    ("azure-conv:10 --rate 2 --day x", "unknown mixture of clients 'x'"),
    ("azure-conv:10 --rate 2 --limit 5", "--limit is for a trace that is read"),
    ("azure-conv:10 --rate 2 --from 5", "--from is for a trace that is read"),
    ("chat:10 --block-tokens 16", "--block-tokens is for a trace that is read"),
    ("azure-conv:10 --rate 0", "'0' should be a finite number above 0"),
    ("azure-conv:10 --rate nan", "'nan' should be a finite number"),
    ("azure-conv:10 --rate 2 --ttft -1", "'-1' should be a finite number above 0"),
    ("azure-conv:10 --rate 2 --until 0", "'0' should be a finite number above 0"),
    ("azure-conv:10 --rate 2 --share 2", "'2' should be a number between 0 and 1"),
    ("azure-conv:10 --rate 2 --cv 1000", "cv = 1000"),
    ("azure-conv:10 --rate 2 --prefill 1", "wants both, --prefill and --decode"),
    ("azure-conv:10 --rate 2 --workers 1 --decode 1", "--workers is for workers that do all"),
    ("azure-conv:10 --rate 2 --threshold 5", "--threshold is for --prefill and --decode"),
    ("azure-conv:10 --rate 2 --prefill 1 --decode 1 --lend --threshold 5", "are two layouts"),
    ("azure-conv:10 --rate 2 --router x", "unknown router 'x'"),
    ("azure-conv:10 --rate 2 --batching orca --watermark 0.1", "--watermark is for vllm and sarathi"),
    ("azure-conv:10 --rate 2 --batching orca --whole-prompt", "--whole-prompt is for vllm"),
    ("azure-conv:10 --rate 2 --classes 5,5", "rising"),
    ("azure-conv:10 --rate 2 --step-tokens 0", "'0' should be a whole number from 1"),
    ("azure-conv:10 --rate 2 --memory-share 0.05", "does not fit"),
    ("azure-conv --rate 2", "'azure-conv' wants a number of requests, e.g. azure-conv:1000"),
    ("azure-conv:10 --rate 2 --sort", "--sort is for a trace that is read"),
    ("azure-conv:10 --rate 2 --family weibull", "--family weibull is of gaps of another CV than 1: give --cv"),
    ("chat:10 --family weibull", "--family does not go with chat"),
    ("azure-conv:10 --users 2 --family gamma", "--family does not go with --users"),
    ("azure-conv:10 --rate 2 --link 50GB", "--link is for --prefill and --decode"),
    ("azure-conv:10 --rate 2 --link-latency 0", "--link-latency is for --prefill and --decode"),
    ("azure-conv:10 --rate 2 --sending layers", "--sending is for --prefill and --decode"),
    ("azure-conv:10 --rate 2 --prefill-chip h200", "--prefill-chip is for --prefill and --decode"),
    ("azure-conv:10 --rate 2 --prefill-step-tokens 512", "--prefill-step-tokens is for --prefill and --decode"),
    ("azure-conv:10 --rate 2 --threshold 0", "--threshold is for --prefill and --decode"),
    ("azure-conv:10 --rate 2 --prefill 1 --decode 1 --link 50", "'50' is 50 bytes a second"),
    ("azure-conv:10 --rate 2 --prefill 1 --decode 1 --link 0", "a size should be above 0 bytes"),
    ("azure-conv:10 --rate 2 --kv-block 1M", "less than a block of 1,048,576"),
    ("azure-conv:10 --rate 2 --workers 100000", "workers = 100000 should be at most 65,536"),
    ("azure-conv:10 --rate 1e-300", "should be at most 1e+10 s"),
    ("azure-conv:10 --users 2 --think 1e300", "should be at most 1e+10 s"),
    ("azure-conv:10 --rate 2 --step-seconds 1e12", "should last 1e+10 s at most"),
    ("azure-conv:10 --rate 2 --compute-efficiency 1e-300", "should last 1e+10 s at most"),
]


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_bad_input_is_quoted(run, line, message):
    status, out, err = run(f"simulate {line} {SERVED}")
    assert (status, out) == (2, "")
    assert message in err


def test_an_unsorted_trace_is_refused_with_its_place(run, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("time_s,input_tokens,output_tokens\n5,10,5\n1,10,5\n")
    status, out, err = run(f"simulate {path} {SERVED}")
    assert (status, out) == (2, "")
    assert "trace.csv" in err and "3" in err


def test_an_empty_trace_has_no_report(run, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("time_s,input_tokens,output_tokens\n")
    status, out, _ = run(f"simulate {path} {SERVED}")
    assert (status, out) == (2, "")


def test_a_trace_can_be_sorted(row, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("time_s,input_tokens,output_tokens\n5,10,5\n1,10,5\n")
    assert row(f"simulate {path} {SERVED} --sort")["finished_requests"] == 2


def test_a_run_that_is_over_before_its_end_is_as_long_as_it_was(row):
    whole, cut = row(f"{FIXED} {SERVED}"), row(f"{FIXED} {SERVED} --until 1000000")
    assert cut == whole


def test_what_was_judged_of_nothing_has_no_share(run):
    _, out, _ = run(f"{FIXED} {SERVED} --warm-up 1000 --ttft 1")
    assert "no request that arrived after the warm-up came to its end" in out and "nan" not in out
    _, out, _ = run(f"simulate fixed:1 --input 1K --output 32 --rate 10 {SERVED} --ttft 1")
    assert "  1 request arrived: 1 finished\n" in out and "nan" not in out


def test_a_trace_without_answers_is_counted(row, tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(
        "\n".join(
            json.dumps({"timestamp": t, "input_length": 600, "output_length": n, "hash_ids": [t, t + 100]})
            for t, n in ((0, 5), (1, 0), (2, 5))
        )
    )
    found = row(f"simulate {path} {SERVED}")
    assert found["rejected"] == [{"reason": "no output tokens asked for", "requests": 1}]
    assert found["finished_requests"] == 2
