"""Sweeps: in order, equal to serial, whole though workers die, each failure told where it belongs, nothing left."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from sweep.points import Deadly, Gate, Heavy, Lost, count, process, tried, until

from costlab import sweep as module
from costlab import traces
from costlab.cache import Plan, replay, standard
from costlab.cache.sim.run import ReplayTask
from costlab.sweep import DIED, Outcome, grid, sweep

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
PLANS = [
    Plan("mimo-v2.5-pro", standard(hbm, "1TB"), eviction=policy)
    for hbm, policy in itertools.product(("5GB", "20GB", "80GB"), ("lru", "sieve", "lfu"))
]


def chats():
    return traces.generate("chat", 120, np.random.default_rng(0))


@pytest.fixture(scope="module")
def serial():
    return [(replay(chats(), plan), tuple(chats().notes())) for plan in PLANS]


class Cluster:
    """A Dask scheduler and workers, each a process of its own."""

    def __init__(self, folder, stack):
        self.folder, self.stack, self.note, self.workers = folder, stack, folder / "scheduler.json", []
        self.start("scheduler", "--port", "0")
        self.client = stack.enter_context(Client(scheduler_file=str(self.note), timeout="600s", set_as_default=False))
        self.address = self.client.scheduler.address

    def start(self, part, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{part}", "--no-dashboard", *options]
        brief = {"DASK_LOGGING__DISTRIBUTED": "critical", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
        command += ["--scheduler-file", self.note]
        process = subprocess.Popen(command, stdout=-3, stderr=-3, env=ENV | brief, cwd=self.folder)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def work(self, count):
        # two threads: where points go is Dask's own choice, and one that waits for another may share a worker with it
        self.workers += [self.start("worker", "--nthreads", "2", "--no-nanny") for _ in range(count)]

    def kill(self, worker):
        worker.kill()
        assert worker.wait(600) == -signal.SIGKILL
        self.workers.remove(worker)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("dask"), stack)


@pytest.fixture(scope="module")
def workers(cluster):
    """The cluster with three workers at first."""
    cluster.work(3)
    cluster.client.wait_for_workers(3, timeout=600)
    return cluster


def results(outcomes):
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.result for outcome in outcomes]


# --- whatever carries it out -----------------------------------------------------------------------------------


def test_a_cluster_without_workers(cluster, monkeypatch):
    monkeypatch.setattr(module, "WORKERS_S", 0.1)
    with pytest.raises(ValueError, match=rf"the Dask scheduler at '{cluster.address}' has no workers"):
        sweep(abs, [1], scheduler=cluster.address)


@pytest.fixture(params=["one process", "processes", "dask"])
def carrier(request):
    """The options of a sweep."""
    if request.param == "dask":
        return {"scheduler": request.getfixturevalue("workers").address}
    return {"jobs": 1 if request.param == "one process" else 2}


def test_equal_to_serial(carrier, serial):
    seen = []
    outcomes = sweep(ReplayTask(chats()), PLANS, progress=seen.append, **carrier)
    assert outcomes == [Outcome(plan, found) for plan, found in zip(PLANS, serial, strict=True)]
    assert seen == [1] * len(PLANS)


def test_failures_are_told_where_they_belong(carrier):
    points = [1, "negative", "word", "exit", 3]
    told = [None, "-1 should be at least 0", "TypeError: unsupported", "SystemExit: enough", None]
    outcomes = sweep(tried, iter(points), **carrier)
    assert [(outcome.point, outcome.result) for outcome in outcomes] == [
        *zip(points, [2, None, None, None, 6], strict=True)
    ]
    assert [outcome.error and outcome.error.split(" operand")[0] for outcome in outcomes] == told


@pytest.mark.parametrize("carrier", ["processes", "dask"], indirect=True)
def test_a_result_that_cannot_be_sent(carrier):
    outcomes = sweep(tried, [1, "lock", 2], **carrier)
    assert [outcome.result for outcome in outcomes] == [2, None, 4]
    assert outcomes[1].error.startswith("TypeError: ")


def test_order_is_that_of_the_points(carrier, tmp_path):
    """The first point ends after the second, which runs beside it."""
    points = ["wait", "open", 3] if carrier != {"jobs": 1} else [3, 1, 2]
    assert results(sweep(Gate(tmp_path), points, **carrier)) == points


def test_a_function_goes_to_each_worker_once(carrier, tmp_path):
    function = Heavy(tmp_path)
    assert results(sweep(function, range(12), **carrier)) == [*range(1, 13)]
    processes = [name.split("-")[1] for name in os.listdir(tmp_path)]
    assert len(processes) == len(set(processes)) and bool(processes) == (carrier != {"jobs": 1})


def test_nothing_to_do(carrier):
    assert sweep(abs, [], **carrier) == []


# --- processes of this machine ---------------------------------------------------------------------------------


def test_what_cannot_be_sent():
    outcomes = sweep(tried, [1, lambda: 0, 2], jobs=2)
    assert [outcome.result for outcome in outcomes] == [2, None, 4]
    assert "lambda" in outcomes[1].error
    with pytest.raises(ValueError, match=r"<lambda> .* cannot be sent to another process \(jobs=1 needs none\)"):
        sweep(lambda point: point, [1], jobs=2)


def test_a_worker_dies(tmp_path):
    """Once: nobody is the worse for it."""
    points = [0, "deadly", *range(4)]
    assert results(sweep(Deadly(tmp_path, 1), points, jobs=2)) == points
    assert len(os.listdir(tmp_path)) == 1


def test_a_worker_dies_every_time(tmp_path):
    """The third attempt is made alone: what ran beside the first two is not dragged along."""
    outcomes = sweep(Deadly(tmp_path, 50, beside=True), ["deadly", "beside", 7], jobs=2)
    assert outcomes == [Outcome("deadly", error=DIED), Outcome("beside", "beside"), Outcome(7, 7)]
    assert count(tmp_path, "deadly") == 3


def test_workers_that_cannot_start(capfd):
    with pytest.raises(ValueError, match=r"no worker process can start and import the function .* behind `if __name__"):
        sweep(Lost(), [1, 2], jobs=2)
    assert "could not convert string to float: 'lost'" in capfd.readouterr().err


SCRIPT = """
import os, signal, time
if __name__ == "__mp_main__":
    os.write(1, f"starting {os.getpid()}\\n".encode())
    time.sleep(0.3)
from costlab.sweep import sweep
from sweep.points import end_with_tests, endless
if __name__ == "__main__":
    end_with_tests()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests run in the background pass on as ignored
    sweep(endless, range(9), jobs=2)
"""


class Script:
    """A sweep without end in a process group of its own: nothing of it outlasts the tests, killed or not."""

    def __init__(self, folder, stack, **options):
        path = folder / "script.py"
        path.write_text(SCRIPT)
        given, self.hold = os.pipe()
        options |= {"env": ENV, "stdin": given, "stdout": -1, "stderr": -1, "text": True, "process_group": 0}
        self.process = stack.enter_context(subprocess.Popen([sys.executable, path], **options))
        stack.callback(self.end)
        os.close(given)

    def line(self, beginning):
        return next(line for line in iter(self.process.stdout.readline, "") if line.startswith(beginning))

    def let_go(self):
        """Close what the script reads from, as the end of this process would."""
        os.close(self.hold)
        self.hold = None

    def end(self):
        if self.hold is not None:
            self.let_go()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("ready", ["starting", "running"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_a_sweep_ends_its_workers(number, ready, tmp_path):
    """Ctrl-C reaches all processes at a terminal, and one of them tells of it. Output ends with the last process."""
    with ExitStack() as stack:
        started = Script(tmp_path, stack)
        script, line = started.process, started.line(ready)
        if (ready, number) == ("starting", signal.SIGINT):
            os.kill(int(line.split()[1]), number)
            started.line("running")
        (os.killpg if number == signal.SIGINT else os.kill)(script.pid, number)
        _, err = script.communicate(timeout=60)
    assert script.returncode == -number
    assert err.count("Traceback") == err.count("KeyboardInterrupt\n") == (number == signal.SIGINT)


def test_a_sweep_is_interrupted_though_ctrl_c_was_ignored_before(tmp_path):
    """As a shell passes it on to what it runs in the background; the script sets that right."""
    with ExitStack() as stack:
        started = Script(tmp_path, stack, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        started.line("running")
        os.killpg(started.process.pid, signal.SIGINT)
        started.process.communicate(timeout=60)
    assert started.process.returncode == -signal.SIGINT


def test_no_sweep_outlasts_the_tests(tmp_path):
    with ExitStack() as stack:
        started = Script(tmp_path, stack)
        started.line("running")
        started.let_go()
        started.process.communicate(timeout=60)
    assert started.process.returncode == -signal.SIGKILL


def test_who_watches_may_end_it():
    class Enough(Exception):
        pass

    def enough(_):
        raise Enough

    with pytest.raises(Enough):
        sweep(abs, range(9), jobs=2, progress=enough)
    assert not multiprocessing.active_children()


def test_as_many_processes_as_cores(monkeypatch):
    """As this process may use; one is a process too."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    seen, real = [], module._in_processes
    monkeypatch.setattr(module, "_in_processes", lambda *given: seen.append(given[2]) or real(*given))
    assert os.getpid() not in results(sweep(process, range(2))) and seen == [1]


# --- a Dask cluster --------------------------------------------------------------------------------------------


def once(action):
    """A function that acts when first called."""
    left = [action]
    return lambda _: left and left.pop()()


def test_dask_with_a_worker_killed_midway(workers, serial):
    """One of three gets SIGKILL when the first plan is done. The sweep is whole, and the same."""
    killed = once(lambda: workers.kill(workers.workers[0]))
    assert results(sweep(ReplayTask(chats()), PLANS * 4, scheduler=workers.address, progress=killed)) == serial * 4
    assert len(workers.workers) == 2


def test_dask_gives_a_deadly_point_up(workers, tmp_path):
    """When is the cluster's own to say: here, at the first death."""
    workers.client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    outcomes = sweep(Deadly(tmp_path, 50), ["deadly"], scheduler=workers.address)
    workers.client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 3))
    assert outcomes == [Outcome("deadly", error=DIED)]
    assert results(sweep(Deadly(tmp_path, 0), [1, 2], scheduler=workers.address)) == [1, 2]


def test_dask_loses_every_worker(workers, tmp_path):
    """What only they held, the function, is made again for the one that comes."""

    def replace():
        until(tmp_path, "waiting", 1)
        for worker in workers.workers:
            worker.kill()
        workers.work(1)
        (tmp_path / "open").touch()

    thread = threading.Thread(target=replace)
    thread.start()
    assert results(sweep(Gate(tmp_path), ["wait"] * 4, scheduler=workers.address)) == ["wait"] * 4
    thread.join()


def test_large_functions_go_to_dask_without_warning(workers):
    assert results(sweep(bytes(11_000_000).find, [b"x"], scheduler=workers.address)) == [-1]


def test_no_such_cluster(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_S", 0.1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(ValueError, match=f"no Dask scheduler answers at '{address}'"):
            sweep(abs, [1], scheduler=address)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"needs distributed \(pip install distributed\)"):
        sweep(abs, [1], scheduler="tcp://127.0.0.1:9")


# --- what it takes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [0, -2])
def test_jobs(jobs):
    with pytest.raises(ValueError, match=f"jobs = {jobs} should be at least 1, or -1 for one per core"):
        sweep(abs, [1], jobs=jobs)


def test_grid():
    assert grid(a=[1, 2], b=["x", "y"]) == [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]
    assert grid(a=[]) == []
    assert grid() == [{}]
