"""What a window and a full:sliding ratio cost in long-range recall: tiny stacks that learn to look things up.

A text is hay with facts in it, each one token that says "key points to key", and questions: where does key k lead in
one step, or in two? Each step is a look-up of its own, for what to look for next is known only after it. Facts and
questions lie anywhere, so a step may reach farther back than a window.

Chapter: hybrid
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab import arch
from costlab.arch.experts import FeedForward
from costlab.arrays import Floats
from costlab.checks import unknown
from costlab.nn.attention import Rope
from costlab.nn.decoder import DecoderStack
from costlab.nn.experiments.training import WEIGHTS, Reader, load_weights, save_weights

RECALL_WEIGHTS = WEIGHTS / "recall.npz"
HIDDEN = 32
HAY, FACT, QUESTION = range(3)
_BY_SEED = "by seed"

_HEADS: dict[str, Any] = {"heads": 2, "kv_heads": 2, "rope_dim": 8, "qk_dim": 24, "v_dim": 16}
_HEADS |= {"entry": ((24, "bf16"), (16, "bf16"))}


@dataclass(frozen=True)
class RecallTask:
    """Texts of `tokens` tokens with one fact per key; a guess is right one time in `keys`."""

    tokens: int = 128  # of a text
    keys: int = 16  # different keys, each with one fact in every text
    questions: int = 48  # tokens of a text that ask, those that cannot be answered included
    steps: int = 2  # look-ups that a question needs, at most
    kinds_of_hay: int = 8  # different tokens that say nothing

    def texts(self, count: int, generator: torch.Generator) -> Texts:
        """Return random texts.

        Args:
            count: how many.
            generator: seeded source of chance.
        """
        order = torch.rand(count, self.tokens, generator=generator).argsort(1)
        fact_at, asked_at = order[:, : self.keys], order[:, self.keys : self.keys + self.questions]
        circle = torch.rand(count, self.keys, generator=generator).argsort(1)  # one, so that no chain is short
        goals = torch.empty_like(circle).scatter_(1, circle, circle.roll(-1, 1))
        steps = torch.randint(self.steps, (count, self.questions), generator=generator) + 1
        ends, nearest, farthest = self._chains(goals, fact_at, asked_at, steps)
        asked, answerable = _chosen(nearest, farthest, generator)
        hay = torch.randint(self.kinds_of_hay, (count, self.tokens), generator=generator)
        nothing = torch.zeros_like(hay)
        kind = nothing.scatter(1, fact_at, FACT).scatter(1, asked_at, torch.where(answerable, QUESTION, HAY))
        keys = torch.arange(self.keys).expand(count, -1)
        key = hay.scatter(1, fact_at, keys).scatter(1, asked_at, torch.where(answerable, asked, 0))
        value = nothing.scatter(1, fact_at, goals).scatter(1, asked_at, steps - 1)
        found = (table.gather(2, asked[..., None])[..., 0] for table in (ends, nearest, farthest))
        return Texts(kind, key, value, asked_at, answerable, steps, *found)

    def _chains(self, goals: Tensor, fact_at: Tensor, asked_at: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return for each question and key, shape (count, questions, keys), where the key leads in the question's
        steps, and how far before the question the nearest and the farthest fact on the way lie."""
        at = torch.arange(self.keys).expand(len(goals), -1)  # (count, keys)
        last, first = torch.full_like(at, -1), torch.full_like(at, self.tokens)
        each = []
        for _ in range(self.steps):
            here = fact_at.gather(1, at)
            last, first, at = torch.maximum(last, here), torch.minimum(first, here), goals.gather(1, at)
            each.append(torch.stack([at, last, first]))
        table = torch.stack(each, 2)  # (3, count, steps, keys)
        rows = (steps - 1)[None, ..., None].expand(3, -1, -1, self.keys)
        end, last, first = table.gather(2, rows)  # each (count, questions, keys)
        return end, asked_at[..., None] - last, asked_at[..., None] - first


def _chosen(nearest: Tensor, farthest: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose a key for each question, near ones more often, so that every octave of distance has its share.

    Returns the keys, shape (count, questions), and whether any key's facts lie before the question at all.
    """
    weight = torch.where(nearest > 0, 1.0 / farthest.clamp(min=1), 0.0)  # (count, questions, keys)
    answerable = weight.sum(-1) > 0
    weight = torch.where(answerable[..., None], weight, 1.0)
    chosen = torch.multinomial(weight.flatten(0, 1), 1, generator=generator)
    return chosen.view(answerable.shape), answerable


@dataclass(frozen=True)
class Texts:
    """Random texts, token by token, and their questions."""

    kind: Tensor  # HAY, FACT or QUESTION, shape (count, tokens)
    key: Tensor  # number of the key, or which hay, shape (count, tokens)
    value: Tensor  # goal of a fact, or a question's steps less 1, shape (count, tokens)
    asked_at: Tensor  # position of each question, shape (count, questions), as all that follow
    answerable: Tensor  # whether all facts that it needs stand before it
    steps: Tensor  # look-ups that it needs
    answer: Tensor  # number of the key where they lead
    nearest: Tensor  # tokens back to the nearest fact that it needs
    farthest: Tensor  # tokens back to the farthest fact that it needs


class RecallReader(Reader):
    """A model of several layers that names a key at each question.

    Args:
        task: what it reads.
        layers: of the stack.
        hidden: its width.
    """

    def __init__(
        self, task: RecallTask, layers: Sequence[tuple[arch.Attention, FeedForward]], hidden: int = HIDDEN
    ) -> None:
        super().__init__()
        self.task = task
        self.kind = nn.Embedding(3, hidden)
        self.hay = nn.Embedding(task.kinds_of_hay, hidden)
        self.key = nn.Embedding(task.keys, hidden)
        self.goal = nn.Linear(hidden, hidden, bias=False)
        self.question = nn.Linear(hidden, hidden, bias=False)
        self.steps = nn.Embedding(task.steps, hidden)
        self.stack = DecoderStack(layers, hidden, {"full": Rope(1e7), "sliding": Rope(1e4)})
        self.head = nn.Linear(hidden, task.keys, bias=False)

    def embed(self, texts: Texts) -> Tensor:
        """Return the stack's input, shape (count, tokens, hidden)."""
        hay, key = self.hay(texts.key % self.task.kinds_of_hay), self.key(texts.key % self.task.keys)
        fact = key + self.goal(self.key(texts.value % self.task.keys))
        question = self.question(key) + self.steps(texts.value % self.task.steps)
        kind = texts.kind[..., None]
        return torch.where(kind == HAY, hay, torch.where(kind == FACT, fact, question))

    def forward(self, texts: Texts) -> Tensor:
        """Return the logits of each question's answer, shape (count, questions, keys)."""
        x = self.stack(self.embed(texts))  # (count, tokens, hidden)
        at = texts.asked_at[..., None].expand(-1, -1, x.shape[-1])
        logits: Tensor = self.head(x.gather(1, at))
        return logits

    def losses(self, texts: int, generator: torch.Generator) -> tuple[Tensor, float]:
        """Return the cross-entropy of its answers to those questions of new texts that can be answered, and 0.

        Args:
            texts: how many.
            generator: seeded source of chance.
        """
        asked = self.task.texts(texts, generator)
        return F.cross_entropy(self(asked)[asked.answerable], asked.answer[asked.answerable]), 0.0


# --- what is compared ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """The layers of one stack."""

    pattern: str  # kinds of the layers in order, "F" full and "S" sliding
    window: int  # tokens that a sliding layer sees

    @property
    def name(self) -> str:
        """For example "FSSFSS 16"; without sliding layers the window is left out."""
        return f"{self.pattern} {self.window}" if "S" in self.pattern else self.pattern

    def layers(self) -> list[tuple[arch.Attention, arch.Dense]]:
        """Return the layers, shaped like MiMo's: keys half as wide again as values, a third of them rotary, a sink."""
        full = arch.FullAttention(**_HEADS)
        kinds = {"F": full, "S": arch.SlidingWindow(window=self.window, sink=True, **_HEADS)}
        return [(kinds[kind], arch.Dense(HIDDEN)) for kind in self.pattern]


#: By ratio at a window of 16, from every layer full to none; then by window, without full layers.
VARIANTS: tuple[Variant, ...] = (
    *(Variant(pattern, 16) for pattern in ("FFFFFF", "FSFSFS", "FSSFSS", "FSSSSS", "SSSSSS")),
    *(Variant("SSSSSS", window) for window in (8, 32, 64)),
)


#: Those on which the conclusion hangs, trained from further seeds: one full layer of six, and two.
DECISIVE: tuple[Variant, ...] = tuple(v for v in VARIANTS if v.pattern in ("FSSFSS", "FSSSSS"))


@dataclass(frozen=True)
class RecallRow:
    """The share of right answers of one variant, for questions of so many steps and so many tokens back."""

    variant: Variant  # which stack
    steps: int  # look-ups that a question needs
    back: tuple[int, int]  # tokens back to the facts that are asked for, from and to, both included
    recall: float  # share of right answers, 0 to 1
    questions: int  # how many there were
    kept_bytes: int  # bytes that all layers' caches hold of one text, measured


def kept_bytes(reader: RecallReader) -> int:
    """Return what a reader's caches hold of one text."""
    return sum(reader.stack.new_cache(1, reader.task.tokens).nbytes().values())


def _answered(reader: RecallReader, texts: int, seed: int) -> tuple[Texts, Tensor]:
    asked = reader.task.texts(texts, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return asked, reader(asked).argmax(-1) == asked.answer


def by_distance(
    readers: Mapping[Variant, RecallReader],
    edges: Sequence[int] = (0, 4, 8, 16, 32, 64, 127),
    texts: int = 128,
    seed: int = 1,
) -> list[RecallRow]:
    """Return the recall of one-step questions by how far back the fact lies.

    Args:
        readers: trained.
        edges: of the ranges; (0, 4, 8) makes 1-4 and 5-8 tokens.
        texts: how many texts to ask about, the same for every reader.
        seed: of the texts.
    """
    rows = []
    for variant, reader in readers.items():
        asked, right = _answered(reader, texts, seed)
        for low, high in itertools.pairwise(edges):
            chosen = asked.answerable & (asked.steps == 1) & (asked.farthest > low) & (asked.farthest <= high)
            rows.append(_row(variant, reader, 1, (low + 1, high), right[chosen]))
    return rows


def by_steps(
    readers: Mapping[Variant, RecallReader], beyond: int = 16, texts: int = 128, seed: int = 1
) -> list[RecallRow]:
    """Return the recall of questions all of whose facts lie beyond a distance, by number of steps.

    Args:
        readers: trained.
        beyond: tokens; farther back than this lies every fact that is needed.
        texts: how many texts to ask about, the same for every reader.
        seed: of the texts.
    """
    rows = []
    for variant, reader in readers.items():
        asked, right = _answered(reader, texts, seed)
        for steps in range(1, reader.task.steps + 1):
            chosen = asked.answerable & (asked.steps == steps) & (asked.nearest > beyond)
            rows.append(_row(variant, reader, steps, (beyond + 1, reader.task.tokens - 1), right[chosen]))
    return rows


def _row(variant: Variant, reader: RecallReader, steps: int, back: tuple[int, int], right: Tensor) -> RecallRow:
    if not len(right):
        raise ValueError(f"no question of {steps} steps asks {back[0]} to {back[1]} tokens back: ask about more texts")
    return RecallRow(variant, steps, back, right.double().mean().item(), len(right), kept_bytes(reader))


def save_stacks(seeds: Sequence[Mapping[Variant, RecallReader]], path: Path = RECALL_WEIGHTS) -> None:
    """Write the first seed's weights, as float16, and every seed's far recall by steps, into one file.

    Args:
        seeds: trained readers, one mapping per seed; later ones may hold fewer variants.
        path: where.
    """
    recalls = {}
    for variant in seeds[0]:
        again = [{variant: readers[variant]} for readers in seeds if variant in readers]
        rows = [[row.recall for row in by_steps(readers)] for readers in again]
        recalls[f"{_BY_SEED}/{variant.name}"] = np.array(rows)
    save_weights(path, {variant.name: reader for variant, reader in seeds[0].items()}, recalls)


def by_seed(path: Path = RECALL_WEIGHTS) -> dict[str, Floats]:
    """Return the recall of far questions as `by_steps` found it, by variant's name, shape (seeds, steps).

    How much of a difference between two stacks is chance: weights and texts differ from seed to seed. The decisive
    variants were trained more than once.
    """
    with np.load(path) as file:
        return {key.removeprefix(f"{_BY_SEED}/"): file[key] for key in file.files if key.startswith(_BY_SEED)}


def trained_stacks(
    variants: Iterable[Variant] = VARIANTS, task: RecallTask | None = None, path: Path = RECALL_WEIGHTS
) -> dict[Variant, RecallReader]:
    """Return the readers that `tools/train_recall.py` trained.

    Args:
        variants: which of them.
        task: what they were trained for.
        path: file of `save_stacks`.

    Raises:
        ValueError: a variant that was not trained.
    """
    stored, task = by_seed(path), task or RecallTask()
    readers = {variant: RecallReader(task, variant.layers()) for variant in variants}
    for variant in readers:
        if variant.name not in stored:
            raise ValueError(unknown("trained stack", variant.name, stored))
    load_weights(path, {variant.name: reader for variant, reader in readers.items()})
    return readers
