"""A notebook's cells run one by one; one that stops Python costs its own points, and no other's.

What stops Python need not be the cell that is running: a thread or a timer of an earlier one may. So the cells before
are run again without it and watched until the moment that it had stopped, and a little longer. If Python lives, the
cell did it; if not, the shortest beginning of the notebook that dies by then ends with the culprit. The notebook is
then run without it. Points depend on who did it, not on when it showed.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import zmq
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from nbformat import NotebookNode
from nbformat.v4 import new_output, output_from_msg

from classroom.sandbox import Limits, Unprotected, Watch, end, remove

#: Seconds that a kernel has to start, on a busy machine.
START_S = 60
#: Seconds that a kernel is watched beyond the moment when Python stopped, and most seconds of a cell that count as one.
MARGIN_S, LONGEST_WATCH_S = 1.0, 10.0
#: A message larger than this ends the connection that it came by.
MESSAGE_BYTES = 20_000_000
#: Tag of a cell that shows a learner the points, which here are not known yet.
SCORE = "score"


class Stopped(Exception):
    """Python was stopped, or stopped itself; carries a name and a sentence, as the output of an error does."""

    def output(self) -> NotebookNode:
        """Return what stands in the cell's place."""
        return _error(*self.args)


class Kernel:
    """A Python in a sandbox, spoken to through sockets in a folder of their own."""

    def __init__(self, sandbox: Unprotected, scratch: Path, limits: Limits) -> None:
        run, work = scratch / "run", scratch / "work"
        for folder in (run, work):
            folder.mkdir(parents=True)
        connection, _ = write_connection_file(str(run / "k.json"), transport="ipc", ip=str(run / "k"))
        sandbox.open_to_kernel(run, work)
        self.limits = limits
        with (scratch / "kernel.log").open("wb") as said:
            self.process = subprocess.Popen(
                [*sandbox.command(run, work, limits), "-f", connection],
                env=sandbox.variables(work),
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.watch = Watch(self.process, (run, work), limits)
        self.watch.start()
        context = zmq.Context()
        context.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES)
        context.setsockopt(zmq.LINGER, 0)
        self.client = BlockingKernelClient(context=context, connection_file=connection)
        self.client.load_connection_file()
        self.client.start_channels(stdin=False, hb=False, control=False)
        try:
            self._answered(START_S, both=True)
        except Stopped:
            self.close()
            said_last = (scratch / "kernel.log").read_text(errors="replace")[-500:]
            raise RuntimeError(f"Python did not start in the sandbox: {said_last}") from None

    def close(self) -> None:
        """End it, and all that it started."""
        self.watch.done.set()
        end(self.process)
        self.watch.join()
        self.client.stop_channels()
        self.client.context.destroy(linger=0)

    def execute(self, cell: NotebookNode, seconds: float, keep_bytes: int) -> tuple[bool, int]:
        """Run a cell, its output into the cell; return whether it failed, and how many bytes it printed.

        Stopped if Python ends, the time is over, or the output has no end.
        """
        cell.outputs = []
        for channel in self._channels():
            for _ in _received(channel, 1000):
                pass  # a thread of an earlier cell may print on
        asked = self.client.execute(cell.source, allow_stdin=False, stop_on_error=False)
        deadline, reply, idle, printed = time.monotonic() + seconds, None, False, 0
        while reply is None or (not idle and time.monotonic() < deadline):
            for message in self._messages(asked):
                if message["msg_type"] == "execute_reply":
                    reply, deadline = (
                        message["content"],
                        time.monotonic() + 5,
                    )  # for what was printed just before
                elif message["msg_type"] == "status":
                    idle = message["content"].get("execution_state") == "idle"
                else:
                    printed = _print(cell, message, printed, keep_bytes)
            if reply is None:
                self._alive()
                if printed > self.limits.flood_bytes:
                    most = f"{self.limits.flood_bytes / 1e6:g} MB"
                    raise Stopped("OutputError", f"it printed more than {most}, so it was stopped")
                if time.monotonic() > deadline:
                    raise Stopped("CellTimeoutError", f"not done after {seconds:.0f} s, so it was stopped")
        return _failed(cell, reply), printed

    def lives(self, seconds: float) -> None:
        """See that Python lives through some seconds, and answers after them; Stopped if not."""
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                self._alive()
                time.sleep(0.05)
            self._answered(5 + seconds)
        except Stopped as stopped:
            raise Stopped(stopped.args[0], "Python ended soon after this cell, by what it had left running") from None

    def _answered(self, seconds: float, both: bool = False) -> None:
        """Ask for a sign of life and wait for it, on both channels if so wished."""
        until, seen = time.monotonic() + seconds, set[str]()
        while time.monotonic() < until:
            asked = self.client.execute("None", silent=True, allow_stdin=False)
            again = min(until, time.monotonic() + 1)
            while time.monotonic() < again:
                self._alive()
                seen |= {message["msg_type"] for message in self._messages(asked)}
                if "execute_reply" in seen and (len(seen) > 1 or not both):
                    return
        raise Stopped("DeadKernelError", "Python does not answer any more after this cell")

    def _channels(self) -> tuple[Any, Any]:
        return self.client.iopub_channel, self.client.shell_channel

    def _messages(self, asked: str) -> list[dict[str, Any]]:
        """Wait a moment, and return what has come in answer to a request."""
        poller = zmq.Poller()
        for channel in self._channels():
            poller.register(channel.socket, zmq.POLLIN)
        poller.poll(50)
        found = [message for channel in self._channels() for message in _received(channel, 100)]
        return [message for message in found if message["parent_header"].get("msg_id") == asked]

    def _alive(self) -> None:
        """Stopped if Python ended, or was ended."""
        if self.process.poll() is None and not self.watch.reason:
            return
        self.watch.join(timeout=5)
        if self.watch.reason:
            raise Stopped("LimitError", f"{self.watch.reason}, so it was stopped")
        raise Stopped("DeadKernelError", "Python ended while this cell ran")


@dataclass(frozen=True)
class Stop:
    """Where Python stopped in a notebook: in which cell, how, and in which seconds of the run that began and ended."""

    index: int
    error: NotebookNode
    began_s: float
    ended_s: float


@dataclass
class Run:
    """A notebook as it ran.

    Attributes:
        failed: indices of the cells that raised, or were stopped or not run.
        culprits: indices of the cells that stopped Python, and what stands in their place.
        peak_bytes: most resident memory of the student's processes.
    """

    failed: set[int] = field(default_factory=set)
    culprits: dict[int, NotebookNode] = field(default_factory=dict)
    peak_bytes: int = 0


class OutOfTime(Exception):
    """The notebook's time is over, at the cell whose index this carries."""


class Contained:
    """Runs one notebook in a sandbox, its outputs into the notebook."""

    def __init__(self, notebook: NotebookNode, sandbox: Unprotected, scratch: Path, limits: Limits) -> None:
        self.cells, self.sandbox, self.scratch, self.limits = (
            notebook.cells,
            sandbox,
            scratch,
            limits,
        )
        self.deadline = time.monotonic() + limits.notebook_s
        self.result, self.attempts = Run(), 0

    def run(self) -> Run:
        """Run all cells, again without a cell each time that it stopped Python."""
        culprits, first, reached = self.result.culprits, 0, self._state()
        try:
            while len(culprits) <= self.limits.stops:
                stop = self._attempt()
                if stop is None:
                    return self.result
                first, reached = stop.index, self._state()
                first, error = self._culprit(stop)
                culprits[first] = error
            reason = f"not run, because {len(culprits)} cells before it stopped Python"
        except OutOfTime as late:
            reason = f"not run: a notebook has {self.limits.notebook_s:g} s in all"
            if late.args[0] >= first:
                first, reached = late.args[0], self._state()
        self.result.failed = reached[0]  # what was repeated since, to find out who did it, does not count
        for index, cell in enumerate(self.cells):
            if cell.cell_type != "code":
                continue
            cell.outputs = reached[1][index]
            if index in culprits or (index >= first and self._runs(index)):
                cell.outputs = [culprits.get(index) or _error("NotRunError", reason)]
                self.result.failed.add(index)
        return self.result

    def _state(self) -> tuple[set[int], list[list[NotebookNode]]]:
        """Return what the cells came to so far."""
        return set(self.result.failed), [cell.get("outputs", []) for cell in self.cells]

    def _culprit(self, stop: Stop) -> tuple[int, NotebookNode]:
        """Return the cell that stopped Python, and what to say in its place."""
        until_s = min(stop.ended_s, stop.began_s + LONGEST_WATCH_S) + MARGIN_S
        before = [index for index in range(stop.index) if self._runs(index)]
        died = self._attempt(before[-1], until_s) if before else None
        if died is None:
            return stop.index, stop.error  # all is well without it
        low, high = 0, len(before) - 1  # the beginning that ends with before[high] dies, shorter ones may
        while low < high:
            middle = (low + high) // 2
            dies = self._attempt(before[middle], until_s)
            low, high, died = (low, middle, dies) if dies else (middle + 1, high, died)
        return before[high], died.error

    def _attempt(self, last: int | None = None, until_s: float = 0.0) -> Stop | None:
        """Run the cells, or those up to the last that is named, and see that Python lives until a second of the run."""
        self.attempts += 1
        kernel = Kernel(self.sandbox, self.scratch / str(self.attempts), self.limits)
        self.result.failed, self.room, start = set(), self.limits.output_bytes, time.monotonic()
        index, began = 0, start
        try:
            for index, cell in enumerate(self.cells if last is None else self.cells[: last + 1]):
                began = time.monotonic()
                if began > self.deadline:
                    raise OutOfTime(index)
                if index in self.result.culprits:
                    cell.outputs = [self.result.culprits[index]]
                    self.result.failed.add(index)
                elif self._runs(index):
                    self._execute(kernel, index)
            if last is not None:
                kernel.lives(max(0.0, start + until_s - time.monotonic()))
        except Stopped as stopped:
            if time.monotonic() > self.deadline:
                raise OutOfTime(index) from None
            return Stop(index, stopped.output(), began - start, time.monotonic() - start)
        finally:
            kernel.close()
            self.result.peak_bytes = max(self.result.peak_bytes, kernel.watch.peak_bytes)
            remove(self.scratch / str(self.attempts))
        return None

    def _execute(self, kernel: Kernel, index: int) -> None:
        """Run one cell, in the time and with the output that are left."""
        seconds = min(self.limits.cell_s, self.deadline - time.monotonic())
        failed, printed = kernel.execute(self.cells[index], seconds, min(self.room, self.limits.output_bytes // 2))
        self.room = max(0, self.room - printed)
        self.result.failed |= {index} if failed else set()

    def _runs(self, index: int) -> bool:
        """Return whether a cell is code to run, and not known to stop Python."""
        cell = self.cells[index]
        is_code = cell.cell_type == "code" and cell.source.strip() != ""
        return is_code and SCORE not in cell.metadata.get("tags", []) and index not in self.result.culprits


def _received(channel: Any, most: int) -> Iterator[dict[str, Any]]:
    """Yield the messages that are there; students' code can send anything, and what is no message is dropped."""
    for _ in range(most):
        try:
            message = channel.get_msg(timeout=0)
            told = message["msg_type"], message["content"], message["parent_header"]
        except Empty:
            return
        except Exception:
            continue
        if isinstance(told[0], str) and isinstance(told[1], dict) and isinstance(told[2], dict):
            yield message


def _print(cell: NotebookNode, message: dict[str, Any], printed: int, keep_bytes: int) -> int:
    """Add a message to a cell's output as long as there is room; return the bytes printed so far."""
    kind = message["msg_type"]
    if kind == "clear_output":
        cell.outputs = []
    if kind not in ("stream", "display_data", "execute_result", "error"):
        return printed
    try:
        output = output_from_msg(message)
        size = len(json.dumps(output))
    except Exception:  # a message that the kernel itself would not send
        return printed
    room = max(0, keep_bytes - printed)
    if kind == "error":
        cell.outputs.append(_error(output.ename, output.evalue, output.traceback))
    elif kind == "stream":
        _stream(cell, str(output.text)[:room])
    elif size <= room:
        cell.outputs.append(output)
    if size > room and printed <= keep_bytes:
        _stream(cell, "\n… the rest of the output was left out\n")
    return printed + size


def _stream(cell: NotebookNode, text: str) -> None:
    """Add text to a cell's output; a warning on stderr is no failure."""
    if text and cell.outputs and cell.outputs[-1].output_type == "stream":
        cell.outputs[-1].text += text
    elif text:
        cell.outputs.append(new_output("stream", name="stdout", text=text))


def _failed(cell: NotebookNode, reply: dict[str, Any]) -> bool:
    """Return whether a cell failed; an error that was not shown is shown."""
    shown = any(output.output_type == "error" for output in cell.outputs)
    if reply.get("status") == "ok":
        return shown
    if not shown:
        cell.outputs.append(_error(reply.get("ename") or "Error", reply.get("evalue") or "it did not say what"))
    return True


def _error(name: str, message: str, traceback: Sequence[str] = ()) -> NotebookNode:
    """Return the output of an error, of bounded length."""
    name, message = str(name)[:200], str(message)[:4000]
    lines = [str(line)[:2000] for line in traceback if line][-12:] or [f"{name}: {message}"]
    return new_output("error", ename=name, evalue=message, traceback=lines)
