"""The engine's processes: started, heard, taken for dead when they are silent, and replaced.

Each has a pipe of its own, so that one that dies while it writes disturbs no other. All that a dead process had sent is
heard before its death is.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any

from costlab.nn.processes import start_method
from costlab.nn.serving.worker import Drop, Note, PullPages, ReadPrompt, WorkerSetup, work

START_S = 300.0  # a process that is not ready by then never will be
STARTS = 3  # processes in a row that may end before they are ready

#: The reason may be a script whose processes each run it again.
_NOT_STARTED = 'worker {!r} does not start ({}); a script should make its engine behind `if __name__ == "__main__":`'


@dataclass(eq=False)
class _Member:
    setup: WorkerSetup
    process: Any = None
    connection: Any = None
    lives: int = 0  # processes that have ended
    stillborn: int = 0  # of those the last ones that were never ready
    ready: bool = False
    heard_s: float = 0.0
    words: str = ""  # the error that it told


class Fleet:
    """Worker processes by number.

    Args:
        setups: what each is started with.
        silence_s: seconds without a note after which a worker is taken for dead.
    """

    def __init__(self, setups: Sequence[WorkerSetup], silence_s: float) -> None:
        self.silence_s = silence_s
        self.deaths: list[str] = []  # who died, and of what; each has been replaced
        self._members = [_Member(setup) for setup in setups]

    def start(self) -> None:
        """Start all and wait until they are ready.

        Raises:
            RuntimeError: a worker that does not start.
        """
        for member in self._members:
            self._start(member)
        while not all(member.ready for member in self._members):
            for _ in self.listen(START_S):
                pass  # nobody has anything to do yet

    @property
    def processes(self) -> Mapping[str, int]:
        """Process numbers of the workers, by name."""
        return {member.setup.name: member.process.pid for member in self._members}

    def send(self, number: int, order: ReadPrompt | PullPages | Drop) -> None:
        """Send a worker what it is to do."""
        with contextlib.suppress(OSError):  # it is dead, which is about to be seen
            self._members[number].connection.send(order)

    def listen(self, timeout_s: float) -> Iterator[tuple[int, Note | None]]:
        """Wait for notes and give one of each worker that has one; None: it died, and another has taken its place.

        Args:
            timeout_s: how long to wait.

        Raises:
            RuntimeError: a worker that does not start.
        """
        ready = wait([member.connection for member in self._members], max(0.0, timeout_s))
        for number, member in enumerate(self._members):
            note = self._heard(member) if member.connection in ready else None
            if note is not None:
                yield number, note
            elif member.connection in ready or self._silent(member):
                self._replace(member)
                yield number, None

    def close(self) -> None:
        """End all, whatever they do."""
        for member in self._members:
            if member.process is not None and member.process.pid:
                _kill(member)

    def _heard(self, member: _Member) -> Note | None:
        try:
            note: Note = member.connection.recv()
        except (EOFError, OSError):
            return None
        member.heard_s = time.monotonic()
        member.ready = member.ready or note.kind == "ready"
        member.words = note.text
        return note

    def _silent(self, member: _Member) -> bool:
        patience = self.silence_s if member.ready else START_S
        return time.monotonic() - member.heard_s > patience and not member.connection.poll()

    def _replace(self, member: _Member) -> None:
        _kill(member)  # what is only silent might write to pages that are another's by then
        words = member.words or f"exit code {member.process.exitcode}"
        member.lives, member.stillborn = member.lives + 1, 0 if member.ready else member.stillborn + 1
        if member.stillborn == STARTS:
            raise RuntimeError(_NOT_STARTED.format(member.setup.name, words))
        self.deaths.append(f"{member.setup.name}: {words}")
        self._start(member)

    def _start(self, member: _Member) -> None:
        context: Any = multiprocessing.get_context(start_method([work.__module__]))
        ours, theirs = context.Pipe()
        faults = [fault for fault in member.setup.faults if fault.lives > member.lives]
        given = theirs, replace(member.setup, faults=faults)
        member.process = context.Process(target=work, args=given, daemon=True, name=member.setup.name)
        member.connection, member.ready, member.words, member.heard_s = ours, False, "", time.monotonic()
        try:
            member.process.start()
        except (OSError, EOFError) as error:
            raise RuntimeError(_NOT_STARTED.format(member.setup.name, repr(error))) from None
        finally:
            theirs.close()  # so that its end is seen here


def _kill(member: _Member) -> None:
    member.process.kill()
    member.process.join()
    member.connection.close()
