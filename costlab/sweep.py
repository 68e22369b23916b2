"""One function at many points: on all cores of this machine, or on a Dask cluster, without change of code.

The function goes to each worker once, with all that it holds (a trace, say); then points go out and results come back.
Other processes have to import what the function is made of, and a script that calls `sweep` has to do so behind
`if __name__ == "__main__":`.

>>> from costlab.sweep import grid, sweep
>>> [outcome.result for outcome in sweep(abs, [-2, 3], jobs=1)]
[2, 3]
>>> grid(hbm=["80GB"], policy=["lru", "sieve"])
[{'hbm': '80GB', 'policy': 'lru'}, {'hbm': '80GB', 'policy': 'sieve'}]
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, TypeVar

#: How long a Dask scheduler may take to answer, and its first worker to come.
CONNECT_S, WORKERS_S = 10, 60

#: What is told of a point whose worker died as often as it was tried.
DIED = "its worker died each time, perhaps for want of memory"

_NOT_STARTED = """no worker process can start and import the function (its error is above); a script should call sweep \
behind `if __name__ == "__main__":`, and a notebook should sweep a function of a module"""

Point = TypeVar("Point")
Result = TypeVar("Result")
_Answer = tuple[Any, str | None]  # result, or error in words
_Answers = Generator[tuple[int, _Answer], None, None]  # with the point's index, in any order


@dataclass(frozen=True)
class Outcome(Generic[Point, Result]):
    """What became of one point."""

    point: Point  # what the function was called with
    result: Result | None = None  # what it returned; None where it failed
    error: str | None = None  # why it failed, in words; None where it did not


def sweep(
    function: Callable[[Point], Result],
    points: Iterable[Point],
    *,
    jobs: int = -1,
    scheduler: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Outcome[Point, Result]]:
    """Call a function at each point, side by side, and return what became of each, in the order of the points.

    A point that fails does not stop the others, nor does the death of a worker. What it was busy with is begun anew:
    here, twice beside the others and a third time alone; on Dask, as often as the cluster is set to.

    Args:
        function: can be pickled; threads of a Dask worker may share it.
        points: what to call it with; can be pickled.
        jobs: worker processes; -1 is one per core, 1 calls the function in this process. A cluster has its own number.
        scheduler: address of a Dask scheduler, e.g. "tcp://10.0.0.1:8786"; None stays on this machine.
        progress: called with 1 when a point is done.

    Raises:
        ValueError: no jobs; a function that cannot be pickled; no such scheduler, or none of its workers there;
            processes that do not start.
    """
    points = list(points)
    if jobs < 1 and jobs != -1:
        raise ValueError(f"jobs = {jobs} should be at least 1, or -1 for one per core")
    if scheduler is not None:
        answers = _on_dask(function, points, scheduler)
    elif jobs == 1:
        answers = ((index, _attempt(function, point)) for index, point in enumerate(points))
    else:
        answers = _in_processes(function, points, _cores() if jobs == -1 else jobs)
    outcomes: dict[int, Outcome[Point, Result]] = {}
    with closing(answers):  # an interrupted sweep ends its workers at once
        for index, (result, error) in answers:
            outcomes[index] = Outcome(points[index], result, error)
            if progress:
                progress(1)
    return [outcomes[index] for index in range(len(points))]


def grid(**axes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return every combination of the given values, the last axis changing fastest: `grid(a=[1, 2], b=[3])`."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _attempt(function: Callable[[Any], Any], point: Any) -> _Answer:
    try:
        return function(point), None
    except (Exception, SystemExit) as error:  # any: the others go on, and this one's error is told
        return None, _words(error)


def _words(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _pickled(function: Callable[[Any], Any]) -> bytes:
    try:
        return pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"{function!r} cannot be sent to another process (jobs=1 needs none): {error}") from None


# --- processes of this machine ---------------------------------------------------------------------------------


def _in_processes(function: Callable[[Any], Any], points: Sequence[Any], jobs: int) -> _Answers:
    from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait

    pickled, deaths = _pickled(function), [0] * len(points)
    waiting, suspects = deque(range(len(points))), deque[int]()
    for queue, width in ((waiting, jobs), (suspects, 1)):
        while queue:
            busy: dict[Future[_Answer], int] = {}  # no more than there are workers: those that a death may be due to
            try:
                with _workers(pickled, min(width, len(queue))) as submit:
                    while queue or busy:
                        while queue and len(busy) < width:
                            busy[submit(_attempt_here, points[queue[0]])] = queue[0]
                            queue.popleft()
                        for future in wait(busy, return_when=FIRST_COMPLETED).done:
                            if isinstance(error := future.exception(), BrokenExecutor):
                                raise error
                            yield busy.pop(future), (None, _words(error)) if error else future.result()
            except BrokenExecutor:
                for index in busy.values():
                    deaths[index] += 1
                    if deaths[index] > 2:
                        yield index, (None, DIED)
                    else:
                        (waiting if deaths[index] == 1 else suspects).append(index)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Spawn(SpawnContext):
    """Starts fresh interpreters, which no lock of a thread of ours can hold up; keeps them, to end them."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[SpawnProcess] = []

    def Process(self, *args: Any, **named: Any) -> SpawnProcess:  # type: ignore[override]
        self.started.append(SpawnProcess(*args, **named))
        return self.started[-1]


@contextmanager
def _workers(pickled: bytes, count: int) -> Iterator[Callable[..., Any]]:
    """Give what submits a call to processes that hold the function; they end with this context, busy or not."""
    from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait

    context = _Spawn()

    def submit(*call: Any) -> Any:
        with _deaf():
            return pool.submit(*call)

    with ProcessPoolExecutor(count, context, _begin, (pickled,)) as pool:
        try:
            first = wait([submit(os.getpid) for _ in range(count)], return_when=FIRST_COMPLETED).done.pop()
            if isinstance(first.exception(), BrokenExecutor):
                raise ValueError(_NOT_STARTED)
            yield submit
        finally:
            for process in context.started:
                if process.pid:
                    process.kill()


@contextmanager
def _deaf() -> Iterator[None]:
    """Block Ctrl-C while a process starts: it inherits that, and leaves its end to this process."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_held: list[Callable[[Any], Any]] = []  # in a worker: the function


def _begin(pickled: bytes) -> None:
    """Set a worker up: it has the function, and ends if the sweep's process does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _held.append(pickle.loads(pickled))


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _attempt_here(point: Any) -> _Answer:
    return _attempt(_held[0], point)


# --- a Dask cluster --------------------------------------------------------------------------------------------


def _on_dask(function: Callable[[Any], Any], points: Sequence[Any], address: str) -> _Answers:
    try:
        distributed: Any = importlib.import_module("distributed")  # untyped in part
        from dask import config
    except ImportError as error:
        raise ValueError(f"a scheduler needs distributed (pip install distributed): {error}") from None
    pickled = _pickled(function)
    try:
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"no Dask scheduler answers at {address!r}: {_words(error)}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError:
            raise ValueError(f"the Dask scheduler at {address!r} has no workers") from None
        with config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            # A task's result, not scattered data: what is lost with a worker, the scheduler has made again.
            held = client.submit(pickle.loads, pickled, pure=False)
        # Dask learns by a key's first part how long tasks take. By a common one, a function that is slow would be taken
        # for one that was quick in an earlier sweep, and all its points be given to the one worker that holds it.
        name = f"sweep_{uuid.uuid4().hex}"
        running = {client.submit(_attempt, held, point, key=f"{name}-{i}"): i for i, point in enumerate(points)}
        for future in distributed.as_completed(running, loop=client.loop):
            try:
                answer = future.result()
            except distributed.KilledWorker:
                answer = None, DIED
            except Exception as error:  # any that sending may bring
                answer = None, _words(error)
            yield running[future], answer
