"""The verb plan: its table and JSON, its flags, its refusals."""

import json

import pytest

from costlab import prices

LINE = (
    "plan --model llama-3.1-8b --chip h100-sxm --rate 10 --input 1K --output 64 --ttft 0.5 --tpot 0.03 "
    "--compute-efficiency 0.5 --memory-efficiency 0.7 --tensor-parallel 1 --step-tokens 512 --requests 300 --runs 1"
)


@pytest.fixture(scope="module")
def made():
    """The document of a plan, made once."""
    import contextlib
    import io

    from costlab.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*LINE.split(), "--export", "vllm", "--json"]) == 0
    return json.loads(out.getvalue())


def test_plans_come_first_and_the_refused_behind_them(made):
    status = [row["status"] for row in made["rows"]]
    assert status == sorted(status) and status[0] == "plan"
    for row in made["rows"]:
        assert (row["reason"] is None) == (row["status"] == "plan") == (row["constraint"] is None)


def test_a_plan_says_what_it_is_and_that_it_was_simulated(made):
    row = made["rows"][0]
    assert row["chips"] == sum(pool["workers"] * pool["chips"] for pool in row["pools"])
    assert row["simulated"]["ttft_at_share_s"] <= 0.5 and row["simulated"]["tpot_at_share_s"] <= 0.03
    assert row["closed"]["met_share"] >= 0.9 <= row["simulated"]["met_share"]
    assert (row["simulated_requests"], row["runs"]) == (300, 1)
    rent = prices.chip_rent("h100-sxm").amount
    assert row["usd_per_hour"] == pytest.approx(rent * row["chips"])
    assert row["usd_per_month"] == pytest.approx(730 * row["usd_per_hour"])
    tokens = 10 * (1024 * row["miss_usd_per_million_tokens"] + 64 * row["output_usd_per_million_tokens"]) / 1e6
    assert 3600 * tokens == pytest.approx(row["usd_per_hour"])
    assert row["hit_usd_per_million_tokens"] is None


def test_rents_are_sources(made):
    assert [source["kind"] for source in made["sources"]] == ["model", "chip", "rent"]
    assert made["inputs"]["usd_per_chip_hour"] == prices.chip_rent("h100-sxm").amount
    assert made["inputs"]["prefill_chip"] == "h100-sxm"


def test_flags_are_printed_for_each_pool(made):
    (commands,) = [row["commands"] for row in made["rows"][:1]]
    assert "vllm 0.33.0" in commands[0]
    assert sum(line.startswith("vllm serve") for line in commands) == len(made["rows"][0]["pools"])


def test_the_table_shows_both_kinds_of_figures(run):
    status, out, err = run(f"{LINE} --layouts co-located")
    assert (status, err) == (0, "")
    head, first = out.splitlines()[:2]
    for word in ("ttft_s", "ttft_s_closed", "tpot_ms", "tpot_ms_closed", "one_lost", "usd_month", "usd_M_output"):
        assert word in head.split()
    assert first.startswith("co-located 1x1 h100-sxm workers, 512 tokens a step")
    assert "simulated at the peak" in out and "5% of the cache room in reserve" in out


def test_the_roofline_is_not_taken_for_an_engine(document):
    ideal = document(LINE.replace("--compute-efficiency 0.5 --memory-efficiency 0.7", "--layouts co-located"))
    assert any("no engine reaches the roofline" in note for note in ideal["notes"])


def test_what_is_infeasible_says_why(run, document):
    line = LINE.replace("--ttft 0.5", "--ttft 0.001")
    status, out, err = run(line)
    assert (status, err) == (1, "")
    assert "infeasible because of TTFT: the prefill of one request alone takes" in out
    found = document(line, status=1)
    assert all(row["status"] == "refused" for row in found["rows"])
    status, out, _ = run(LINE.replace("llama-3.1-8b", "llama-3.1-70b"))
    assert status == 1 and "infeasible because of memory" in out and "GB of weights" in out


def test_chips_that_do_not_suffice(run):
    status, out, _ = run(f"{LINE.replace('--rate 10', '--rate 900')} --most-chips 2 --layouts co-located")
    assert status == 1 and "no plan meets the objective" in out and "there are 2" in out


def test_a_trace_in_place_of_means(document, run, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(
        "time_s,input_tokens,output_tokens\n" + "\n".join(f"{i / 4},{500 + i % 9},{20 + i % 5}" for i in range(99))
    )
    line = LINE.replace("--rate 10 --input 1K --output 64", f"--trace {path} --layouts co-located")
    inputs = document(line)["inputs"]
    assert inputs["requests_per_second"] == pytest.approx(4, rel=1e-6)
    assert (inputs["input_tokens"], inputs["output_tokens"]) == (504, 22)
    assert run(f"{line} --rate 3")[2].startswith("costlab plan: --rate is what --trace")
    assert (
        "cannot" in run(line.replace(str(path), "none.csv"))[2] or "no" in run(line.replace(str(path), "none.csv"))[2]
    )


def test_calibrated_from_a_benchmark(document, run, tmp_path):
    path = tmp_path / "run.json"
    fields = {"total_input_tokens": 500_000, "total_output_tokens": 100_000, "median_ttft_ms": 60.0}
    runs = [
        {"completed": 1000, "duration": duration, "mean_tpot_ms": token, **fields}
        for duration, token in ((1000.0, 7.5), (500.0, 8.2))
    ]
    path.write_text("\n".join(map(json.dumps, runs)))
    bare = LINE.replace("--compute-efficiency 0.5 --memory-efficiency 0.7", "")
    line = f"{bare} --layouts co-located --calibrate {path}"
    assert "give no others" in run(f"{line} --memory-efficiency 0.7")[2]
    assert "give --calibrate-chips" in run(line)[2]
    found = document(f"{line} --calibrate-chips 1")
    assert 0 < found["inputs"]["memory_efficiency"] < 1 and found["inputs"]["fixed_step_s"] > 0
    assert any("numbers fitted to 4 measured times" in note for note in found["notes"])
    assert "cannot be read" in run(f"{bare} --calibrate none.json")[2]


@pytest.mark.parametrize(
    "change", ["--input 1 --output 1", "--input 2K --output 1 --hit-rate 1", "--input 1 --output 2"]
)
def test_the_shortest_requests(change, document):
    """One token is emitted by prefill: nobody decodes, and nothing is moved; a whole hit still computes a token."""
    line = LINE.replace("--input 1K --output 64", change)
    rows = [row for row in document(line)["rows"] if row["status"] == "plan"]
    assert rows and all(row["simulated"]["met_share"] == 1 for row in rows)


def test_answers_of_one_token_have_no_tpot(document):
    """None that is too long, none that is printed, and none that keeps a plan on the front."""
    line = LINE.replace("--output 64", "--output 1").replace("--tpot 0.03", "--tpot 1e-9")
    rows = [row for row in document(line)["rows"] if row["status"] == "plan"]
    assert [row["layout"] for row in rows] == ["co-located"]
    assert rows[0]["closed"]["tpot_at_share_s"] is rows[0]["simulated"]["tpot_at_share_s"] is None


def test_alike_prompts_have_no_buckets(run):
    status, out, _ = run(f"{LINE} --layouts buckets,conditional")
    assert status == 1 and "all uncached prompts are of one length" in out


def test_a_run_of_which_nothing_is_left_behind_the_warm_up(run):
    status, out, _ = run(f"{LINE} --layouts co-located --requests 1")
    assert status == 1 and "no request came after the warm-up" in out and "nan" not in out


def test_a_trace_can_be_sorted(document, run, tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"{i * 37 % 99 / 4},500,20" for i in range(99)]
    path.write_text("\n".join(["time_s,input_tokens,output_tokens", *rows]))
    line = LINE.replace("--rate 10 --input 1K --output 64", f"--trace {path} --layouts co-located")
    assert "time goes back (--sort" in run(line)[2]
    assert document(f"{line} --sort")["inputs"]["requests_per_second"] == pytest.approx(4, rel=1e-6)


def test_an_absurd_load_ends(run):
    status, out, _ = run(f"{LINE.replace('--rate 10', '--rate 1e9')} --layouts co-located,separated")
    assert status == 1 and "4,096 workers" in out and "1e+09 requests/s" in out


def test_runs_that_are_too_short_say_so(document):
    line = LINE.replace("--output 64", "--output 4K").replace("--requests 300", "--requests 60")
    assert any("too short" in note for note in document(f"{line} --layouts co-located")["notes"])


def test_speculation_is_an_option(document, run):
    line = f"{LINE.replace('--ttft 0.5', '--ttft 2')} --layouts separated --draft lookup"
    assert "needs --acceptance" in run(line)[2]
    rows = document(f"{line} --acceptance 0.9 --length 2")["rows"]
    lengths = {pool["length"] for row in rows if row["status"] == "plan" for pool in row["pools"]}
    assert lengths - {0}
    assert "fewer than --length 3" in run(f"{line} --acceptance 0.9,0.8 --length 3")[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("--rate 10", "--rate 0"), "'0' should be a finite number above 0"),
        (("--rate 10", "--rate -1"), "'-1' should be a finite number"),
        (("--rate 10", "--rate nan"), "'nan' should be a finite number"),
        (("--rate 10", "--rate inf"), "'inf' should be a finite number"),
        (("--rate 10 ", ""), "give --rate, or a --trace"),
        (("--input 1K", "--input 0"), "'0' should be a whole number from 1"),
        (("--output 64", "--output -3"), "'-3' should be a whole number"),
        (("--ttft 0.5", "--ttft 0"), "ttft_s = 0.0 should be a number of seconds above 0"),
        (("--ttft 0.5", "--ttft nan"), "'nan' should be a number of seconds"),
        (("--tpot 0.03", "--tpot -1"), "'-1' should be a number of seconds"),
        (("--runs 1", "--runs 1 --share 1.5"), "'1.5' should be a number between 0 and 1"),
        (("--runs 1", "--runs 1 --share 0"), "share = 0.0 should be above 0"),
        (("--runs 1", "--runs 1 --peak 0.5"), "peak factor = 0.5 should be a finite number of at least 1"),
        (("--runs 1", "--runs 1 --cv 0"), "'0' should be a finite number above 0"),
        (("--runs 1", "--runs 1 --length-cv nan"), "'nan' should be a finite number"),
        (("--runs 1", "--runs 1 --hit-rate 2"), "'2' should be a number between 0 and 1"),
        (("--runs 1", "--runs 1 --reserve 1"), "reserve = 1.0 should be at least 0 and below 1"),
        (("--runs 1", "--runs 1 --rent -1"), "'-1' should be a finite number"),
        (("--runs 1", "--runs 1 --rent 1 --prefill-rent 2"), "--rent and --prefill-rent differ"),
        (("--runs 1", "--runs 1 --step-seconds -1"), "'-1' should be a number of seconds"),
        (("0.5 --memory", "1.5 --memory"), "compute efficiency should be above 0 and at most 1"),
        (("--runs 1", "--runs 1 --layouts apart"), "unknown layout 'apart'"),
        (("--runs 1", "--runs 1 --export tgi"), "unknown engine 'tgi'"),
        (("--runs 1", "--runs 1 --jobs 0"), "jobs = 0 should be at least 1"),
        (("--tensor-parallel 1", "--tensor-parallel 0"), "'0' should be a whole number from 1"),
        (("llama-3.1-8b", "llama"), "unknown model 'llama'"),
        (("h100-sxm", "h900"), "unknown chip 'h900'"),
        (("h100-sxm", "ascend-910b"), "give --rent"),
        (("--runs 1", "--runs 1 --cv 1e9"), "cv = 1000000000.0 should be from 0.01 to 100"),
        (("--runs 1", "--runs 1 --length-cv 1e300"), "length cv = 1e+300 should be from 0 to 100"),
        (("--rate 10", "--rate 1e-300"), "should be at most 1e+10 s"),
        (("--step-tokens 512", "--step-tokens 1"), "step tokens = 1 should be at least 2"),
        (("--tensor-parallel 1", "--tensor-parallel 3"), "tensor_parallel = 3 should divide the heads"),
        (("--tensor-parallel 1", "--tensor-parallel 16"), "stay within a node of 8 h100-sxm"),
        (("--runs 1", "--runs 1 --draft mtp --acceptance 0.5 --length 999999999"), "should be at most 64"),
        (("--runs 1", "--runs 1 --acceptance 0.5"), "--acceptance and --length are for --draft"),
        (("--runs 1", "--runs 1 --length 2"), "--acceptance and --length are for --draft"),
        (("--runs 1", "--runs 1 --calibrate-chips 2"), "--calibrate-chips is for --calibrate"),
        (("--runs 1", "--runs 1 --sort"), "--sort is for --trace"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, says, run):
    status, out, err = run(LINE.replace(*change))
    assert (status, out) == (2, "")
    assert says in err.splitlines()[0]
