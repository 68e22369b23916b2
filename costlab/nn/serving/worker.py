"""A worker of the engine: a process that reads prompts into pages, copies pages from another, and decodes a batch.

All workers run this code; what they are sent makes them a prefill worker, a decode worker or both. Between two steps a
worker takes what it has been sent. A step copies one request's pages, reads one prompt or a piece of it, and decodes
one token of every sequence in the batch, as far as there is something to copy, read or decode: a request joins the
batch at one step and leaves it at another.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from costlab.nn.serving.pages import PagedCache, PageShape, SharedPages
from costlab.nn.speculative.model import ByteModel, ByteSize

BEAT_S = 0.5  # seconds between the signs of life of a worker that has nothing to do

Stage = Literal["arrived", "prefill", "prefilled", "transfer", "decode"]


@dataclass(frozen=True)
class WorkerFault:
    """A worker's death at a named place, for tests: it sends a signal to itself there.

    Stages: "arrived": a prompt, or pages to copy, has been received and nothing begun; "prefill": the prompt's first
    piece is written; "prefilled": the first token is sent; "transfer": half of the pages are copied; "decode": a step
    is computed, and its tokens not yet sent.
    """

    worker: str  # its name, such as "prefill 0"
    stage: Stage  # where
    request: int  # whose
    at: int = 1  # the how manieth time that it gets there
    lives: int = 1  # processes of that worker that do so, one after another
    signal: int = signal.SIGKILL  # which


@dataclass(frozen=True)
class ReadPrompt:
    """Read a prompt into pages and emit its first token."""

    request: int  # its number
    tokens: bytes  # of the prompt
    pages: Sequence[int]  # of the worker's own pool
    rest: int  # tokens that this worker is to decode after the first; 0: another does, or none


@dataclass(frozen=True)
class PullPages:
    """Copy a prompt's pages from another pool and decode on."""

    request: int  # its number
    pool: int  # that the pages are copied from
    source: Sequence[int]  # pages there
    pages: Sequence[int]  # of the worker's own pool, those for the tokens to come among them
    tokens: int  # that the source holds
    last: int  # the token emitted last, which no page holds yet
    rest: int  # tokens to decode


@dataclass(frozen=True)
class Drop:
    """Forget a request and say so: from then on the worker touches none of its pages."""

    request: int  # its number


class Activity(NamedTuple):
    """What a worker did from one moment to another."""

    worker: str  # its name
    kind: Literal["prefill", "transfer", "decode"]  # what
    start_s: float  # seconds of the machine's monotonic clock
    end_s: float  # the same
    requests: tuple[int, ...]  # for which requests


class Note(NamedTuple):
    """What a worker tells; any note is a sign of life."""

    # "tokens": one new token for each request; "moved": pages are copied and no longer read; "broken": an error
    kind: Literal["ready", "beat", "began", "tokens", "moved", "dropped", "broken"]
    requests: tuple[int, ...] = ()  # which requests it concerns
    tokens: tuple[int, ...] = ()  # a new one for each of them
    activity: Activity | None = None  # what has been done
    nbytes: int = 0  # bytes copied
    text: str = ""  # the error


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is started with."""

    name: str  # such as "decode 0"
    own: int  # number of its pool
    segments: Sequence[tuple[str, int]]  # name and pages of every pool
    shape: PageShape  # of a page
    size: ByteSize  # of the model
    weights: dict[str, np.ndarray[Any, Any]]  # of the model
    chunk_tokens: int | None  # most tokens of a prompt read in a step; None: all
    faults: Sequence[WorkerFault]  # of this process


def work(connection: Connection, setup: WorkerSetup) -> None:
    """Be a worker until killed, or until the coordinator is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the coordinator ends this one
    torch.set_num_threads(1)
    pools: list[SharedPages] = []
    try:
        pools += [SharedPages(setup.shape, pages, name) for name, pages in setup.segments]
        _Worker(connection, setup, pools).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the coordinator is gone
    except Exception:  # any: the coordinator shall tell it
        connection.send(Note("broken", text=traceback.format_exc(limit=-3)))
    finally:
        for pool in pools:
            pool.close()


@dataclass
class _Prompt:
    order: ReadPrompt
    done: int = 0  # tokens read


@dataclass
class _Sequence:
    request: int
    pages: Sequence[int]
    length: int  # tokens in the pages
    last: int  # the token emitted last
    rest: int  # tokens to come


@dataclass
class _Worker:
    connection: Connection
    setup: WorkerSetup
    pools: Sequence[SharedPages]
    pulls: deque[PullPages] = field(default_factory=deque)
    prompts: deque[_Prompt] = field(default_factory=deque)
    batch: list[_Sequence] = field(default_factory=list)
    reached: dict[WorkerFault, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = ByteModel(self.setup.size).to(self.setup.shape.dtype).eval()
        self.model.load_state_dict({name: torch.from_numpy(each) for name, each in self.setup.weights.items()})
        self.own = self.pools[self.setup.own]

    @torch.inference_mode()
    def run(self) -> None:
        self.tell(Note("ready"))
        while True:
            self.listen()
            if self.pulls:
                self.pull(self.pulls.popleft())
            if self.prompts:
                self.read(self.prompts[0])
            if self.batch:
                self.decode()

    def listen(self) -> None:
        """Take all that has been sent; where there is nothing to do wait for it, and give a sign of life."""
        while self.connection.poll(0 if self.busy else BEAT_S):
            self.take(self.connection.recv())
        if not self.busy:
            self.tell(Note("beat"))

    @property
    def busy(self) -> bool:
        return bool(self.pulls or self.prompts or self.batch)

    def take(self, order: ReadPrompt | PullPages | Drop) -> None:
        match order:
            case ReadPrompt():
                self.reach("arrived", order.request)
                self.prompts.append(_Prompt(order))
            case PullPages():
                self.reach("arrived", order.request)
                self.pulls.append(order)
            case Drop(request):
                self.pulls = deque(each for each in self.pulls if each.request != request)
                self.prompts = deque(each for each in self.prompts if each.order.request != request)
                self.batch = [each for each in self.batch if each.request != request]
                self.tell(Note("dropped", (request,)))

    def pull(self, order: PullPages) -> None:
        """Copy a request's pages; it joins the batch."""
        self.tell(Note("began", (order.request,)))
        start, copied, size = time.monotonic(), 0, self.setup.shape.tokens
        needed = self.setup.shape.pages(order.tokens)
        for place, source in enumerate(order.source[:needed]):
            if place == needed // 2:
                self.reach("transfer", order.request)
            held = min(size, order.tokens - place * size)
            copied += self.own.copy(order.pages[place], self.pools[order.pool], source, held)
        self.batch.append(_Sequence(order.request, order.pages, order.tokens, order.last, order.rest))
        self.tell(Note("moved", (order.request,), activity=self.did("transfer", start, order.request), nbytes=copied))

    def read(self, prompt: _Prompt) -> None:
        """Read a prompt, or a piece of it; after the last piece emit a token, and let the request join the batch."""
        order, first = prompt.order, prompt.done
        if not first:
            self.tell(Note("began", (order.request,)))
        start = time.monotonic()
        prompt.done = min(len(order.tokens), first + (self.setup.chunk_tokens or len(order.tokens)))
        piece = torch.tensor([list(order.tokens[first : prompt.done])])
        hidden = self.model.read(piece, PagedCache(self.own, [order.pages], [first]))
        if not first:
            self.reach("prefill", order.request)
        if prompt.done < len(order.tokens):
            self.tell(Note("beat", activity=self.did("prefill", start, order.request)))
            return
        token = int(self.model.logits(hidden[0, -1]).argmax())
        self.prompts.popleft()
        self.tell(Note("tokens", (order.request,), (token,), self.did("prefill", start, order.request)))
        self.reach("prefilled", order.request)
        if order.rest:
            self.batch.append(_Sequence(order.request, order.pages, len(order.tokens), token, order.rest))

    def decode(self) -> None:
        """Decode one token of every sequence; those that have all theirs leave the batch."""
        start, batch = time.monotonic(), self.batch
        cache = PagedCache(self.own, [each.pages for each in batch], [each.length for each in batch])
        logits = self.model(torch.tensor([[each.last] for each in batch]), cache)[:, -1]
        for each, token in zip(batch, logits.argmax(-1).tolist(), strict=True):
            self.reach("decode", each.request)
            each.last, each.length, each.rest = token, each.length + 1, each.rest - 1
        self.batch = [each for each in batch if each.rest]
        requests = tuple(each.request for each in batch)
        self.tell(Note("tokens", requests, tuple(each.last for each in batch), self.did("decode", start, *requests)))

    def did(self, kind: Literal["prefill", "transfer", "decode"], start: float, *requests: int) -> Activity:
        return Activity(self.setup.name, kind, start, time.monotonic(), requests)

    def tell(self, note: Note) -> None:
        self.connection.send(note)

    def reach(self, stage: Stage, request: int) -> None:
        """Be killed, or stopped, where a fault says so."""
        for fault in self.setup.faults:
            if (fault.stage, fault.request) == (stage, request):
                self.reached[fault] = self.reached.get(fault, 0) + 1
                if self.reached[fault] == fault.at:
                    os.kill(os.getpid(), fault.signal)
