"""`costlab replay` and `costlab sweep`: what they print is what the package finds; nothing half-written stays."""

import gzip
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from costlab.cache import footprints
from costlab.cache.sim.plan import Plan
from costlab.cache.sim.run import replay
from costlab.cache.tiers import standard
from costlab.traces import generators, read, write

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
TIERS = "--hbm 20GB --dram 1TB --ssd 30TB"
LINE = f"replay chat:60 --model mimo-v2.5-pro {TIERS}"


def chats(count=60, seed=0):
    return generators.generate("chat", count, np.random.default_rng(seed))


def expected(trace, *tiers, **options):
    return replay(trace, Plan("mimo-v2.5-pro", standard(*tiers), **options)).as_dict()


@pytest.fixture
def trace_file(tmp_path):
    path = tmp_path / "trace.jsonl"
    write(chats(), path)
    return path


# --- replay ----------------------------------------------------------------------------------------------------


def test_json_is_the_report(document):
    found = document(LINE)
    assert found["rows"] == [expected(chats(), "20GB", "1TB", "30TB")]
    assert found["notes"] == ["trace chat: generated, blocks of 512 tokens"]


def test_table_is_the_report(run):
    status, out, err = run(LINE)
    report = replay(chats(), Plan("mimo-v2.5-pro", standard("20GB", "1TB", "30TB")))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("tier")
    for row, line in zip(report.rows(), lines[1:], strict=False):
        assert line.split()[:2] == [row["tier"], row["hit rate"]]
    for row in report.summary():
        assert f"  {row['what']}: {row['value']}" in lines


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        ("--policy sieve", {"eviction": "sieve"}),
        ("--policy belady", {"eviction": "belady"}),
        ("--write back", {"write": "back"}),
        ("--prefetch best-effort", {"prefetch": "best-effort"}),
        ("--loading serial", {"loading": "serial"}),
        ("--checkpoint 2K", {"checkpoint_tokens": 2048}),
        ("--chip h200 --chips 12", {"chip": "h200", "chips": 12}),
    ],
)
def test_options_reach_the_plan(options, plan, document):
    tiers = standard("20GB", "1TB", "30TB", chips=plan.get("chips", 16))
    wanted = replay(chats(), Plan("mimo-v2.5-pro", tiers, **plan)).as_dict()
    assert document(f"{LINE} {options}")["rows"] == [wanted]


@pytest.mark.parametrize(
    ("sizes", "tiers"),
    [
        ("--hbm 20GB", ("20GB",)),
        ("--hbm 20GB --dram 0 --ssd 0TB", ("20GB",)),
        ("--hbm 20GB --ssd 1TB", ("20GB", None, "1TB")),
        ("--hbm 1.5GiB --dram 64GB", (1.5 * 2**30, 64e9)),
        ("--hbm unlimited", (float("inf"),)),
    ],
)
def test_sizes(sizes, tiers, document):
    assert document(f"replay chat:60 --model mimo-v2.5-pro {sizes}")["rows"] == [expected(chats(), *tiers)]


def test_seed(document):
    assert document(f"{LINE} --seed 3")["rows"] == [expected(chats(seed=3), "20GB", "1TB", "30TB")]


@pytest.mark.parametrize("name", list(generators.SHAPES))
def test_every_generator(name, document):
    trace = generators.generate(name, 30, np.random.default_rng(0))
    found = document(f"replay {name}:30 --model mimo-v2.5-pro --hbm 80GB")
    assert found["rows"] == [expected(trace, "80GB", block_tokens=trace.block_tokens)]


def test_files_plain_and_packed(trace_file, document):
    wanted = expected(read(trace_file), "20GB", "1TB", "30TB")
    assert document(LINE.replace("chat:60", str(trace_file)))["rows"] == [wanted]
    packed = Path(f"{trace_file}.gz")
    packed.write_bytes(gzip.compress(trace_file.read_bytes()))
    assert document(LINE.replace("chat:60", str(packed)))["rows"] == [wanted]


def test_standard_input(trace_file, document, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(trace_file.read_bytes())))
    found = document(LINE.replace("chat:60", "-"))
    assert found["rows"] == [expected(read(trace_file), "20GB", "1TB", "30TB")]


def shell(line):
    """A command line in bash, `costlab` being this one."""
    script = f'costlab() {{ "{sys.executable}" -m costlab.cli "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", script], env=ENV, capture_output=True, text=True, timeout=600)


def test_process_substitution(trace_file):
    """Nothing of a pipe is lost, and a sweep says what to do with one."""
    packed = gzip.compress(trace_file.read_bytes())
    Path(f"{trace_file}.gz").write_bytes(packed)
    options = "--model mimo-v2.5-pro --hbm 20GB --skip-bad --json"
    done = shell(
        f"costlab replay <(zcat {trace_file}.gz) {options}; cat {trace_file}.gz | costlab replay /dev/stdin {options}"
    )
    first, second = done.stdout.split("}\n{")
    assert done.stderr == ""
    for found in (json.loads(first + "}"), json.loads("{" + second)):
        assert found["rows"] == [expected(read(trace_file), "20GB")] and len(found["notes"]) == 1
    done = shell(f"costlab sweep <(zcat {trace_file}.gz) {options}")
    assert done.returncode == 2 and "save the stream to a file first" in done.stderr


def test_standard_input_may_be_of_any_format(document, monkeypatch):
    rows = b"arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,3772,54\n2.8,2015,156\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(rows))))
    found = document(LINE.replace("chat:60", "-"))
    assert (found["rows"][0]["requests"], found["rows"][0]["input_tokens"]) == (2, 5787)


NOT_CHAINED = """{"timestamp": 1000, "input_length": 1024, "output_length": 5, "hash_ids": [1, 2]}
{"timestamp": 900, "input_length": 1024, "output_length": 5, "hash_ids": [3, 4]}
{"timestamp": 2000, "input_length": 1024, "output_length": 5, "hash_ids": [2, 1]}
"""


def test_options_reach_the_reader(tmp_path, run, document):
    path = tmp_path / "t.jsonl"
    path.write_text(NOT_CHAINED)
    line = f"replay {path} --model llama-3.1-70b --hbm 80GB"
    status, _, err = run(line)
    assert status == 2 and "900 ms should be 1000 ms or later: time goes back (--sort" in err
    found = document(f"{line} --sort")
    assert (found["rows"][0]["hit_tokens"], found["rows"][0]["input_tokens"]) == (1023, 3072)
    assert "2 of 6 block ids stand behind another id than before" in found["notes"][1]
    assert "so hits are an upper bound" in found["notes"][1] and "line 3: id 2 stands first" in found["notes"][1]
    found = document(f"{line} --sort --chain")
    assert found["rows"][0]["hit_tokens"] == 0 and len(found["notes"]) == 1
    assert document(f"{line} --sort --from 0.1 --limit 1")["rows"][0]["requests"] == 1
    assert document(f"{line} --sort --from 0.05 --limit 5")["rows"][0]["requests"] == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_says_what_its_trace_is_like(jobs, tmp_path, run, document):
    path = tmp_path / "t.jsonl"
    path.write_text(f"oops\n{NOT_CHAINED}")
    line = f"sweep {path} --sort --skip-bad --model llama-3.1-70b --hbm 80GB,90GB,100GB --jobs {jobs}"
    notes = document(line)["notes"]
    assert "1 bad rows skipped" in notes[1] and "2 of 6 block ids" in notes[2] and len(notes) == 3
    status, out, err = run(f"{line} --csv")
    assert status == 0 and len(out.splitlines()) == 4 and err.splitlines() == notes


def test_lengths_only_hit_nothing(tmp_path, document):
    path = tmp_path / "azure.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,4808,10\n")
    found = document(LINE.replace("chat:60", str(path)))
    assert found["rows"][0]["hit_tokens"] == 0
    assert "lengths only, so nothing can hit" in found["notes"][0]


def test_bad_rows(trace_file, run, document):
    with open(trace_file, "a") as file:
        file.write("oops\n")
    line = LINE.replace("chat:60", str(trace_file))
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert f"{trace_file}, line 61, column 1: not JSON" in err
    found = document(f"{line} --skip-bad")
    assert found["rows"][0]["requests"] == 60
    assert f"1 bad rows skipped, first: {trace_file}, line 61" in found["notes"][1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("replay", ["TRACE", "--model", "--hbm"]),
        (f"replay nowhere.jsonl --model mimo-v2.5 {TIERS}", ["nowhere.jsonl", "No such file"]),
        (f"replay chta:10 --model mimo-v2.5 {TIERS}", ["unknown generator 'chta'", "did you mean 'chat'"]),
        (f"replay chat:x --model mimo-v2.5 {TIERS}", ["'chat:x'", "chat:1000"]),
        (f"replay chat:0 --model mimo-v2.5 {TIERS}", ["'chat:0'", "chat:1000"]),
        (f"replay chat:5 --model mimo-v2 {TIERS}", ["'mimo-v2'", "did you mean 'mimo-v2.5'"]),
        ("replay chat:5 --model mimo-v2.5 --hbm 0", ["--hbm should be above 0"]),
        ("replay chat:5 --model mimo-v2.5 --hbm 8XB", ["--hbm", "'8XB'", "80GB"]),
        ("replay chat:5 --model mimo-v2.5 --hbm -8GB", ["--hbm"]),
        (f"{LINE} --policy lfru", ["'lfru'", "did you mean 'lru'", "sieve"]),
        (f"{LINE} --write never", ["'never'", "through"]),
        (f"{LINE} --prefetch maybe", ["'maybe'", "wait"]),
        (f"{LINE} --loading fast", ["'fast'", "streamed"]),
        (f"{LINE} --checkpoint 0", ["--checkpoint", "'0'"]),
        (f"{LINE} --chip h9000", ["'h9000'", "h800"]),
        (f"{LINE} --limit 0", ["--limit", "'0'"]),
        (f"{LINE} --from -1", ["--from", "'-1' should be a number of seconds of at least 0"]),
        (f"{LINE} --limit 5", ["--limit is for a trace that is read; chat:60 is generated"]),
        (f"{LINE} --from 5", ["--from is for a trace that is read"]),
        (f"{LINE} --skip-bad", ["--skip-bad is for a trace that is read"]),
        (f"{LINE} --format csv", ["--format is for a trace that is read"]),
        (f"{LINE} --chain", ["--chain is for a trace that is read"]),
        ("sweep chat:5 --model mimo-v2.5 --hbm 1,5TB", ["--hbm", "'1' is 1 bytes", "write it like 1.5TB"]),
        ("sweep chat:5 --model mimo-v2.5 --hbm 10GB --dram 2,000GB", ["--dram", "'2' is 2 bytes"]),
        (f"{LINE} --plot nowhere/out.svg", ["nowhere/out.svg", "no such folder"]),
        (f"{LINE} --plot out.xyz", ["out.xyz", ".svg"]),
        ("sweep chat:5 --model mimo-v2.5,mimo-v3 --hbm 10GB", ["'mimo-v3'"]),
        ("sweep chat:5 --model mimo-v2.5 --hbm 10GB,x", ["--hbm", "'x'"]),
        ("sweep chat:5 --model mimo-v2.5 --hbm 10GB --jobs 0", ["jobs = 0", "-1"]),
        ("sweep chat:5 --model mimo-v2.5 --hbm 10GB --scheduler x://a", ["no Dask scheduler answers at 'x://a'"]),
        ("sweep - --model mimo-v2.5 --hbm 10GB", ["each worker reads the trace", "file"]),
    ],
)
def test_errors(line, words, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"hash_ids": []}')))
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    for word in words:
        assert word in err, err


# --- the figure ------------------------------------------------------------------------------------------------


def test_plot(tmp_path, run):
    path = tmp_path / "out.svg"
    status, _, _ = run(f"{LINE} --plot {path}")
    assert status == 0
    assert os.listdir(tmp_path) == ["out.svg"]
    drawing = ElementTree.parse(path).getroot()
    assert drawing.tag.endswith("svg")
    text = path.read_text()
    report = replay(chats(), Plan("mimo-v2.5-pro", standard("20GB", "1TB", "30TB")))
    for words in ["Where were the input tokens?", "How long until the first token?", "HBM", "DRAM", "SSD", "computed"]:
        assert words in text
    for tier in report.tiers:
        assert f"{tier.hit_rate:.1%}" in text
    for wait in (report.ttft, report.service):
        assert f"{wait.p90_s:.3g}" in text


def test_a_plot_that_fails_leaves_nothing(tmp_path, run, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "out.svg"
    path.write_text("before")

    def full(self, file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    status, out, err = run(f"{LINE} --plot {path}")
    assert (status, out) == (2, "")
    assert f"--plot {str(path)!r} cannot be written: No space left on device" in err
    assert (os.listdir(tmp_path), path.read_text()) == (["out.svg"], "before")


@pytest.mark.parametrize("verb", ["replay", "sweep"])
def test_weights_that_do_not_fit_are_refused(verb, run):
    status, out, err = run(f"{verb} chat:10 --model mimo-v2.5-pro --hbm 20GB --chips 8")
    assert (status, out) == (2, "")
    assert "MiMo-V2.5-Pro does not fit on 8" in err
    assert "129.4 GB of weights" in err and "72 GB may be used" in err


def test_without_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None; from costlab.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *LINE.split()]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, "--plot", "out.svg"], env=ENV, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--plot needs matplotlib (pip install matplotlib)" in done.stderr


# --- progress, and Ctrl-C --------------------------------------------------------------------------------------


@contextmanager
def start(line, **options):
    """A command line as a process, which is gone at the end whatever happens."""
    command = [sys.executable, "-m", "costlab.cli", *line.split()]
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def terminal():
    """Two ends of a terminal: ours to read what a process writes to its own."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


def test_progress_on_a_terminal_only(trace_file):
    """A terminal's stderr gets a bar, a pipe nothing; stdout never."""
    line = LINE.replace("chat:60", str(trace_file))
    with terminal() as (ours, theirs):
        with start(line, stderr=theirs) as process:
            out, _ = process.communicate(timeout=600)
        os.set_blocking(ours, False)
        shown = os.read(ours, 100_000).decode()
    assert "requests" in shown and process.returncode == 0
    with start(line, stderr=subprocess.PIPE) as process:
        assert process.communicate(timeout=600) == (out, "")


class Interrupted(io.RawIOBase):
    """A stream that gives a text and, when asked for more, has its reader interrupted as by Ctrl-C."""

    def __init__(self, text):
        self.rest = text.encode()

    def readable(self):
        return True

    def readinto(self, buffer):
        given, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        if not given:
            signal.raise_signal(signal.SIGINT)
        buffer[: len(given)] = given
        return len(given)


def test_ctrl_c_while_waiting_for_rows(tmp_path, trace_file, run, monkeypatch):
    """What came before is summed up on stderr; status 130, no figure."""
    plot = tmp_path / "out.svg"
    rows = trace_file.read_text().splitlines(keepends=True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Interrupted("".join(rows[:20])))))
    status, out, err = run(f"{LINE.replace('chat:60', '-')} --plot {plot}")
    assert (status, out) == (130, "")
    assert "Traceback" not in err
    assert "costlab replay: stopped after 20 requests; so far:" in err
    assert "requests: 20" in err
    assert not plot.exists() and not [name for name in os.listdir(tmp_path) if "out.svg" in name]


def interrupted(line, unit):
    """Ctrl-C for a process once its progress bar has shown itself; its status, stdout and what the terminal showed."""
    with terminal() as (ours, theirs), start(line, stderr=theirs) as process:
        shown = b""
        while unit not in shown:
            shown += os.read(ours, 1000)
        process.send_signal(signal.SIGINT)
        reader = threading.Thread(target=process.wait)
        reader.start()
        os.set_blocking(ours, False)
        while reader.is_alive() or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.05)[0]:
                shown += os.read(ours, 1000)
        with process.stdout as out:
            return process.returncode, out.read(), shown.decode()


def test_ctrl_c_at_work():
    status, out, shown = interrupted(LINE.replace("chat:60", "chat:99999999"), b"requests/s")
    assert (status, out) == (130, "")
    assert "Traceback" not in shown
    assert "costlab replay: stopped after" in shown and "token hit rate" in shown


def test_progress_of_a_policy_that_knows_the_future():
    """All requests are read first; then a second bar shows how many were served, and Ctrl-C ends that too."""
    line = LINE.replace("chat:60", "chat:20000") + " --policy belady"
    status, out, shown = interrupted(line, b"served/s")
    assert (status, out) == (130, "")
    assert re.search(r"costlab replay: stopped after [\d,]+ of 20,000 requests", shown), shown
    assert "Traceback" not in shown


# --- sweep -----------------------------------------------------------------------------------------------------

SWEEP = "sweep chat:40 --model mimo-v2.5-pro,deepseek-v3 --hbm 10GB,unlimited --policy lru,sieve"


def test_sweep_is_every_combination(document):
    rows = document(f"{SWEEP} --jobs 1")["rows"]
    points = [
        (model, hbm, policy)
        for model in ("mimo-v2.5-pro", "deepseek-v3")
        for hbm in (1e10, None)
        for policy in ("lru", "sieve")
    ]
    assert [(row["model"], row["hbm_bytes"], row["policy"]) for row in rows] == points
    for row, (model, hbm, policy) in zip(rows, points, strict=True):
        plan = Plan(model, standard(hbm or float("inf")), eviction=policy)
        wanted = replay(chats(40), plan).as_dict()
        assert {key: row[key] for key in wanted} == wanted


def test_sweep_table_and_csv(run):
    status, out, _ = run(f"{SWEEP} --jobs 1 --dram 0,1TB")
    lines = out.splitlines()
    assert status == 0 and len(lines) == 18 and lines[17] == "  trace chat: generated, blocks of 512 tokens"
    assert lines[0].split()[:7] == ["model", "hbm", "dram", "policy", "hit_rate", "in_HBM", "in_DRAM"]
    assert lines[1].split()[:5] == ["mimo-v2.5-pro", "10", "GB", "none", "lru"]
    status, out, _ = run(f"{SWEEP} --jobs 1 --csv")
    lines = [line.split(",") for line in out.splitlines()]
    assert len(lines) == 9 and {len(line) for line in lines} == {len(lines[0])}
    wanted = replay(chats(40), Plan("mimo-v2.5-pro", standard("10GB"))).token_hit_rate
    assert float(lines[1][lines[0].index("hit_rate")]) == wanted


def test_csv_of_models_with_and_without_windows(run):
    """One head for each value: none for a pool that only some models have, whose pages have heads of their own."""
    _, out, _ = run("sweep chat:40 --model mimo-v2.5-pro,deepseek-v3 --hbm 10GB --jobs 1 --csv")
    heads, with_windows, without = (line.split(",") for line in out.splitlines())
    assert len(set(heads)) == len(heads) == len(with_windows) == len(without)
    assert "tiers.HBM.window_pool" not in heads
    at = heads.index("tiers.HBM.window_pool.peak_pages")
    assert int(with_windows[at]) > 0 and without[at] == ""


def test_a_sweep_that_fails_in_part(tmp_path, run, document):
    """Rows of a plan that failed carry its error, and the status says that not all is well."""
    path = tmp_path / "twice.jsonl"
    path.write_text('{"timestamp": 0, "input_length": 1024, "output_length": 1, "hash_ids": [1, 1]}')
    line = f"sweep {path} --model mimo-v2.5-pro --hbm 10GB,20GB --jobs 1"
    found = document(line, status=1)
    assert all(": id 1 comes twice" in row["error"] for row in found["rows"])
    assert found["notes"] == ["2 of 2 plans failed"]
    status, out, _ = run(line)
    assert status == 1 and "2 of 2 plans failed" in out
    status, out, err = run(f"{line} --csv")
    assert (status, err) == (1, "2 of 2 plans failed\n")
    assert out.splitlines()[0] == "model,hbm_bytes,error"


def test_ctrl_c_in_a_sweep():
    line = "sweep chat:99999999 --model mimo-v2.5-pro --hbm 10GB,20GB,30GB --jobs 2"
    status, out, shown = interrupted(line, b"plans/s")
    assert (status, out) == (130, "")
    assert "costlab sweep: stopped after 0 of 3 plans" in shown
    assert "Traceback" not in shown


# --- states of recurrent layers ----------------------------------------------------------------------------------


@pytest.fixture
def with_states(monkeypatch):
    """A catalogued model whose last layer keeps a state of 1 MB instead of keys and values."""
    known = footprints.footprint("deepseek-v3")
    changed = footprints.Footprint((*known.layers[:-1], footprints.LayerBytes(0.0, state_bytes=1e6)))
    monkeypatch.setattr(footprints, "footprint", lambda model: changed)


def test_a_rule_for_states_reaches_the_plan(document, with_states):
    line = "replay chat:60 --model deepseek-v3 --chips 32 --hbm 20GB"
    for options, rules in (
        ("", {}),
        ("--states every:4K+ends", {"states": "every:4096+ends"}),
        ("--states BRANCHES --state-share 0.2", {"states": "branches", "state_share": 0.2}),
        ("--states none", {"states": "none"}),
    ):
        plan = Plan("deepseek-v3", standard("20GB", chips=32), chips=32, **rules)
        assert document(f"{line} {options}")["rows"] == [replay(chats(), plan).as_dict()]


def test_a_table_tells_of_states(run, with_states):
    status, out, _ = run("replay chat:60 --model deepseek-v3 --chips 32 --hbm 20GB --states every:2K")
    assert status == 0 and "  states kept by the rule every:2048\n" in out and "  found but not resumable: " in out
    line = "sweep chat:60 --model deepseek-v3 --chips 32 --hbm 20GB --states none,ends,every:1K --jobs 1"
    status, out, _ = run(line)
    head, *rows = out.splitlines()[:4]
    assert status == 0
    assert head.split()[:6] == ["states", "hit_rate", "page_hit_rate", "states_GB", "states_kept", "states_gone"]
    assert [row.split()[0] for row in rows] == ["none", "ends", "every:1024"]
    assert rows[0].split()[1] == "0" and float(rows[1].split()[1]) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--states every", ["--states", "'every'", "every:TOKENS"]),
        ("--states ends+ends", ["'ends+ends'"]),
        ("--states ends", ["states ends", "mimo-v2.5-pro has no recurrent layers"]),
        ("--state-share 2", ["--state-share", "'2'"]),
        ("--state-share 0.5", ["state_share = 0.5", "no recurrent layers"]),
    ],
)
def test_rules_that_cannot_be_are_refused(options, words, run):
    status, out, err = run(f"{LINE} {options}")
    assert (status, out) == (2, "") and all(word in err for word in words)
