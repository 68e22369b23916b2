"""Sweeps: equal to serial replays on every backend, whole though workers die, each failure told where it belongs."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import threading
import types
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from joblib import register_parallel_backend
from joblib._parallel_backends import MultiprocessingBackend
from joblib.externals.loky import get_reusable_executor

from costlab.cache import sweeps
from costlab.cache.sim.plan import Plan
from costlab.cache.sim.run import replay
from costlab.cache.sweeps import BACKENDS, grid, sweep
from costlab.cache.tiers import standard
from costlab.traces import Request, Trace, TraceError, generators, read, write

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

PLANS = [
    Plan("mimo-v2.5-pro", standard(hbm, "1TB"), eviction=policy)
    for hbm, policy in itertools.product(("5GB", "20GB", "80GB"), ("lru", "sieve", "lfu"))
]


def chats(count=120):
    return generators.chat(count, np.random.default_rng(0))


@pytest.fixture(scope="module")
def serial():
    return [replay(chats(), plan) for plan in PLANS]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Dask scheduler and two workers, each a process of its own; gives its address and the workers."""
    folder = tmp_path_factory.mktemp("dask")
    note = folder / "scheduler.json"
    quiet = {"env": ENV | {"DASK_LOGGING__DISTRIBUTED": "critical"}, "cwd": folder}
    with ExitStack() as stack:

        def start(*args):
            log = stack.enter_context(open(folder / f"{args[1]}-{len(os.listdir(folder))}.log", "wb"))
            process = subprocess.Popen([sys.executable, "-m", *args], stdout=log, stderr=log, **quiet)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        listen = ("--scheduler-file", str(note))
        start("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", *listen)
        workers = [
            start("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", *listen)
            for _ in range(3)
        ]
        with Client(scheduler_file=str(note), timeout="600s", set_as_default=False) as client:
            client.wait_for_workers(3, timeout=600)
            address = client.scheduler.address
        yield address, workers


@pytest.fixture(scope="module", autouse=True)
def no_workers_left():
    yield
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def reports(outcomes):
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.report for outcome in outcomes]


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_equal_to_serial(backend, serial):
    seen = []
    outcomes = sweep(PLANS, chats(), jobs=2, backend=backend, progress=seen.append)
    assert reports(outcomes) == serial
    assert [outcome.plan for outcome in outcomes] == PLANS
    assert seen == [1] * len(PLANS)


def test_files_are_read_by_each_worker(tmp_path, serial):
    path = tmp_path / "trace.jsonl"
    write(chats(), path)
    trace = read(path)
    outcomes = sweep(PLANS[:3], trace, jobs=2)
    assert reports(outcomes) == [replay(trace, plan) for plan in PLANS[:3]]


def test_one_failure_leaves_the_others():
    """A prompt that names a block twice is refused by every plan; a plan for an unlimited trace of none is not."""
    good, bad = chats(30), Trace([Request(0, 1024, 1, (1, 1))])
    assert all(outcome.report is None and "twice" in outcome.error for outcome in sweep(PLANS[:2], bad, jobs=2))
    assert len(reports(sweep(PLANS[:2], good, jobs=2))) == 2


class Deadly:
    """Requests that kill the process that reads them, as long as there are files in a folder to use up."""

    def __init__(self, folder, requests):
        self.folder, self.requests = folder, requests

    def __iter__(self):
        for bullet in self.folder.iterdir():
            try:
                bullet.unlink()
            except FileNotFoundError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        yield from self.requests


def armed(tmp_path, bullets):
    for number in range(bullets):
        (tmp_path / str(number)).touch()
    return Trace(Deadly(tmp_path, list(chats())))


def test_a_local_worker_dies(tmp_path, serial):
    assert reports(sweep(PLANS, armed(tmp_path, 1), jobs=2)) == serial
    assert not list(tmp_path.iterdir())


def test_local_workers_die_every_time(tmp_path):
    (outcome,) = sweep(PLANS[:1], armed(tmp_path, 50), jobs=2)
    assert outcome.report is None and "its worker died each time" in outcome.error


def test_dask_with_a_worker_killed_midway(cluster, serial):
    """Three worker processes; one gets SIGKILL when the first plan is done. The sweep is whole, and the same."""
    address, workers = cluster
    plans = PLANS * 4
    killed = threading.Event()

    def kill(_):
        if not killed.is_set():
            workers[0].kill()
            killed.set()

    outcomes = sweep(plans, chats(), backend="dask", address=address, progress=kill)
    assert killed.is_set() and workers[0].wait(600) == -signal.SIGKILL
    assert reports(outcomes) == serial * 4
    assert [outcome.plan for outcome in outcomes] == plans


def test_dask_after_the_loss(cluster, serial):
    assert reports(sweep(PLANS, chats(), backend="dask", address=cluster[0])) == serial


def test_no_such_cluster(monkeypatch):
    monkeypatch.setattr(sweeps, "CONNECT_S", 1)
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        sweep(PLANS[:1], chats(5), backend="dask", address="tcp://127.0.0.1:9")
    with pytest.raises(ValueError, match="no Dask scheduler answers at 'nonsense"):
        sweep(PLANS[:1], chats(5), backend="dask", address="nonsense://x")


def test_ray_gives_results_in_steps(monkeypatch, capsys, serial):
    """Ray is not installed here; a stand-in registers what Ray's backend derives from, which cannot stream results."""
    calls = []
    ray, joblib_part = types.ModuleType("ray"), types.ModuleType("ray.util.joblib")
    ray.init = lambda **given: (calls.append(given), print("a message"))
    ray.shutdown = lambda: calls.append("down")
    ray.exceptions = types.SimpleNamespace(RayActorError=ConnectionResetError)
    joblib_part.register_ray = lambda: register_parallel_backend("ray", MultiprocessingBackend)
    modules = {"ray": ray, "ray.util": types.ModuleType("ray.util"), "ray.util.joblib": joblib_part}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sweeps, "AT_ONCE", 4)
    steps = []
    done = sweep(PLANS, chats(), jobs=2, backend="ray", address="here:1", progress=steps.append)
    assert [outcome.report for outcome in done] == serial
    assert sum(steps) == len(PLANS)
    assert calls == [{"address": "here:1", "num_cpus": None, "ignore_reinit_error": True}, "down"]
    assert capsys.readouterr() == ("", "a message\n")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"the backend 'ray' needs ray \(pip install ray\)"):
        sweep(PLANS[:1], chats(5), backend="ray")
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ValueError, match=r"needs joblib \(pip install joblib\)"):
        sweep(PLANS[:1], chats(5))


def test_bad_input(tmp_path):
    path = tmp_path / "trace.jsonl"
    write(chats(5), path)
    with pytest.raises(ValueError, match="unknown backend 'spark'; known: dask, loky, ray, threading"):
        sweep(PLANS[:1], chats(5), backend="spark")
    with pytest.raises(ValueError, match="jobs = 0"):
        sweep(PLANS[:1], chats(5), jobs=0)
    with pytest.raises(ValueError, match="address 'tcp://a:1'"):
        sweep(PLANS[:1], chats(5), address="tcp://a:1")
    with open(path, "rb") as stream, pytest.raises(TraceError, match="save the stream to a file"):
        sweep(PLANS[:1], read(stream))
    with pytest.raises(TraceError, match="save the stream"):
        sweep(PLANS[:1], Trace(iter(chats(5))))


def test_nothing_to_do():
    assert sweep([], chats(5), jobs=2) == []


def test_grid():
    assert grid(a=[1, 2], b=["x", "y"]) == [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]
    assert grid(a=[]) == []
    assert grid() == [{}]


def test_outcomes_are_plain():
    outcome = sweep(PLANS[:1], chats(5), jobs=1)[0]
    assert dataclasses.is_dataclass(outcome) and set(BACKENDS) == {"loky", "threading", "dask", "ray"}
