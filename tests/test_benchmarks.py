"""The benchmarks run, each figure names its peer, what is quoted is what was measured. Nothing here asks for speed."""

import importlib.util
import json
import logging
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
import torch

from costlab import arch

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
KINDS = ("full", "gated-delta")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import as a benchmark does, and leave threads and logging as they were."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    logging.disable(logging.NOTSET)


@pytest.fixture
def table() -> ModuleType:
    import table

    return table


@pytest.fixture
def peers() -> ModuleType:
    import peers

    return peers


# --- what is stored --------------------------------------------------------------------------------------------


def test_every_benchmark_has_rows_beside_named_peers(table: ModuleType, peers: ModuleType) -> None:
    runs = json.loads((BENCHMARKS / "results.json").read_text())
    assert sorted(runs) == table.NAMES
    for run in runs.values():
        assert date.fromisoformat(run["date"])
        assert re.fullmatch(r"[0-9a-f]{7,40}\+?", run["commit"])
        assert re.search(r"\d+ cores, \d+ GB", run["machine"])
        assert {"Python", "numpy", "torch", "transformers", "libcachesim"} <= run["versions"].keys()
        rows = [peers.Row(**row) for row in run["rows"]]  # refuses a row without a peer, or without values and reason
        assert rows
        assert len({row.name for row in rows}) == len(rows)
        assert all(row.ratio is None or 0 < row.ratio < float("inf") for row in rows)


def test_the_page_shows_what_is_stored(table: ModuleType) -> None:
    assert (BENCHMARKS / "results.md").read_text() == table.page(table.read())


def test_readme_quotes_what_is_stored(table: ModuleType) -> None:
    """Each quoted row stands in README to the digit; another digit there would be noticed."""
    text, runs = (ROOT / "README.md").read_text(), table.read()
    blocks = re.findall(r"<!-- bench: (.*?) -->\n(.*?)<!-- /bench -->", text, re.S)
    assert blocks
    for keys, shown in blocks:
        assert shown == table.quoted(runs, keys.split())
    filled = load(ROOT / "tools" / "readme_output.py").QUOTED
    assert len(filled.findall(text)) == len(blocks)


def test_chapters_type_no_measured_time() -> None:
    """A clock in a chapter gives other numbers in each build, beside prose that stays: they read the table instead."""
    for path in (ROOT / "book").glob("*.ipynb"):
        sources = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        for source in sources:
            assert not re.search(r"\b(perf_counter|process_time|timeit|time\.time)\b", source), f"{path.name}: {source}"


def test_a_gpus_figures_are_of_the_bytes_that_are_counted() -> None:
    """By hand on a GPU: a delta net's step is flat, full attention's grows, and no step is faster than the memory."""
    run = json.loads((BENCHMARKS / "gpu" / "decode.json").read_text())
    assert date.fromisoformat(run["date"])
    assert run["copy_bytes_per_s"] < run["hbm_bytes_per_s"]
    delta = arch.GatedDelta(heads=64, key_heads=16, key_dim=128, value_dim=128, conv_width=4)
    full = arch.FullAttention(32, 64, ((512, "bf16"),), kv_heads=2, qk_dim=256, v_dim=256, qk_norm=True, gate_dim=256)
    for batch in (1, 16, 64):
        rows = {kind: [r for r in run["rows"] if (r["kind"], r["batch"]) == (kind, batch)] for kind in KINDS}
        steps = {kind: [row["step_s"] for row in rows[kind]] for kind in KINDS}
        assert [row["context"] for row in rows["gated-delta"]] == [
            n * 1024 for n in (1, 4, 16, 64, 128, 256, 512, 1024)
        ]
        assert max(steps["gated-delta"]) < 1.01 * min(steps["gated-delta"])
        assert steps["full"] == sorted(steps["full"])
        assert steps["full"][0] < steps["gated-delta"][0] < steps["full"][3]  # 1K tokens; 64K tokens
        for row in rows["full"]:
            assert row["kept_bytes"] == batch * row["context"] * full.stores()[0].bytes_per_entry
        for row in rows["gated-delta"]:  # all but the oldest of four inputs, read and written
            assert row["kept_bytes"] == 2 * batch * (delta.state_bytes - 2 * delta.conv_elements / 4)
        for row in (*rows["full"], *rows["gated-delta"]):
            assert 0.6 * run["hbm_bytes_per_s"] < row["bytes_per_s"] < run["hbm_bytes_per_s"]
            assert row["step_s_low"] <= row["step_s"] <= row["step_s_high"]
            counted = {"full": full, "gated-delta": delta}[row["kind"]].params(4096)
            assert row["weight_bytes"] == pytest.approx(2 * (sum(counted.values()) - counted["norm"]))


# --- rows ------------------------------------------------------------------------------------------------------


def test_a_ratio_above_one_means_that_ours_is_better(peers: ModuleType) -> None:
    assert peers.beside("t", "a call", "them", (0.002, 0.008)).ratio == 4
    assert peers.Row("s", "a speed", "them", "GB/s", 3.0, 1.5, more=True).ratio == 2


@pytest.mark.parametrize(
    ("goal", "missed"), [((3, None), False), ((5, None), True), ((0.7, 1.3), True), ((3.5, 4.5), False), (None, False)]
)
def test_goals(peers: ModuleType, goal: tuple[float, float | None] | None, missed: bool) -> None:
    row = peers.beside("t", "a call", "them", (0.002, 0.008), goal=goal)
    assert row.missed is missed
    assert ("missed" in peers.cells(row)["goal"]) is missed


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"peer": "", "ours": 1.0, "theirs": 1.0}, "and a peer"),
        ({"name": "two words", "ours": 1.0, "theirs": 1.0}, "without spaces"),
        ({}, "or a reason"),
        ({"ours": 1.0}, "or a reason"),
        ({"ours": 1.0, "theirs": 1.0, "why_not": "no browser"}, "or a reason"),
    ],
)
def test_rows_that_say_nothing_are_refused(peers: ModuleType, values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        peers.Row(**{"name": "n", "figure": "f", "peer": "them", "unit": "ms"} | values)


def test_numbers_have_three_figures(peers: ModuleType) -> None:
    shown = [peers.number(v) for v in (0, 0.012345, 0.9999, 4.5678, 45.678, 456.78, 12345.6)]
    assert shown == ["0", "0.0123", "1.000", "4.57", "45.7", "457", "12,346"]


# --- the table -------------------------------------------------------------------------------------------------


def fake_run(rows: list[dict[str, object]], day: str) -> dict[str, object]:
    return {"date": day, "commit": "abc", "machine": "m", "versions": {"Python": "3"}, "rows": rows}


ROW = {"name": "n", "figure": "f", "peer": "them", "unit": "ms", "ours": 1.0, "theirs": 2.0}


def test_one_benchmark_replaces_only_its_rows(
    table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write({"moe": fake_run([ROW], "2026-01-01"), "cache": fake_run([ROW], "2026-01-01")}, tmp_path)
    monkeypatch.setattr(table, "run", lambda name, quick: fake_run([{**ROW, "ours": 4.0}], "2026-02-02"))
    table.main(["moe", "--into", str(tmp_path)])
    runs = table.read(tmp_path)
    assert runs["cache"] == fake_run([ROW], "2026-01-01")
    assert runs["moe"] == fake_run([{**ROW, "ours": 4.0}], "2026-02-02")
    assert (tmp_path / "results.md").read_text() == table.page(runs)


def test_a_benchmark_that_fails_keeps_its_old_rows(
    table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write({"moe": fake_run([ROW], "2026-01-01")}, tmp_path)

    def run(name: str, quick: bool) -> dict[str, object]:
        if name == "moe":
            raise subprocess.CalledProcessError(1, name)
        return fake_run([ROW], "2026-02-02")

    monkeypatch.setattr(table, "run", run)
    with pytest.raises(SystemExit, match="moe"):
        table.main(["moe", "cache", "--into", str(tmp_path)])
    assert {name: run["date"] for name, run in table.read(tmp_path).items()} == {
        "cache": "2026-02-02",
        "moe": "2026-01-01",
    }


def test_bad_requests_are_refused(table: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for request, says in ((["mo"], "no benchmark mo; there are arch"), (["--quick"], "--into")):
        with pytest.raises(SystemExit) as stopped:
            table.main(request)
        assert stopped.value.code == 2
        assert says in capsys.readouterr().err


# --- the benchmarks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["attention", "cache", "chips", "delta", "engine", "levers", "moe", "rounds", "speculative", "store"]
)
def test_a_tiny_run_gives_the_stored_rows_peers_and_units(
    name: str, table: ModuleType, peers: ModuleType, tmp_path: Path
) -> None:
    module, path = load(BENCHMARKS / f"{name}.py"), tmp_path / "rows.json"
    options = {"add_options": module.add_options} if hasattr(module, "add_options") else {}
    peers.main(module.rows, module.__doc__, ["--quick", "--json", str(path)], **options)
    found = [peers.Row(**table.rounded(row)) for row in json.loads(path.read_text())]
    assert found
    assert all(row.ratio for row in found)
    stored = [peers.Row(**row) for row in table.read()[name]["rows"]]
    assert {(row.peer, row.unit) for row in found} - {("the same at 256", "ms")} <= {(r.peer, r.unit) for r in stored}


@pytest.mark.parametrize(
    ("name", "module"),
    [("arch", "llm_analysis.config"), ("live", "jupyterlite_core"), ("serving", "dynamo.replay")],
)
def test_a_missing_peer_is_an_error_that_says_what_to_do(
    name: str, module: str, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    benchmark = load(BENCHMARKS / f"{name}.py")
    with pytest.raises(SystemExit, match="make bench"):
        peers.main(benchmark.rows, benchmark.__doc__, ["--quick"])


def test_what_no_package_brings_is_said_in_the_table(
    table: ModuleType, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = load(BENCHMARKS / "live.py")
    monkeypatch.setattr(benchmark, "peer", lambda module: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    rows = [table.rounded(asdict(row)) for row in benchmark.rows(Namespace(quick=True))]
    assert [row["peer"] for row in rows] == ["JupyterLite"] * len(benchmark.FIGURES)
    assert "not measured: no Chromium" in table.page({"live": fake_run(rows, "2026-01-01")})


def test_peers_are_pinned_with_their_reason() -> None:
    lines = (BENCHMARKS / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+ +# \w+.+", line) for line in lines)


def test_a_class_is_not_measured_without_a_sandbox(peers: ModuleType, table: ModuleType, monkeypatch) -> None:
    """Grading with a teacher's rights is no figure of ours, so the rows say why they are empty."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    rows = list(load(BENCHMARKS / "labs.py").rows(Namespace(quick=True)))
    assert {row.name for row in rows} == {row["name"] for row in table.read()["labs"]["rows"]}
    assert all("bubblewrap" in row.why_not for row in rows)
