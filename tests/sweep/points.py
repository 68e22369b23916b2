"""Functions to sweep over, in a module that other processes can import."""

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path


def tried(point):
    """The double of a number; words end the attempt in their own way."""
    if point == "exit":
        raise SystemExit("enough")
    if point == "lock":
        return threading.Lock()  # a result that cannot be sent
    if point == "negative":
        raise ValueError("-1 should be at least 0\nin detail")
    return 2 * (point / 1)


def process(point):
    """The number of the process."""
    return os.getpid()


def note(folder, name):
    """Make another file of that name."""
    (folder / f"{name}-{os.getpid()}-{time.monotonic_ns()}").touch()


def count(folder, name):
    """How many there are."""
    return sum(each.startswith(name) for each in os.listdir(folder))


def until(folder, name, least):
    """Wait for so many."""
    while count(folder, name) < least:
        time.sleep(0.01)


@dataclass
class Gate:
    """At "wait" it says so and waits for a file that "open" makes."""

    folder: Path

    def __call__(self, point):
        if point == "open":
            (self.folder / "open").touch()
        elif point == "wait":
            note(self.folder, "waiting")
            until(self.folder, "open", 1)
        return point


@dataclass
class Heavy:
    """Notes each process that it is unpickled in, and each time."""

    folder: Path

    def __setstate__(self, state):
        self.__dict__.update(state)
        note(self.folder, "unpickled")

    def __call__(self, point):
        return point + 1


class Lost:
    """Cannot be unpickled."""

    def __call__(self, point):
        return point

    def __reduce__(self):
        return float, ("lost",)


@dataclass
class Deadly:
    """At "deadly" it notes that and kills its process, `times` times; the first two wait for as many "beside"."""

    folder: Path
    times: int
    beside: bool = False

    def __call__(self, point):
        if point == "deadly" and (before := count(self.folder, "deadly")) < self.times:
            if self.beside and before < 2:
                until(self.folder, "beside", before + 1)
            note(self.folder, "deadly")
            os.kill(os.getpid(), signal.SIGKILL)
        if point == "beside":
            note(self.folder, "beside")
            until(self.folder, "deadly", 3)
        return point


def end_with_tests():
    """End this process and its group when those who hold the other end of its input are gone, however they went."""

    def watch():
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def endless(point):
    """Says that it runs, and does."""
    os.write(1, b"running\n")  # whole, beside others
    while True:
        time.sleep(60)
