"""Many plans over one trace: on all cores of this machine, or on a cluster, without change of code.

joblib carries the plans out: its own worker processes by default, a Dask or Ray cluster where one is named. What a
worker gets is a plan and the trace's description, so on a cluster a trace's file must lie where each worker can read
it; a generated trace is made anew on each.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, NamedTuple

from costlab import checks
from costlab.cache.sim.plan import Plan
from costlab.cache.sim.report import Report
from costlab.cache.sim.run import replay
from costlab.traces import Trace, TraceError

#: What can carry a sweep out, and the package that it needs.
BACKENDS: Mapping[str, str] = {"loky": "joblib", "threading": "joblib", "dask": "distributed", "ray": "ray"}

#: How long a scheduler may take to answer.
CONNECT_S = 10

#: Plans that go to a backend together where it gives back nothing before all are done: progress shows in such steps.
AT_ONCE = 16


@dataclass(frozen=True)
class Outcome:
    """What became of one plan: its report, or the error in words; and what was met in the trace (`Trace.notes`)."""

    plan: Plan
    report: Report | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()


def sweep(
    plans: Iterable[Plan],
    trace: Trace,
    jobs: int = -1,
    backend: str = "loky",
    address: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Outcome]:
    """Replay a trace under each plan, side by side, and return what became of each, in the order of the plans.

    A plan that fails does not stop the others, nor does the death of a worker: what it was busy with is begun anew,
    twice beside the others and a third time alone.

    Args:
        plans: the configurations.
        trace: read by each worker for itself, so not from a stream.
        jobs: worker processes or threads; -1 is one per core. A cluster that is running has its own number.
        backend: one of `BACKENDS`.
        address: of the Dask scheduler or Ray head, e.g. "tcp://10.0.0.1:8786"; None starts a cluster on this machine.
        progress: called with 1 when a plan is done.

    Raises:
        ValueError: an unknown or missing backend, no such cluster, no jobs, or a trace that can be read only once.
    """
    waiting = dict(enumerate(plans))
    done: dict[int, Outcome] = {}
    _check(jobs, backend, trace)
    with _backend(backend, jobs, address) as carrier:
        for batch in _rounds(waiting, done):
            try:
                for index, outcome in _carried_out({i: waiting[i] for i in batch}, trace, carrier.streams):
                    done[index] = outcome
                    if progress:
                        progress(1)
            except carrier.deaths as error:
                if len(batch) == 1:
                    done[batch[0]] = Outcome(waiting[batch[0]], error=_death(error))
    return [done[index] for index in waiting]


def grid(**axes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return every combination of the given values, the last axis changing fastest: `grid(a=[1, 2], b=[3])`."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _rounds(waiting: Mapping[int, Plan], done: Mapping[int, Outcome]) -> Iterator[list[int]]:
    """Yield what is still to do: all at once, once more all at once, then one by one, lest one drag others along."""
    for _ in range(2):
        if left := [index for index in waiting if index not in done]:
            yield left
    yield from ([index] for index in waiting if index not in done)


def _carried_out(plans: Mapping[int, Plan], trace: Trace, streams: bool) -> Iterator[tuple[int, Outcome]]:
    """Yield (index, outcome) of each plan as it is done, or of some when they all are."""
    from joblib import Parallel, delayed

    # A tuple around the trace keeps the Dask backend from storing it on one worker, whose death would lose it.
    tasks = [delayed(_attempt)(index, plan, (trace,)) for index, plan in plans.items()]
    if streams:
        yield from Parallel(return_as="generator_unordered", batch_size=1)(tasks)
        return
    for first in range(0, len(tasks), AT_ONCE):
        yield from Parallel(batch_size=1)(tasks[first : first + AT_ONCE])


def _attempt(index: int, plan: Plan, trace: tuple[Trace]) -> tuple[int, Outcome]:
    own = trace[0].apart()  # threads share one trace, and each would count what all of them met
    try:
        return index, Outcome(plan, replay(own, plan), notes=tuple(own.notes()))
    except Exception as error:  # any: the other plans go on, and this one's error is told
        return index, Outcome(plan, error=_words(error))


def _words(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _death(error: BaseException) -> str:
    return f"its worker died each time: {_words(error).split('. ')[0]}"


def _check(jobs: int, backend: str, trace: Trace) -> None:
    if backend not in BACKENDS:
        raise ValueError(checks.unknown("backend", backend, BACKENDS))
    if jobs < 1 and jobs != -1:
        raise ValueError(f"jobs = {jobs} should be at least 1, or -1 for one per core")
    if trace.is_stream:
        raise TraceError(f"{trace.name}: each worker reads the trace for itself; save the stream to a file first")


class _Carrier(NamedTuple):
    """What `parallel_config` takes, the errors that mean a dead worker, and whether results come one by one."""

    backend: Any
    deaths: tuple[type[BaseException], ...] = ()
    streams: bool = True


@contextmanager
def _backend(name: str, jobs: int, address: str | None) -> Iterator[_Carrier]:
    """Set joblib's backend up."""
    with ExitStack() as stack:
        try:
            from joblib import parallel_config
            from joblib.externals.loky.process_executor import TerminatedWorkerError

            carrier = _CARRIERS[name](stack, jobs, address)
        except ImportError as error:
            package = BACKENDS[name]
            raise ValueError(f"the backend {name!r} needs {package} (pip install {package}): {error}") from None
        stack.enter_context(parallel_config(carrier.backend, n_jobs=jobs))
        yield carrier._replace(deaths=(TerminatedWorkerError, *carrier.deaths))


def _local(name: str) -> Callable[[ExitStack, int, str | None], _Carrier]:
    def carrier(stack: ExitStack, jobs: int, address: str | None) -> _Carrier:
        if address is not None:
            raise ValueError(f"address {address!r}: only the backends dask and ray have one")
        return _Carrier(name)

    return carrier


def _dask(stack: ExitStack, jobs: int, address: str | None) -> _Carrier:
    from distributed import Client

    connect: Any = Client  # untyped in part

    local = {"n_workers": None if jobs == -1 else jobs, "threads_per_worker": 1, "dashboard_address": None}
    try:
        client = connect(address, timeout=CONNECT_S, set_as_default=False, **({} if address else local))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"no Dask scheduler answers at {address!r}: {_words(error)}") from None
    return _Carrier(_dask_backend(stack.enter_context(client)))


def _dask_backend(client: Any) -> Any:
    """Return joblib's Dask backend, made to tell of a task that Dask gave up because worker after worker died with it.

    joblib 1.6 leaves out the callback of such a task and waits for it forever.
    """
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc] # joblib is untyped
        def submit(self, func: Any, callback: Any = None) -> Any:
            (_, (index, plan, _), _) = func.items[0]

            def tell(done: Any) -> None:
                if error := done.exception():
                    callback(_GivenUp(index, Outcome(plan, error=_death(error))))

            future = super().submit(func, callback)
            future.add_done_callback(tell)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            return [(out.index, out.outcome)] if isinstance(out, _GivenUp) else super().retrieve_result_callback(out)

    return Backend(client=client, wait_for_workers_timeout=60)


@dataclass(frozen=True)
class _GivenUp:
    index: int
    outcome: Outcome


def _ray(stack: ExitStack, jobs: int, address: str | None) -> _Carrier:
    import ray
    from ray.util.joblib import register_ray

    cpus = None if address or jobs == -1 else jobs
    stack.enter_context(redirect_stdout(sys.stderr))  # or Ray's messages land among the results
    try:
        ray.init(address=address, num_cpus=cpus, ignore_reinit_error=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Ray head answers at {address!r}: {_words(error)}") from None
    stack.callback(ray.shutdown)
    register_ray()
    return _Carrier("ray", (ray.exceptions.RayActorError,), streams=False)


_CARRIERS: Mapping[str, Callable[[ExitStack, int, str | None], _Carrier]] = {
    "loky": _local("loky"),
    "threading": _local("threading"),
    "dask": _dask,
    "ray": _ray,
}
