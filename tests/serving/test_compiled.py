"""The wheel whose inner loop is compiled gives the same results as the plain files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from effort import is_full

ROOT = Path(__file__).parents[2]

RUN = """
import numpy as np
from costlab import roofline, serving, traces
from costlab.cache import PrefixCache, Tier
from costlab.serving import worker

def cache():
    return PrefixCache([Tier("HBM")], 16, page_tokens=16, capacities=[(64, 0)])

def pool(scheduler, workers=2, tokens=4000, cache=None):
    return serving.WorkerPool(serving.WorkerSpec(cost, scheduler, tokens, cache=cache), workers)

cost = roofline.step_cost(roofline.deployment("llama-3.1-8b", "h100-sxm", 1))
rng = np.random.default_rng(7)
shared = [tuple(range(100 * i, 100 * i + 40)) for i in range(5)]
requests = [
    traces.Request(float(time_s), 1 + 16 * int(rng.integers(40)), int(rng.integers(1, 200)), shared[rng.integers(5)])
    for time_s in np.cumsum(rng.exponential(0.03, 400))
]
link, sent = serving.Link(1e9, 1e-3), serving.SentBytes.per_token(131072.0)
broken = serving.Failures([serving.Outage("worker", 3.0, repair_s=2.0)], recovery=serving.Recovery(retries=2))
vllm = serving.VllmV1(256, 32, watermark=0.01)
layouts = {
    "preempting": serving.colocated(pool(vllm, 1)),
    "failing": serving.colocated(pool(vllm, 2, cache=cache), broken),
    "whole": serving.colocated(pool(serving.Orca(16))),
    "prompts first": serving.colocated(pool(serving.PrefillFirst())),
    "separated": serving.separated(pool(vllm, cache=cache), pool(serving.Sarathi()), link, sent),
}
print(worker.__file__.rsplit(".", 1)[1])
for name, layout in layouts.items():
    report = serving.simulate(requests, layout, recorder=serving.Recorder(serving.Objective(0.5, 0.05), records=True))
    print(name, report.accounts, report.pools, report.failures, report.gaps, report.overall, *report.records, sep="\\n")
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_compiled_wheel_simulates_the_same(tmp_path):
    command = [sys.executable, str(ROOT / "tools/compiled_wheel.py"), str(tmp_path), "--unpack"]
    subprocess.run(command, check=True, env=os.environ | ({} if is_full() else {"CC": without_optimising(tmp_path)}))
    (kind, *compiled), (plain_kind, *plain) = (told(folder) for folder in (tmp_path, ROOT))
    assert (kind, plain_kind) == ("so" if os.name == "posix" else "pyd", "py")
    assert compiled == plain
    assert len(plain) > 5 * 300, "few requests were served"
    assert any("preemptions=" in line and "preemptions=0" not in line for line in plain)


def without_optimising(folder):
    """A compiler for mypyc's C, which asks for -O3 in half the time: what is compared is mypyc's doing."""
    compiler = folder / "cc"
    compiler.write_text(f'#!/bin/bash\nexec {shutil.which("cc")} "${{@/#-O3/-O0}}"\n')
    compiler.chmod(0o755)
    return str(compiler)


def told(folder):
    """What a run says of itself with the package that lies in a folder."""
    done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()
