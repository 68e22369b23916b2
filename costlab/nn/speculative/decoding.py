"""The decoding loop: draft, one pass of the target over all drafted rows, the rule, and what is kept.

>>> import torch
>>> from costlab.nn.speculative.lookups import LookupDraft
>>> from costlab.nn.speculative.model import ByteModel, ByteSize
>>> from costlab.nn.speculative.runners import ByteRunner
>>> seeded = torch.manual_seed(0)
>>> target = ByteRunner(ByteModel(ByteSize(layers=2, hidden=32, heads=4, inner=64)).double())
>>> plain, drafted = (generate_texts(target, ["To be or not"], each, tokens=60)[0] for each in (None, LookupDraft(4)))
>>> plain.tokens == drafted.tokens, plain.passes, drafted.passes < plain.passes
(True, 60, True)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.random import Generator, SeedSequence, default_rng

from costlab.arrays import Floats
from costlab.checks import count, whole
from costlab.nn.decoder import Decoder
from costlab.nn.speculative.drafts import NoDraft, Proposer
from costlab.nn.speculative.model import ByteModel
from costlab.nn.speculative.rounds import Line, Processor, Proposal, decide, trees
from costlab.nn.speculative.runners import ByteRunner, DecoderRunner, Runner, Vocabulary
from costlab.speculative import Streams, distribution
from costlab.speculative.candidates import Walk
from costlab.speculative.rules import check_tokens

#: A text for a model over bytes, or token numbers.
Prompt = str | bytes | Sequence[int]


@dataclass(frozen=True)
class Generation:
    """What was written behind one prompt, and how. Only what was emitted is counted."""

    tokens: tuple[int, ...]  # without the prompt
    text: str  # the same as text
    end: str  # why it ends: "stop" after a stop token, "length" at the tokens asked for, "context" where it is full
    passes: int  # of the target, without that over the prompt
    draft_steps: int  # passes of the draft's own model
    tried: tuple[int, ...]  # by position in the draft: how often a token stood there when all before it were accepted
    accepted: tuple[int, ...]  # and how often it was accepted

    @property
    def tokens_per_pass(self) -> float:
        """Tokens that a pass of the target emits on average."""
        return len(self.tokens) / self.passes


def conditional_acceptance(generations: Sequence[Generation]) -> Floats:
    """Return by position how often a drafted token was accepted, given that those before it were; NaN: never tried.

    Args:
        generations: counted together.
    """
    tried, accepted = (_summed([getattr(each, name) for each in generations]) for name in ("tried", "accepted"))
    return np.divide(accepted, tried, out=np.full(len(tried), np.nan), where=tried > 0)


def _summed(counts: Sequence[Sequence[int]]) -> Floats:
    total = np.zeros(max(map(len, counts), default=0))
    for each in counts:
        total[: len(each)] += each
    return total


@torch.inference_mode()
def generate_texts(
    target: Runner | ByteModel | Decoder,
    prompts: Sequence[Prompt],
    draft: Proposer | None = None,
    *,
    tokens: int | Sequence[int] = 200,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | Sequence[int] = 0,
    stop: Collection[int] = (),
    processor: Processor | None = None,
) -> list[Generation]:
    """Continue each prompt as the target alone would: the same tokens at temperature 0, else tokens of the same law.

    Args:
        target: a model, or the runner that holds it.
        prompts: texts for a model over bytes, or token numbers.
        draft: what proposes tokens; None: each pass emits one.
        tokens: to emit for each prompt at most, one number for all or one for each; fewer where the context is full or
            a stop token is emitted.
        temperature: 0 takes the likeliest token, the first of several.
        top_k: draw from the k likeliest tokens; of the target and, with its own logits, of the draft.
        top_p: draw from the likeliest tokens that together reach this probability; the same.
        seed: of each sequence, or a number to which the sequence's place in the batch is added. A sequence's draws
            depend on its seed alone, not on the sequences beside it.
        stop: tokens after which a text ends; the token is its last.
        processor: changes the target's logits before the law is made of them, by the sequence so far. It is asked at
            every drafted position, with the drafted tokens before it; so it must not keep a state of its own.

    Raises:
        ValueError: an empty prompt, or one that fills the context; a token, seed, temperature, top_k or top_p out of
            range; a draft that does not fit the target; a processor that answers the same question in two ways.
    """
    runner, drafts = running(target), draft or NoDraft()
    lines = _begun(runner, prompts, seed, tokens)
    ending = frozenset(check_tokens(list(stop), len(runner.vocabulary)).tolist())
    distribution(np.zeros(1), temperature, top_k, top_p)  # refuses what is out of range
    law = None if temperature == 0 else partial(distribution, temperature=temperature, top_k=top_k, top_p=top_p)
    capacity = max((line.cap for line in lines), default=0) + drafts.rows
    if lines:
        drafts.start(runner, len(lines), capacity, law)
        _read_prompts(runner, lines, capacity)
    going = lines
    while going:
        for line in going:
            line.room = line.cap - len(line.text) - 1
            line.rows = min(capacity, runner.context) - len(line.text)
        proposals = drafts.propose(going)
        rows = [[line.text[-1], *each.tokens] for line, each in zip(going, proposals, strict=True)]
        logits = runner.read(rows, trees(proposals))
        emitted = decide(going, proposals, logits, law, processor)
        runner.keep([[0, *(node + 1 for node in each.nodes)] for each in emitted])
        for line, proposal, each in zip(going, proposals, emitted, strict=True):
            line.emit(each, proposal, ending)
        left = [number for number, line in enumerate(going) if not line.end]
        if left and len(left) < len(going):
            runner.only(left)
            drafts.only(left)
        going = [going[number] for number in left]
    return [line.generation(runner.vocabulary) for line in lines]


def running(target: Runner | ByteModel | Decoder) -> Runner:
    """Return what runs a model; a runner is returned as it is."""
    if isinstance(target, ByteModel):
        return ByteRunner(target)
    return DecoderRunner(target) if isinstance(target, Decoder) else target


# --- one sequence ----------------------------------------------------------------------------------------------


@dataclass
class _Running(Line):
    """One sequence while it runs."""

    prompt: int  # tokens of the prompt
    cap: int  # tokens that its text may reach
    full: str  # why it ends there
    end: str = ""  # why it has ended
    passes: int = 0
    steps: int = 0
    tried: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)

    @classmethod
    def begun(cls, text: list[int], seed: int, tokens: int, context: int) -> _Running:
        if len(text) >= context:
            raise ValueError(f"a prompt of {len(text):,} tokens leaves no room in a context of {context:,}")
        cap = min(len(text) + tokens, context)
        full = "length" if cap == len(text) + tokens else "context"
        return cls(list(text), 0, 0, *streams_of(seed), len(text), cap, full)

    def emit(self, emitted: Walk, proposal: Proposal, stop: Collection[int]) -> None:
        """Add what a round emits, up to a stop token or the cap, and count no more than that."""
        self.passes += 1
        self.steps += proposal.steps
        kept = len(emitted.nodes)
        tried = kept + proposal.goes_on(emitted.nodes)
        for place, token in enumerate(emitted.tokens.tolist()):
            self.text.append(token)
            if place < tried:
                self._count(place, place < kept)
            if token in stop or len(self.text) == self.cap:
                self.end = "stop" if token in stop else self.full
                return

    def _count(self, place: int, accepted: bool) -> None:
        if place == len(self.tried):
            self.tried.append(0)
            self.accepted.append(0)
        self.tried[place] += 1
        self.accepted[place] += accepted

    def generation(self, vocabulary: Vocabulary) -> Generation:
        tokens = self.text[self.prompt :]
        counts = tuple(self.tried), tuple(self.accepted)
        return Generation(tuple(tokens), vocabulary.decode(tokens), self.end, self.passes, self.steps, *counts)


def streams_of(seed: int) -> tuple[Generator, Streams]:
    """Return a sequence's random numbers: those of its drafts, and those of the rule; all are streams of their own."""
    drawing, accept, last = (default_rng(each) for each in SeedSequence(seed).spawn(3))
    return drawing, Streams(accept, last)


def _begun(
    runner: Runner, prompts: Sequence[Prompt], seed: int | Sequence[int], tokens: int | Sequence[int]
) -> list[_Running]:
    texts = [_encoded(runner, prompt) for prompt in prompts]
    caps = [count(each, "tokens") for each in (tokens if isinstance(tokens, Sequence) else [tokens] * len(texts))]
    if len(caps) != len(texts):
        raise ValueError(f"tokens = {tokens!r} should be a number, or one for each of {len(texts)} prompts")
    told = zip(texts, _seeds(seed, len(texts)), caps, strict=True)
    return [_Running.begun(text, own, cap, runner.context) for text, own, cap in told]


def _read_prompts(runner: Runner, lines: Sequence[Line], capacity: int) -> None:
    """Read all but the last token of each prompt; that one begins the first round."""
    runner.start(len(lines), capacity)
    if any(len(line.text) > 1 for line in lines):
        runner.read([line.text[:-1] for line in lines])
        runner.rewind(runner.lengths)  # all of it stays


def _encoded(runner: Runner, prompt: Prompt) -> list[int]:
    tokens = runner.vocabulary.encode(prompt) if isinstance(prompt, str | bytes) else prompt
    found: list[int] = check_tokens(np.asarray(tokens), len(runner.vocabulary)).tolist()
    if not found:
        raise ValueError("an empty prompt: there must be a token to go on from")
    return found


def _seeds(seed: int | Sequence[int], batch: int) -> list[int]:
    given = seed if isinstance(seed, Sequence) else [whole(seed, "seed") + place for place in range(batch)]
    seeds = [whole(each, "seed") for each in given]
    if len(seeds) != batch or any(each < 0 for each in seeds):
        raise ValueError(f"seed = {seed!r} should be a number of at least 0, or one for each of {batch} prompts")
    return seeds
