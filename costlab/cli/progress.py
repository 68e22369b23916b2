"""Progress on stderr, and Ctrl-C that ends early with what was found."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sized
from contextlib import ExitStack, contextmanager
from typing import Any

from costlab import traces
from costlab.cli.output import Answer, Stopped


class Watched:
    """A trace with a progress bar, which ends early on Ctrl-C, so that there is a summary up to there."""

    def __init__(self, trace: traces.Trace) -> None:
        self.trace, self.count, self.stopped, self._waiting = trace, 0, False, False
        self._read = self._cut = False  # all requests were asked for; Ctrl-C had come by then
        self._bars = ExitStack()
        self._serving: Any = None

    def __iter__(self) -> Iterator[traces.Request]:
        self.count, rest = 0, iter(self.trace)
        known = len(self.trace.requests) if isinstance(self.trace.requests, Sized) else None
        with progress_bar(known, "requests") as bar:
            while not self.stopped and (request := self._next(rest)) is not None:
                self.count += 1
                if bar is not None:
                    self._advance(bar)
                yield request
        self._read, self._cut = True, self.stopped

    def served(self, count: int) -> None:
        """Move a second bar, and heed Ctrl-C, where every request was read before the first was served."""
        if not self._read or count >= self.count:
            return
        if self.stopped and not self._cut:
            raise Stopped(f"after {count:,} of {self.count:,} requests")
        if self._serving is None:
            self._serving = self._bars.enter_context(progress_bar(self.count, "served"))
        if self._serving is not None:
            self._serving.update(count - self._serving.n)

    def _next(self, rest: Iterator[traces.Request]) -> traces.Request | None:
        self._waiting = True
        try:
            return next(rest, None)
        except KeyboardInterrupt:
            return None
        finally:
            self._waiting = False

    def _advance(self, bar: Any) -> None:
        """Move the bar; how many there will be follows from the share of the file that these took."""
        if self.count % 256 == 0 and (share := self.trace.share_read()):
            bar.total = round(self.count / share)
        bar.update(1)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Take the first Ctrl-C for a wish to end; the second ends at once."""
        with self._bars:
            if threading.current_thread() is threading.main_thread():
                self._bars.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, self._stop))
            yield

    def _stop(self, *_: object) -> None:
        again, self.stopped = self.stopped, True
        if again or self._waiting:
            raise KeyboardInterrupt

    def raise_if_stopped(self, answer: Answer) -> None:
        """End the verb with what was found so far, if Ctrl-C came."""
        if self.stopped:
            raise Stopped(f"after {self.count:,} requests; so far:", answer)


@contextmanager
def progress_bar(total: int | None, unit: str) -> Iterator[Any]:
    """Give a progress bar on stderr, or None where nobody is looking or tqdm is missing."""
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        yield None
        return
    with tqdm(total=total, unit=f" {unit}", file=sys.stderr, leave=False) as bar:
        yield bar
